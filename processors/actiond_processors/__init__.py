"""Built-in processors: one a file, each importing only `actiond`."""
