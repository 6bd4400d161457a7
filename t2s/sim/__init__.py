"""Simulation: environments built from LIBERO problems, and the scripted expert."""
