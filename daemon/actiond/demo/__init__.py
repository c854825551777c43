"""Floor 7: the demo: real files of this machine become real outcomes."""
