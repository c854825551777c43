"""Floor 1: the rules. Pure: no await, no clock, no database."""
