"""Simulation: environments built from LIBERO problems, rollouts in them, and the scripted expert."""
