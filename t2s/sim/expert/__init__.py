"""Scripted demonstrations: skills that plan waypoints from the simulation's privileged state, and what follows them."""
