"""Which actions: the options that `ls` and all verbs share, and the filter that they make.

The filter is JSON that one SQL function understands (sql/functions/098_find.sql).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import click

from actiond.words import duration
from actiond.words.status import Status

F = TypeVar("F", bound=Callable[..., Any])

_DAYS = ("today", "yesterday")
_MOMENTS = ("created_since", "created_until", "finished_since", "finished_until")


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """How long ago ('2 h'), a date or a time ('2030-01-31 08:00', local unless it says), today, yesterday."""
    if value is None or value in _DAYS:
        return value
    said = f"{value!r} is no moment: write how long ago ('2 h', '1 d'), a date or time ('2030-01-31 08:00'), "
    said += "'today' or 'yesterday' (these two in UTC)"
    try:
        amount_s = duration.seconds(value)
    except ValueError as wrong:
        said = str(wrong) if str(wrong).startswith("a duration") else said
    else:
        words = duration.in_words(amount_s)  # as people say it, if that says all of it
        return words if duration.seconds(words) == amount_s else duration.exactly(amount_s)
    try:
        return datetime.fromisoformat(value).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise click.BadParameter(said) from None


_OPTIONS = (
    click.option("--processor", help="Only of this processor."),
    click.option("--status", multiple=True, type=click.Choice([s.value for s in Status]), help="Only in this status "
                 "(repeatable)."),
    click.option("--related", help="Only about this record (the key exactly)."),
    click.option("--error", metavar="TEXT", help="Only where the last error contains this."),
    click.option("--fingerprint", metavar="TEXT", help="Only where the last error without its numbers and quoted "
                 "values is this."),
    click.option("--since", "created_since", metavar="WHEN", callback=moment,
                 help="Only created since: '1 h', '7 d', '2030-01-31 08:00', yesterday."),
    click.option("--until", "created_until", metavar="WHEN", callback=moment, help="Only created before."),
    click.option("--finished-since", metavar="WHEN", callback=moment, help="Only ended since."),
    click.option("--finished-until", metavar="WHEN", callback=moment, help="Only ended before."),
    click.option("--changed-by", type=int, metavar="ID", help="Only what this bulk verb has changed."),
)  # fmt: skip
NAMES = ("processor", "status", "related", "error", "fingerprint", *_MOMENTS, "changed_by")


def filter_options(command: F) -> F:
    """All of them, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def taken_from(options: dict[str, Any]) -> dict[str, Any]:
    """The filter, out of the options of a command; what is left there is not of it."""
    given = {name: options.pop(name) for name in NAMES}
    return {
        name: list(value) if name == "status" else value for name, value in given.items() if value not in (None, ())
    }


def as_options(filter_: Mapping[str, Any]) -> str:
    """The same filter as it is written on the command line."""
    said = []
    for name in NAMES:
        if name not in filter_:
            continue
        option = "--" + name.removeprefix("created_").replace("_", "-")
        values = filter_[name] if isinstance(filter_[name], list) else [filter_[name]]
        said += [f"{option} {shlex.quote(str(value))}" for value in values]
    return " ".join(said)


def in_words(filter_: Mapping[str, Any]) -> str:
    """The filter for people; empty = everything."""
    said = []
    for name in NAMES:
        if name in filter_:
            value = filter_[name]
            shown = " or ".join(value) if isinstance(value, list) else str(value)
            said.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(said)
