"""What helps the user: checks of a machine, estimates, provenance, kept studies."""
