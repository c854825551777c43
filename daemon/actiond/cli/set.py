"""actiond set."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from typing import Any

import click

from actiond.cli import say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.switch import tell
from actiond.contract import policy
from actiond.postgres import verbs
from actiond.postgres.connection import Connection
from actiond.words.errors import ProcessorInvalid

#: A knob that deletes -> the statuses of what it deletes.
OUTLIVED = {"retention_completed": ["completed", "canceled"], "retention_failed": ["failed"]}
_SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


@click.command("set")
@click.argument("processor")
@click.argument("knob")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Take the override back: as declared.")
@click.option("--reason", help="Why: kept in history.")
@click.option("--yes", is_flag=True, help="Do not ask before a retention that deletes actions.")
@dsn_option
@json_option
def command(
    processor: str,
    knob: str,
    value: str | None,
    unset: bool,
    reason: str | None,
    yes: bool,
    dsn: str | None,
    as_json: bool,
) -> None:
    """Override a knob of a processor, from its next batch on: actiond set welcome batch_size 50."""
    knob = knob.replace("-", "_")
    if knob not in policy.KNOBS:
        raise click.BadParameter(f"there is no knob {knob!r} (there are: {', '.join(policy.KNOBS)})", param_hint="KNOB")
    if (value is None) != unset:
        raise click.UsageError("give a value, or --unset")
    text = None if value is None else in_postgres(knob, value)
    if text is not None and knob in OUTLIVED and not yes:
        _confirm(processor, knob, text, dsn)
    edit = ask(dsn, lambda c: verbs.set_knob(c, processor, knob, text, reason))
    before = "--unset" if edit["before"] is None else shlex.quote(policy.said(edit["before"]))
    name = shlex.quote(processor)
    lines = [f"{processor}: {knob} {_shown(edit['before'])} -> {_shown(edit['after'])}"]
    tell([edit | {"knob": knob}], [f"actiond set {name} {knob} {before}"], lines, as_json)


def _confirm(processor: str, knob: str, text: str, dsn: str | None) -> None:
    """Deleted is deleted: how much, and is that meant?"""
    counted = ask(dsn, lambda c: outlived(c, processor, knob, text))
    if counted.count:
        say.confirm(f"{counted} actions of {processor} are older and will be deleted. Go on?")


async def outlived(connection: Connection, processor: str, knob: str, text: str) -> verbs.Counted:
    """What this knob deletes when it is `text`."""
    filter_ = {"processor": processor, "status": OUTLIVED[knob], "finished_until": text}
    return await verbs.count(connection, filter_, sample=0)


def in_postgres(knob: str, value: str) -> str:
    """A value as a person types it, checked, as Postgres reads it. BadParameter says what is wrong."""
    try:
        return policy.in_postgres(knob, _parsed(knob, value))
    except (ProcessorInvalid, ValueError) as wrong:
        why = str(wrong.args[0]) if wrong.args else str(wrong)
        raise click.BadParameter(why.removeprefix(f"{knob}: "), param_hint=knob) from None


def _parsed(knob: str, value: str) -> Any:
    usual = next(each.default for each in fields(policy.Policy) if each.name == knob)
    if isinstance(usual, bool):
        return _SWITCH.get(value.lower(), value)
    if isinstance(usual, int) or usual is None:
        return int(value) if value.lstrip("-").isdecimal() else value
    if knob == "config":
        return json.loads(value)
    if knob == "breaker" and value.replace(".", "", 1).isdecimal():
        return float(value)
    return value


def _shown(value: Any) -> str:
    return "as declared" if value is None else policy.said(value)
