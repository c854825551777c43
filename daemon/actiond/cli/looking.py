"""What the commands that look at figures share: which processor, since when, how many; and a hint what to do next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from actiond.cli import say
from actiond.words import duration

processor_option = click.option("--processor", metavar="NAME", help="Only of this processor.")

all_option = click.option(
    "--all", "everything", is_flag=True, help="Also actiond.verb and actiond.plan when they have nothing to do."
)


def nothing_to_show(processors: Sequence[Any]) -> str:
    """In place of a table without a line."""
    return "no processor but those of actiond itself (--all)" if processors else "no processor is known yet"


def duration_option(name: str, default: str | None, help_: str) -> Callable[[Any], Any]:
    """An option that reads '2 h' or '7 d' and gives seconds."""
    return click.option(name, metavar="DURATION", default=default, show_default=True, callback=_seconds, help=help_)


def limit_option(default: int) -> Callable[[Any], Any]:
    """How many lines at most."""
    return click.option("--limit", default=default, show_default=True, type=click.IntRange(1, 10_000))


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else duration.seconds(value)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


def span(seconds: float) -> str:
    """86400.0 -> "24 h": as people say it of the last so long."""
    hours = seconds / 3600
    return f"{hours:.0f} h" if 1 <= hours <= 48 and hours == int(hours) else duration.in_words(seconds)


def of(processor: str | None) -> str:
    """ " of 'p'", for the end of a sentence."""
    return "" if processor is None else f" of {processor!r}"


def hint(text: str) -> None:
    """What one may want to do next; not on standard output, which others may read."""
    say.line(text, dim=True, err=True)
