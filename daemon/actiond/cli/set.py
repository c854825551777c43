"""actiond set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click

from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.switch import tell
from actiond.contract.policy import AUTO, KNOBS, Policy, as_stored, declared
from actiond.postgres import verbs
from actiond.words.errors import ProcessorInvalid

#: A knob that deletes -> the statuses of what it deletes.
_OUTLIVED = {"retention_completed": ["completed", "canceled"], "retention_failed": ["failed"]}
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
    if knob not in KNOBS:
        raise click.BadParameter(f"there is no knob {knob!r} (there are: {', '.join(KNOBS)})", param_hint="KNOB")
    if (value is None) != unset:
        raise click.UsageError("give a value, or --unset")
    if knob == "batch_size" and value == AUTO:
        raise click.BadParameter(
            "'auto' is declared by the code of a processor; an override is a number", param_hint=knob
        )
    text = None if value is None else in_postgres(knob, value)
    if text is not None and knob in _OUTLIVED and not yes:
        _confirm(processor, knob, text, dsn)
    edit = ask(dsn, lambda c: verbs.set_knob(c, processor, knob, text, reason))
    before = "--unset" if edit["before"] is None else shlex.quote(_said(edit["before"]))
    name = shlex.quote(processor)
    lines = [f"{processor}: {knob} {_shown(edit['before'])} -> {_shown(edit['after'])}"]
    tell([edit | {"knob": knob}], [f"actiond set {name} {knob} {before}"], lines, as_json)


def _confirm(processor: str, knob: str, text: str, dsn: str | None) -> None:
    """Deleted is deleted: how much, and is that meant?"""
    filter_ = {"processor": processor, "status": _OUTLIVED[knob], "finished_until": text}
    counted = ask(dsn, lambda c: verbs.count(c, filter_, sample=0))
    if counted.count:
        click.confirm(f"{counted} actions of {processor} are older and will be deleted. Go on?", abort=True, err=True)


def in_postgres(knob: str, value: str) -> str:
    """A value as a person types it, checked, as Postgres reads it. BadParameter says what is wrong."""
    try:
        checked = declared({knob: _parsed(knob, value)})
    except (ProcessorInvalid, ValueError) as wrong:
        said = str(wrong.args[0]) if wrong.args else str(wrong)
        raise click.BadParameter(said.removeprefix(f"{knob}: "), param_hint=knob) from None
    return _said(as_stored(Policy(**checked), frozenset({knob}))[knob])


def _parsed(knob: str, value: str) -> Any:
    usual = next(each.default for each in fields(Policy) if each.name == knob)
    if isinstance(usual, bool):
        return _SWITCH.get(value.lower(), value)
    if isinstance(usual, int) or usual is None:
        return int(value) if value.lstrip("-").isdecimal() else value
    if knob == "config":
        return json.loads(value)
    if knob == "breaker" and value.replace(".", "", 1).isdecimal():
        return float(value)
    return value


def _said(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping | bool) else str(value)


def _shown(value: Any) -> str:
    return "as declared" if value is None else _said(value)
