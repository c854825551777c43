"""Floor 5: the loops. Each is a step() that works and never sleeps and a run() that sleeps and never works."""
