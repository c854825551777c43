"""actiond subscription: ls, add, rm. Which processors hear of which events."""

from __future__ import annotations

import shlex

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import hint, processor_option
from actiond.postgres import events
from actiond.postgres.connection import Connection
from actiond.words.errors import OperatorError


@click.group("subscription")
def command() -> None:
    """Who hears of an event: each gets an action of its own when somebody publishes it."""


@command.command("ls")
@click.argument("event", required=False)
@processor_option
@dsn_option
@json_option
def list_(event: str | None, processor: str | None, dsn: str | None, as_json: bool) -> None:
    """The subscriptions: all, or those to one event."""
    rows = ask(dsn, lambda c: events.subscriptions(c, event, processor))
    if as_json:
        output.print_json(rows)
        return
    shown = [
        {
            "event": row["event"],
            "processor": row["processor"],
            "since": row["created_at"],
            "by": row["created_by"],
            "note": "" if row["known"] else "no such processor is known",
        }
        for row in rows
    ]
    nobody = "nobody" if event is None and processor is None else "nobody of that kind"
    output.table(shown, as_json=False, empty=f"{nobody} has subscribed: `actiond subscription add EVENT PROCESSOR`")


@command.command("add")
@click.argument("event")
@click.argument("processor")
@dsn_option
@json_option
def add(event: str, processor: str, dsn: str | None, as_json: bool) -> None:
    """From now on PROCESSOR gets an action for each EVENT."""

    async def added(connection: Connection) -> tuple[bool, bool]:
        new = await events.subscribe(connection, event, processor)
        return new, bool((await events.subscriptions(connection, event, processor))[0]["known"])

    new, known = ask(dsn, added)
    if as_json:
        output.print_json({"event": event, "processor": processor, "added": new, "known": known})
        return
    say.line(f"{processor} hears of {event}" + ("" if new else " already"))
    if new:
        say.line(f"undo: actiond subscription rm {shlex.join([event, processor])}")
    if not known:
        hint(f"no processor {processor!r} is known yet: is the name right?")


@command.command("rm")
@click.argument("event")
@click.argument("processor")
@dsn_option
@json_option
def remove(event: str, processor: str, dsn: str | None, as_json: bool) -> None:
    """PROCESSOR hears of EVENT no more. Actions that it got before stay."""
    if not ask(dsn, lambda c: events.unsubscribe(c, event, processor)):
        raise OperatorError(
            f"{processor!r} has not subscribed to {event!r}; `actiond subscription ls` lists who has to what"
        )
    if as_json:
        output.print_json({"event": event, "processor": processor, "removed": True})
        return
    say.line(f"{processor} hears of {event} no more")
    say.line(f"undo: actiond subscription add {shlex.join([event, processor])}")
