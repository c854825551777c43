"""actiond migrate."""

from __future__ import annotations

from functools import partial

import anyio
import click

from actiond.cli import output, say
from actiond.host import settings
from actiond.postgres import migrate as migrations
from actiond.postgres.connection import first_connect


@click.command("migrate")
@click.option("--dsn", help="The database (default: ACTIOND_DSN).")
@click.option("--status", "only_status", is_flag=True, help="Show what is applied and what is due; change nothing.")
@click.option("--sql", "only_sql", is_flag=True, help="Print the whole schema as SQL, for a DBA; touch no database.")
@click.option("--roles", is_flag=True, help="Also make the roles of deploy/roles.sql and give each what it may do.")
@click.option("--json", "as_json", is_flag=True)
def command(dsn: str | None, only_status: bool, only_sql: bool, roles: bool, as_json: bool) -> None:
    """Apply migrations that are due, and functions that changed. Safe to run at any time, also twice at once."""
    if only_sql:
        say.block(migrations.script())
        if roles:
            say.block(migrations.roles_script())
        return
    chosen = settings.read(dsn=dsn)
    if only_status:
        steps = anyio.run(_plan, chosen.presence_dsn)
        rows = [{"migration": s.migration.name, "state": _state(s)} for s in steps]
        output.table(rows, as_json=as_json)
        return
    # Not through a pooler: the lock that keeps two of us apart belongs to a session.
    applied = anyio.run(partial(migrations.migrate, chosen.presence_dsn, roles=roles))
    if as_json:
        output.print_json({"applied": applied})
    else:
        say.block("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


async def _plan(dsn: str) -> list[migrations.Step]:
    connection = await first_connect(dsn)
    try:
        return await migrations.plan(connection)
    finally:
        connection.terminate()


def _state(step: migrations.Step) -> str:
    if not step.applied:
        return "due"
    return "changed: will be applied again" if step.changed else "applied"
