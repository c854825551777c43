"""Floor 7: the promise, checked by fire: `actiond torture`, and the same code in the test suite."""
