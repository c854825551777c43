"""What tests stand on: databases, clocks, logs, builders."""
