"""Floor 6: the whole daemon: start order, drain order, exit code."""
