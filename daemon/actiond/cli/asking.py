"""What all commands share: the --dsn option, one checked connection, one event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import click

from actiond.host import settings
from actiond.postgres import migrate
from actiond.postgres.connection import Connection, first_connect, for_people, patient
from actiond.words.errors import DatabaseUnreachable

T = TypeVar("T")

dsn_option = click.option("--dsn", help="The database (default: ACTIOND_DSN).")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")


_NOT_SET = 'It is not set; the database of `actiond dev`: export ACTIOND_DSN="$(actiond dev --show-dsn)"'


def ask(dsn: str | None, question: Callable[[Connection], Awaitable[T]], patience_s: float | None = None) -> T:
    """Connect, check the schema, ask, close. `patience_s`: how long a statement may take, if not the usual seconds."""
    chosen = settings.read(dsn=dsn)

    async def asked() -> T:
        patience = None if patience_s is None else patient(patience_s)
        try:
            connection = await first_connect(chosen.work_dsn, "actiond cli", patience)
        except DatabaseUnreachable as unreachable:
            if "dsn" in chosen.model_fields_set:
                raise
            raise DatabaseUnreachable(f"{unreachable} {_NOT_SET}") from None
        try:
            await migrate.check(connection)
            return await question(connection)
        finally:
            connection.terminate()

    return anyio.run(politely, asked)


async def politely(question: Callable[[], Awaitable[T]]) -> T:
    """Its answer; an error of the database in one line."""
    try:
        return await question()
    except Exception as error:  # the boundary of a connection
        said = for_people(error)
        if said is None:
            raise
        raise said from None


def action_id(context: click.Context, parameter: click.Parameter, value: Any) -> int:
    """12, A-00000012 and a-12 are the same action."""
    text = str(value).strip().upper().removeprefix("A-")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise click.BadParameter(f"{value!r} is no id (write 12 or A-00000012)")
    return int(text)
