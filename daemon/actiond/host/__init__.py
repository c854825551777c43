"""Floor 3: doors to the machine: environment, log, systemd, files, a private Postgres."""
