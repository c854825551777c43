"""Floor 0: the words. Standard library only; everything above speaks in them."""
