"""actiond schedule add, actiond schedule set."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.schedule_options import (
    at_option,
    checked,
    described,
    flag_option,
    instant,
    interval,
    processor_option,
    rule_of,
    rule_options,
    upcoming,
)
from actiond.postgres import schedule_edit
from actiond.postgres.connection import Connection
from actiond.rules import cron
from actiond.rules.slots import Missed
from actiond.words import json_text
from actiond.words.errors import OperatorError

F = TypeVar("F", bound=Callable[..., Any])


def _what_options(function: F) -> F:
    """Everything but the rule."""
    missed = click.Choice([str(each) for each in Missed])
    for option in (
        at_option("--starts-at", "starts_at", "No slot before this; an interval is counted from it (default: now)."),
        flag_option,
        click.option("--environments", metavar="A,B", help="Only where the setting `environment` is one of these."),
        click.option("--overlap", type=click.Choice(["skip", "allow"]), help="While its last action is open (skip)."),
        click.option(
            "--grace",
            metavar="DURATION",
            help="How late a slot may fire (once: any; skip: 1 min; all: 1 d).",
            callback=lambda context, parameter, value: value if value == "" else interval(context, parameter, value),
        ),
        click.option("--missed", type=missed, help="Slots for which no daemon was up (once)."),
        click.option("--priority", type=click.IntRange(0, 3), help="Of the action; 0 is first (2)."),
        click.option(
            "--related", help="The key of the record the action is about; {slot} and {fire_at} are filled in."
        ),
        click.option(
            "--data", metavar="JSON", help="Insert an action with this; {slot} and {fire_at} are filled in its texts."
        ),
    ):
        function = option(function)
    return function


@click.command("add")
@click.argument("name")
@click.argument("processor")
@rule_options
@_what_options
@click.option("--disabled", is_flag=True, help="Off, until it is enabled.")
@dsn_option
@json_option
def add(name: str, processor: str, dsn: str | None, as_json: bool, disabled: bool, **given: Any) -> None:
    """A new schedule: without --data it wakes the processor, with --data it inserts an action."""
    if not re.fullmatch(r"[^,\s]{1,255}", processor):
        raise OperatorError(
            f"{processor[:300]!r} is no name of a processor: no comma, no space, at most 255 characters"
        )
    values = {**schedule_edit.NEW, **_said(given, given["timezone"] or "UTC"), "enabled": not disabled}
    _check(values)
    row = ask(dsn, lambda c: _added(c, name, processor, values))
    _tell("added", row, as_json)


async def _added(connection: Connection, name: str, processor: str, values: dict[str, Any]) -> dict[str, Any]:
    await schedule_edit.add(connection, name, processor, values)
    return await schedule_edit.the_only(connection, name, processor)


@click.command("set")
@click.argument("name")
@processor_option
@rule_options
@_what_options
@click.option("--wake", is_flag=True, help="Wake the processor from now on, instead of inserting an action.")
@dsn_option
@json_option
def set_(name: str, processor: str | None, dsn: str | None, as_json: bool, wake: bool, **given: Any) -> None:
    """Change a schedule. A changed rule counts from now; an empty text takes a value away."""

    async def changed(connection: Connection) -> dict[str, Any]:
        row = await schedule_edit.the_only(connection, name, processor)
        values = _said(given, given["timezone"] or row["timezone"])
        if wake and (given["data"] is not None or given["related"]):
            raise OperatorError("either --wake, or --data with --related")
        if wake:
            values |= {"data": None, "related": None}
        for one, other in (("cron", "every"), ("every", "cron")):
            if values.get(one) is not None and values.get(other) is None:
                values[other] = None
        if not values:
            raise OperatorError("nothing to change: see `actiond schedule set --help`")
        _check({**row, **values})
        await schedule_edit.change(connection, row, values)
        return await schedule_edit.the_only(connection, name, row["processor"])

    _tell("changed", ask(dsn, changed), as_json)


def _said(given: dict[str, Any], timezone: str) -> dict[str, Any]:
    """What was given, as the columns have it."""
    said = {name: value for name, value in given.items() if value is not None}
    for name in ("related", "grace", "environments"):
        if said.get(name) == "":
            said[name] = None
    if said.get("environments") is not None:
        said["environments"] = [each.strip() for each in said["environments"].split(",") if each.strip()]
    if "starts_at" in said:
        said["starts_at"] = instant(said["starts_at"], timezone, "--starts-at")
    return said


def _check(values: dict[str, Any]) -> None:
    rule_of(values)
    if values["data"] is None and values["related"] is not None:
        raise OperatorError("a wake is about no record: give --data '{}' to insert an action, or leave --related out")
    if values["data"] is not None:
        try:
            json_text.dumps(json_text.loads(values["data"]))
        except ValueError as wrong:
            raise OperatorError(f"--data is no JSON: {wrong}") from None


def _tell(done: str, row: dict[str, Any], as_json: bool) -> None:
    slot = upcoming(row)
    zone = checked(lambda: cron.zone(row["timezone"]))
    next_ = None if slot is None else slot.astimezone(zone).isoformat(" ", "seconds")
    if as_json:
        output.print_json({done: row["name"], "processor": row["processor"], "says": described(row), "next": next_})
    else:
        does = "wakes" if row["data"] is None else "inserts an action for"
        off = "" if row["enabled"] and row["name_enabled"] else "; it is off"
        off += "" if row["flag_on"] else f"; its flag {row['flag']!r} is off"
        say.line(f"{done}: {row['name']} {does} {row['processor']}: {described(row)}; next {next_ or 'never'}{off}")
    if not row["known"]:
        say.line(f"no processor {row['processor']!r} is known yet: is the name right?", err=True)


COMMANDS = (add, set_)
