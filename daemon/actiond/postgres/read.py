"""What people ask: status, lists, one action, policies. Reads only, bounded, never a count of a whole table."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import asyncpg

from actiond.postgres.connection import Connection
from actiond.postgres.statements import Statements
from actiond.rules import flags
from actiond.words import json_text
from actiond.words.duration import in_words
from actiond.words.errors import OperatorError

COUNT_AT_MOST = 10_000
LATE_S = 60.0  # a schedule whose slot was due this long ago
QUIET_S = 5.0  # a daemon that beats every second and was not seen for this long
_OURS = "actiond."  # processors that come with every daemon: bulk verbs, plans
_MARGIN_S = 5.0  # the server gives up first, and says so

_sql = Statements()


@dataclass(frozen=True, slots=True)
class Status:
    """One look at everything."""

    processors: list[dict[str, Any]]
    daemons: list[dict[str, Any]]
    settings: dict[str, Any]
    problems: list[str]


async def status(connection: Connection) -> Status:
    """Processors, daemons, settings, and what is wrong, worst first."""
    processors = [dict(row) for row in await connection.fetch(_sql["status_processors"], COUNT_AT_MOST)]
    daemons = [dict(row) for row in await connection.fetch(_sql["status_daemons"])]
    settings = {row["name"]: json_text.loads(row["value"]) for row in await connection.fetch(_sql["settings"])}
    late = await connection.fetch(_sql["late_schedules"], LATE_S)
    found = problems(processors, daemons, settings) + [_late(row) for row in late]
    return Status(processors, daemons, settings, found)


def problems(processors: list[dict[str, Any]], daemons: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """One line for each thing somebody should know, saying what to do."""
    found = []
    if settings.get("paused") is True:
        found.append("everything is paused: `actiond resume --all` goes on")
    if not any(daemon["alive"] for daemon in daemons):
        found.append("no daemon is running: start one with `actiond run`")
    found += [
        f"daemon {daemon['id']} on {daemon['host']} was last seen {in_words(daemon['seen_s'])} ago"
        for daemon in daemons
        if daemon["seen_s"] > QUIET_S
    ]
    found += [_breaker(each) for each in processors if each["breaker"] in ("open", "probing")]
    for each in processors:
        waiting = each["due"] + each["scheduled"]
        if not waiting:
            continue
        name = each["processor"]
        if not each["live_daemons"] and any(daemon["alive"] for daemon in daemons) and not each["registered"]:
            found.append(f"{_rows(waiting)} for {name!r}, which no daemon serves: is the name right?")
        elif not each["live_daemons"] and any(daemon["alive"] for daemon in daemons):
            found.append(f"{_rows(waiting)} for {name!r}, but no running daemon has it")
        elif not each["enabled"]:
            found.append(f"{_rows(waiting)} for {name!r}, which is disabled")
        elif not each["flag_on"]:
            found.append(
                f"{_rows(waiting)} for {name!r}, whose flag {each['flag']!r} is off{_never_set(each, settings)}"
            )
    return found


def worth_a_line(processors: list[dict[str, Any]], *, everything: bool = False) -> list[dict[str, Any]]:
    """Without those that every daemon serves by itself, as long as there is nothing to see of them."""
    return [
        each for each in processors if everything or not each["processor"].startswith(_OURS) or _has_something(each)
    ]


def _has_something(processor: dict[str, Any]) -> bool:
    """Something waits, runs or has failed; or nothing could, because somebody has switched it off."""
    counts = ("due", "scheduled", "running", "failed", "failed_5min", "retried_5min")
    return any(processor[each] for each in counts) or bool(held_back(processor))


def held_back(processor: dict[str, Any]) -> str:
    """Why nothing of it is claimed, to stand behind its name; empty: something is, or could be."""
    if not processor["enabled"]:
        return " (disabled)"
    if not processor["flag_on"]:
        return " (flag off)"
    if processor["opens_in_s"]:
        return " (window closed)"
    if processor["breaker"] in ("open", "probing"):
        return " (breaker open)"
    return " (rate reached)" if processor["due"] and processor["token_in_s"] else ""


def _breaker(processor: dict[str, Any]) -> str:
    name, failed, outcomes = processor["processor"], processor["breaker_failed"], processor["breaker_outcomes"]
    probing = processor["breaker"] == "probing"
    waits = "a probe is under way" if probing else f"next probe in {in_words(processor['probe_in_s'])}"
    return (
        f"the breaker of {name!r} is open, as {failed} of its latest {outcomes} outcomes were failures; {waits}: "
        f"`actiond resume {shlex.quote(name)}` closes it"
    )


def _never_set(processor: dict[str, Any], settings: dict[str, Any]) -> str:
    return "" if flags.SETTING + processor["flag"] in settings else ", as nobody has ever set it: is its name right?"


def _late(schedule: Any) -> str:
    about = f"schedule {schedule['name']!r} for {schedule['processor']!r}"
    if schedule["error"]:
        return f"{about} cannot fire: {schedule['error']}"
    return f"{about} has been due for {in_words(schedule['late_s'])}: is a daemon running?"


def _rows(waiting: int) -> str:
    return "1 row waits" if waiting == 1 else f"{counted(waiting)} rows wait"


def counted(count: int) -> str:
    """A bounded count: "10,000+" where counting stopped."""
    return f"{count:,}+" if count >= COUNT_AT_MOST else f"{count:,}"


@dataclass(frozen=True, slots=True)
class Page:
    """Actions, newest first. Not `over`: there may be more below the id `reached`."""

    rows: list[dict[str, Any]]
    reached: int
    over: bool


async def actions(
    connection: Connection, filter_: dict[str, Any] | None = None, *, limit: int = 50, below: int | None = None
) -> Page:
    """The newest that match (the members of a filter: sql/functions/098_find.sql).

    Looks at a bounded number of rows: with few matches among many rows a page may be short and not over.
    """
    found = await connection.fetchrow(_sql["find_actions"], json_text.dumps(filter_ or {}), below, limit, True)
    assert found is not None
    return Page(await listed(connection, found["ids"]), found["reached"], found["over"])


async def listed(connection: Connection, ids: list[int]) -> list[dict[str, Any]]:
    """These, newest first, without those that are not there."""
    return [dict(row) for row in await connection.fetch(_sql["list_actions"], ids)]


async def action(connection: Connection, id_: int) -> dict[str, Any] | None:
    """One action with its children (summed up), runs and history; None if there is none of this id."""
    row = await connection.fetchrow(_sql["show_action"], id_)
    if row is None:
        return None
    shown = dict(row)
    for column in ("data", "result", "state"):
        shown[column] = None if shown[column] is None else _readable(shown[column])
    shown["children"] = [dict(family) for family in await connection.fetch(_sql["show_children"], id_)]
    shown["runs"] = [dict(run) for run in await connection.fetch(_sql["show_runs"], id_)]
    shown["history"] = [_edited(entry) for entry in await connection.fetch(_sql["show_history"], id_)]
    return shown


def _edited(entry: Any) -> dict[str, Any]:
    """An entry of history, with what changed as values."""
    told = dict(entry)
    for side in ("before", "after"):
        told[side] = None if told[side] is None else _readable(told[side])
    return told


def _readable(text: str) -> Any:
    try:
        return json_text.loads(text)
    except ValueError:  # nested too deeply for Python, but legally stored
        return text


async def policies(connection: Connection, processor: str | None = None) -> list[dict[str, Any]]:
    """A row a knob: value and origin."""
    return [dict(row) for row in await connection.fetch(_sql["policies"], processor)]


async def payload(connection: Connection, processor: str) -> dict[str, Any]:
    """What its code says of its payloads: {"payload": JSON schema or None, "redact": [names of fields]}."""
    row = await connection.fetchrow(_sql["processor_fields"], processor)
    schema = None if row is None or row["payload"] is None else _readable(row["payload"])
    return {"payload": schema, "redact": [] if row is None else list(row["redact"])}


async def edits(connection: Connection, processor: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
    """Who paused, resumed or set something, and why: the latest, in order."""
    return [_edited(row) for row in await connection.fetch(_sql["show_edits"], processor, limit)]


async def wake(connection: Connection, names: list[str]) -> None:
    """These, or all."""
    await connection.execute(_sql["wake"], ",".join(names))


async def invariants(connection: Connection, within_s: float) -> list[dict[str, Any]]:
    """Each with how many rows break it (counting stops) and one of them. On a connection that is `patient`.

    OperatorError if it took longer than `within_s`: it reads whole tables.
    """
    try:
        rows = await connection.fetch(_sql["invariants"], COUNT_AT_MOST, timeout=within_s + _MARGIN_S)
    except (asyncpg.QueryCanceledError, TimeoutError):
        raise OperatorError(
            f"the check was not done within {in_words(within_s)}: it reads whole tables. "
            f"Give it longer: --timeout '{in_words(4 * within_s)}'."
        ) from None
    return [dict(row) for row in rows]
