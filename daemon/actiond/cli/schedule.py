"""actiond schedule: the group, and what reads: ls, explain."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from actiond.cli import output, say, schedule_change, schedule_verbs
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.schedule_options import (
    at_option,
    described,
    instant,
    processor_option,
    rule_of,
    rule_options,
    upcoming,
)
from actiond.postgres import schedule_edit
from actiond.postgres.connection import Connection
from actiond.rules import cron, forecast
from actiond.rules.slots import GRACE, Missed
from actiond.words import json_text
from actiond.words.duration import in_words
from actiond.words.errors import OperatorError


@click.group("schedule")
def command() -> None:
    """Cron and intervals: when to wake a processor, or to insert an action for it."""


@command.command("ls")
@click.argument("name", required=False)
@dsn_option
@json_option
def list_(name: str | None, dsn: str | None, as_json: bool) -> None:
    """The schedules: what they do, when next, how often they did."""
    rows = ask(dsn, lambda c: schedule_edit.schedules(c, name))
    if as_json:
        output.print_json([_whole(row) for row in rows])
        return
    empty = "no schedule of this name" if name else "no schedule yet: `actiond schedule add` makes one"
    output.table([_shown(row) for row in rows], as_json=False, empty=empty)


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    shown = row.pop("shown")
    return {**row, "data": json_text.loads_or_none(shown), "says": described(row)}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "schedule": row["name"],
        "processor": row["processor"],
        "does": "wake" if row["data"] is None else "insert",
        "when": described(row),
        "next": local(row, upcoming(row)) if _on(row) else "",
        "last": local(row, row["last_at"]),
        "fired": row["fired"],
        "missed": row["missed_slots"],
        "overlapped": row["overlapped"],
        "note": _note(row),
    }


def local(row: dict[str, Any], at: datetime | None) -> str:
    """In the zone of the schedule, with the offset; UTC where that zone cannot be read."""
    if at is None:
        return ""
    try:
        return at.astimezone(cron.zone(row["timezone"])).isoformat(" ", "seconds")
    except ValueError:
        return at.isoformat(" ", "seconds")


def _on(row: dict[str, Any]) -> bool:
    return bool(row["enabled"] and row["name_enabled"] and row["flag_on"])


def _note(row: dict[str, Any]) -> str:
    notes = [
        (row["error"] is not None, f"cannot fire: {row['error']}"),
        (not row["name_enabled"], "off (the whole name)"),
        (not row["enabled"], "off"),
        (not row["flag_on"], f"its flag {row['flag']!r} is off"),
        (not row["here"], f"only in {', '.join(row['environments'] or [])}"),
        (not row["known"], "no such processor is known"),
        (row["open"] and row["overlap"] == "skip", f"action {row['last_action']} is open: the next slot is skipped"),
    ]
    return "; ".join(note for holds, note in notes if holds)


@command.command("explain")
@click.argument("name", required=False)
@processor_option
@rule_options
@at_option("--from", "from_", "Count from this time (default: now); without a schedule, no database is asked then.")
@dsn_option
@json_option
def explain(name: str | None, processor: str | None, dsn: str | None, as_json: bool, **given: Any) -> None:
    """A schedule in words, its next ten slots with their offsets, and what the next clock changes do to it.

    Without NAME, of a --cron or an --every that stands in no row yet.
    """
    if name is None and given["cron"] is None and given["every"] is None:
        raise OperatorError("say which: a NAME, or --cron TEXT, or --every DURATION")
    if name is not None and any(given[each] is not None for each in ("cron", "every", "timezone")):
        raise OperatorError("either a NAME, or --cron / --every with --timezone")
    row, after = _what(name, processor, dsn, given)
    rule, zone = rule_of(row), cron.zone(row["timezone"])
    fires = forecast.next_fires(rule, after, zone)
    changes = forecast.changes(rule, after, zone)
    facts = _facts(row) if name is not None else []
    if as_json:
        said = {"says": described(row), "facts": facts, "fires": [fire.isoformat() for fire in fires]}
        output.print_json({**said, "clock_changes": [asdict(change) for change in changes]})
        return
    say.line(described(row), bold=True)
    for fact in facts:
        say.line(f"  {fact}")
    say.line()
    shown = [
        {"slot": fire.isoformat(" "), "day": fire.strftime("%a"), "in": in_words((fire - after).total_seconds())}
        for fire in fires
    ]
    output.table(shown, as_json=False, empty="it has no slot within fifty years", title=f"the next {len(fires)} slots")
    for change in changes:
        say.block(f"\nthe clocks are set at {change.before}: then it is {change.after}; slots around it:")
        for fire in change.fires:
            say.line(f"  {fire}")


def _what(
    name: str | None, processor: str | None, dsn: str | None, given: dict[str, Any]
) -> tuple[dict[str, Any], datetime]:
    """The row that is meant, or one made of the options; and from when on."""
    if name is not None:
        row = ask(dsn, lambda c: schedule_edit.the_only(c, name, processor))
        after = instant(given["from_"], row["timezone"], "--from") or row["now"]
        return row, max(after, row["since"])
    timezone = given["timezone"] or "UTC"
    row = {"cron": given["cron"], "every": given["every"], "timezone": timezone, "starts_at": None}
    rule_of(row)
    after = instant(given["from_"], timezone, "--from") or ask(dsn, _now)
    return {**row, "starts_at": after}, after


async def _now(connection: Connection) -> datetime:
    return await schedule_edit.now(connection)


def _facts(row: dict[str, Any]) -> list[str]:
    missed = Missed(row["missed"])
    longest = GRACE[missed] if row["grace"] is None else row["grace"]
    late = "however late" if longest is None else f"if it is at most {in_words(longest.total_seconds())} late"
    what = {Missed.ONCE: "the last of them fires", Missed.SKIP: "the last of them fires", Missed.ALL: "each fires"}
    does = "wakes" if row["data"] is None else "inserts an action for"
    facts = [f"{does} {row['processor']}", f"slots nobody was up for: {what[missed]}, {late} (missed: {missed})"]
    if row["data"] is not None:
        open_ = "fires none" if row["overlap"] == "skip" else "fires all the same"
        facts.append(f"while its last action is open it {open_} (overlap: {row['overlap']})")
    if row["environments"] is not None:
        facts.append(f"only where the setting environment is one of: {', '.join(row['environments'])}")
    if row["flag"] is not None:
        facts.append(f"only while the flag {row['flag']!r} is on")
    note = _note(row)
    return [*facts, *([f"now: {note}"] if note else [])]


for each in (*schedule_change.COMMANDS, *schedule_verbs.COMMANDS):
    command.add_command(each)
