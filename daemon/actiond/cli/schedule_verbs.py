"""actiond schedule enable, disable, rm, run-now."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.schedule_options import checked, processor_option
from actiond.postgres import schedule_edit
from actiond.postgres.connection import Connection
from actiond.rules import cron
from actiond.rules.slots import filled
from actiond.words import json_text
from actiond.words.errors import OperatorError


@click.command("enable")
@click.argument("name")
@processor_option
@dsn_option
@json_option
def enable(name: str, processor: str | None, dsn: str | None, as_json: bool) -> None:
    """Switch a whole name on, or with --processor its one row. Slots of the time it was off do not fire."""
    _switch(name, processor, dsn, as_json, on=True)


@click.command("disable")
@click.argument("name")
@processor_option
@dsn_option
@json_option
def disable(name: str, processor: str | None, dsn: str | None, as_json: bool) -> None:
    """Switch a whole name off, or with --processor its one row."""
    _switch(name, processor, dsn, as_json, on=False)


def _switch(name: str, processor: str | None, dsn: str | None, as_json: bool, *, on: bool) -> None:
    async def switched(connection: Connection) -> list[dict[str, Any]]:
        await schedule_edit.switch(connection, name, processor, on=on)
        return await schedule_edit.schedules(connection, name, processor)

    rows = ask(dsn, switched)
    if as_json:
        names = ("name", "processor", "enabled", "name_enabled")
        output.print_json([{each: row[each] for each in names} for row in rows])
        return
    for row in rows:
        off = [] if row["enabled"] else ["this row is off"]
        off += [] if row["name_enabled"] else ["the whole name is off"]
        say.line(f"{name} for {row['processor']}: {' and '.join(off) or 'on'}")


@click.command("rm")
@click.argument("name")
@processor_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@dsn_option
@json_option
def remove(name: str, processor: str | None, yes: bool, dry_run: bool, dsn: str | None, as_json: bool) -> None:
    """Remove a schedule, or with --processor its one row. Actions it has inserted stay."""
    names = [row["processor"] for row in ask(dsn, lambda c: schedule_edit.some(c, name, processor))]
    said = f"schedule {name} for {', '.join(names)}"
    if not dry_run:
        if not yes:
            say.confirm(f"remove {said}?")
        names = ask(dsn, lambda c: schedule_edit.remove(c, name, processor))
    if as_json:
        output.print_json({"removed": [] if dry_run else names, "would_remove": names if dry_run else []})
    else:
        say.line(f"would remove: {said} (--dry-run)" if dry_run else f"removed: {said}")


@click.command("run-now")
@click.argument("name")
@processor_option
@click.option("--force", is_flag=True, help="Also while its last action is open (overlap skip).")
@dsn_option
@json_option
def run_now(name: str, processor: str | None, force: bool, dsn: str | None, as_json: bool) -> None:
    """Do now what the next slot would do, also when it is off; its slots stay as they are."""

    async def ran(connection: Connection) -> list[dict[str, Any]]:
        rows = await schedule_edit.some(connection, name, processor)
        for row in rows:
            if row["open"] and row["overlap"] == "skip" and row["data"] is not None and not force:
                raise OperatorError(
                    f"action {row['last_action']} of schedule {name!r} is still open: --force inserts another one"
                )
        async with connection.transaction():
            return [{"processor": row["processor"], "action": await _run(connection, row)} for row in rows]

    done = ask(dsn, ran)
    if as_json:
        output.print_json(done)
        return
    for each in done:
        say.line(f"{each['processor']}: " + ("woken" if each["action"] is None else f"action {each['action']}"))


async def _run(connection: Connection, row: dict[str, Any]) -> int | None:
    at = row["now"].astimezone(checked(lambda: cron.zone(row["timezone"])))
    data = None if row["data"] is None else json_text.dumps(filled(json_text.loads(row["data"]), at, at))
    return await schedule_edit.run_now(connection, row, data, filled(row["related"], at, at))


COMMANDS = (enable, disable, remove, run_now)
