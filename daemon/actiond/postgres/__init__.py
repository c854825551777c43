"""Floor 3: doors to the database. The only folder that imports asyncpg."""
