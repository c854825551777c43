"""Floor 4: one batch, from claimed rows to saved outcomes."""
