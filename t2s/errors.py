"""Errors that the command line reports in one line, beside ValueError (bad input) and OSError (files)."""


class SimulationError(RuntimeError):
    """The simulator could not do what was asked; this never counts as a failed episode."""
