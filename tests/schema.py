"""Write sql/schema.sql, what the schema is after `actiond migrate`: `make schema`. A test compares.

`actiond doctor` holds a database against it, to find what was changed by hand.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.connection import Connection, connect
from actiond.postgres.migrate import migrate
from actiond.postgres.statements import Statements

FILE = Path(__file__).parent.parent / "sql" / "schema.sql"
HEADER = """\
-- schema: what `actiond migrate` makes. Written by `make schema`; a test compares it with a migrated database.
--   no parameters
--   returns kind text, name text, said text: as doctor_catalog
--   called by: doctor_schema.catalog
select * from (values
"""


async def written(connection: Connection) -> str:
    """The file for this database."""
    rows = await connection.fetch(Statements()["doctor_catalog"])
    lines = [f"  ({', '.join(map(_literal, (row['kind'], row['name'], row['said'])))})" for row in rows]
    return HEADER + ",\n".join(lines) + "\n) as made (kind, name, said)\n"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def _write(dsn: str) -> None:
    await migrate(dsn)
    connection = await connect(dsn)
    FILE.write_text(await written(connection))
    connection.terminate()


if __name__ == "__main__":
    with PrivatePostgres() as server:
        asyncio.run(_write(server.dsn("postgres")))
