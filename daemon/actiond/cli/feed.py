"""actiond feed: one line for each outcome, from a position on, and on request as they come."""

from __future__ import annotations

import shlex
import signal
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import click
from anyio.abc import TaskGroup

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import hint, processor_option
from actiond.postgres import feed
from actiond.postgres.connection import Connection
from actiond.postgres.feed import OutcomeEntry

_OURS = "actiond."  # processors of plans and verbs: nobody misses their completions
_KIND = {"completed": "green", "repeated": "green", "failed": "red", "crashed": "red", "retried": "yellow"}


@dataclass(slots=True)
class _Reading:
    """How far it has come."""

    position: str | None
    processor: str | None
    follow: bool
    as_json: bool


@click.command("feed")
@click.option(
    "--since", metavar="POSITION", help="After this position. Default: the beginning; with --follow: from now on."
)
@processor_option
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@dsn_option
@json_option
def command(since: str | None, processor: str | None, follow: bool, dsn: str | None, as_json: bool) -> None:
    """What became of actions: a line for each outcome, each once, none missed.

    It ends with the position to go on from. --since '' is the beginning. With --json each line is one JSON object, with
    the position after it.
    """
    reading = _Reading(since, processor, follow, as_json)
    try:
        ask(dsn, lambda c: _read(c, reading))
    finally:
        if reading.position not in (None, since):
            hint(f"go on: {_again(reading)}")


async def _read(connection: Connection, reading: _Reading) -> None:
    if reading.follow and reading.position is None:
        reading.position = await feed.position(connection)
    await _say_what_is_missing(connection, reading.processor)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_told, tasks)
            await _print_all(connection, reading)
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:  # of the one task that can fail
        raise group.exceptions[0] from None


async def _until_told(tasks: TaskGroup) -> None:
    """Ctrl-C ends the reading, and is no error."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        await anext(received)
    tasks.cancel_scope.cancel()


async def _print_all(connection: Connection, reading: _Reading) -> None:
    async with aclosing(feed.outcomes(connection, reading.position, follow=reading.follow)) as entries:
        async for entry in entries:
            if reading.processor in (None, entry.processor):
                _print(entry, reading.as_json)
            reading.position = entry.position


def _print(entry: OutcomeEntry, as_json: bool) -> None:
    if as_json:
        output.print_json(entry._asdict())
        return
    detail = (entry.detail or "").split("\n")[0][:100]
    about = "" if entry.attempt is None else f"attempt {entry.attempt}"
    said = [f"A-{entry.action_id:08}", entry.processor or "(deleted)", *filter(None, [about, detail])]
    outcome = (f"{entry.outcome:9}", {"fg": _KIND.get(entry.outcome)})
    say.line(f"{output.cell(entry.at)}  ", outcome, "".join(f"  {each}" for each in said))


async def _say_what_is_missing(connection: Connection, processor: str | None) -> None:
    missing = await feed.missing(connection, processor)
    for keeps, what in (("changes", "completions at the first attempt"), ("none", "outcomes")):
        names = [name for name, kept in missing.items() if kept == keeps and not name.startswith(_OURS)]
        if names:
            hint(
                f"not here, because history does not keep them: {what} of {', '.join(names[:5])}"
                f"{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
                f" (actiond set {names[0]} history all)"
            )


def _again(reading: _Reading) -> str:
    options = ["--since", reading.position or ""]
    options += ["--processor", reading.processor] if reading.processor else []
    return shlex.join(["actiond", "feed", *options, *(["--follow"] if reading.follow else [])])
