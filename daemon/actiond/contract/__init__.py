"""Floor 2: what authors of processors hold in their hands."""
