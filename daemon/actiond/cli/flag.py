"""actiond flag list, on, off, rm."""

from __future__ import annotations

import difflib
from typing import Any

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.switch import tell
from actiond.postgres import flag_edit
from actiond.postgres.connection import Connection
from actiond.rules import flags
from actiond.words.errors import OperatorError

_name = click.argument("name", callback=lambda context, parameter, value: _checked(value))
_reason = click.option("--reason", help="Why: kept in history.")


def _checked(name: str) -> str:
    try:
        if name == flags.NO_FLAG:
            raise ValueError("'none' is the name of no flag")
        return flags.written(name)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


@click.group("flag")
def command() -> None:
    """Feature flags: while one is off, rows of the processors that ask for it wait, schedules and plans stand still."""


@command.command("list")
@dsn_option
@json_option
def list_(dsn: str | None, as_json: bool) -> None:
    """The flags that are set or asked for; one that nobody has set is off."""
    rows = ask(dsn, flag_edit.flags)
    if as_json:
        output.print_json([{**row, "on": row["enabled"] is True, "set": row["enabled"] is not None} for row in rows])
        return
    shown = [
        {
            "flag": row["flag"],
            "is": {True: "on", False: "off", None: "off (never set)"}[row["enabled"]],
            "asked for by": ", ".join(row["asked_by"]) or "nobody",
            "switched": row["updated_at"],
            "by": row["updated_by"],
        }
        for row in rows
    ]
    output.table(shown, as_json=False, empty="no flag is set or asked for: `actiond flag on NAME` sets one")


@command.command("on")
@_name
@_reason
@dsn_option
@json_option
def on(name: str, reason: str | None, dsn: str | None, as_json: bool) -> None:
    """Switch a flag on: what waits for it is claimed at once. Slots of schedules that passed meanwhile do not fire."""
    _turn(name, True, reason, dsn, as_json)


@command.command("off")
@_name
@_reason
@dsn_option
@json_option
def off(name: str, reason: str | None, dsn: str | None, as_json: bool) -> None:
    """Switch a flag off: rows wait; what runs goes on to its end."""
    _turn(name, False, reason, dsn, as_json)


@command.command("rm")
@_name
@_reason
@dsn_option
@json_option
def remove(name: str, reason: str | None, dsn: str | None, as_json: bool) -> None:
    """Forget a flag that nothing asks for any more. For what still does it is off."""
    _turn(name, None, reason, dsn, as_json)


command.add_command(click.Command("ls", params=list_.params, callback=list_.callback, help=list_.help, hidden=True))


def _turn(name: str, on: bool | None, reason: str | None, dsn: str | None, as_json: bool) -> None:
    async def turned(connection: Connection) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        return await flag_edit.turn(connection, name, on, reason), await flag_edit.flags(connection)

    edit, known = ask(dsn, turned)
    if edit is None:
        raise OperatorError(f"nobody has set flag {name!r}; `actiond flag list` shows all")
    undo = {True: f"actiond flag on {name}", False: f"actiond flag off {name}", None: f"actiond flag rm {name}"}
    tell([edit], [undo[edit["before"]]], [f"flag {name}: {_word(edit['before'])} -> {_word(edit['after'])}"], as_json)
    asked = {row["flag"]: row["asked_by"] for row in known}
    if on is not None and not asked.get(name):
        meant = difflib.get_close_matches(name, [flag for flag, by in asked.items() if by], 1)
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        say.line(f"nothing asks for flag {name!r}{hint}", err=True)


def _word(value: bool | None) -> str:
    return {True: "on", False: "off", None: "not set"}[value]
