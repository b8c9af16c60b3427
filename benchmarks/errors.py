class BenchmarkError(Exception):
    """What stops a run, in one line for the user."""
