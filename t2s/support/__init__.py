"""Commands that help the user: checks of the machine, estimates, provenance, kept studies."""
