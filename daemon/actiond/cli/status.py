"""actiond status."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import all_option, nothing_to_show
from actiond.postgres import read
from actiond.words.duration import in_words


@click.command("status")
@all_option
@dsn_option
@json_option
def command(everything: bool, dsn: str | None, as_json: bool) -> None:
    """Processors with what waits, runs and fails; daemons; problems."""
    now = ask(dsn, read.status)
    if as_json:
        output.print_json(asdict(now))
        return
    shown = [_processor(each) for each in read.worth_a_line(now.processors, everything=everything)]
    output.table(shown, as_json=False, empty=nothing_to_show(now.processors))
    say.line()
    output.table([_daemon(each) for each in now.daemons], as_json=False, empty="no daemon is running")
    say.line()
    if not now.problems:
        say.line("no problems", fg="green")
    for problem in now.problems:
        say.line(f"! {problem}", fg="yellow")


def _processor(each: dict[str, Any]) -> dict[str, Any]:
    return {
        "processor": each["processor"] + read.held_back(each),
        "due": read.counted(each["due"]),
        "oldest": "" if each["oldest_due_s"] is None else in_words(each["oldest_due_s"]),
        "scheduled": read.counted(each["scheduled"]),
        "running": each["running"],
        "failed": read.counted(each["failed"]),
        "done/min": each["completed_5min"] / 5,
        "failing/min": (each["failed_5min"] + each["retried_5min"]) / 5,
        "daemons": each["live_daemons"],
    }


def _daemon(each: dict[str, Any]) -> dict[str, Any]:
    return {
        "daemon": each["id"],
        "host": each["host"],
        "pid": each["pid"],
        "version": each["version"],
        "up": in_words(each["up_s"]),
        "seen": f"{in_words(each['seen_s'])} ago",
        "schedules looked at": "" if each["ticked_s"] is None else f"{in_words(each['ticked_s'])} ago",
        "running": each["running"],
        "processors": ", ".join(each["processors"]),
    }
