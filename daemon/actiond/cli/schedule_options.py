"""Options that the commands about schedules share, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from actiond.rules import cron, flags
from actiond.words import duration
from actiond.words.errors import OperatorError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def flag_name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A name of a flag; an empty text is none."""
    try:
        return value if not value else flags.written(value)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


flag_option = click.option("--flag", metavar="NAME", callback=flag_name, help="Only while this feature flag is on.")
processor_option = click.option("--processor", help="Only the row for this processor.")


def interval(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A duration; an empty text is none."""
    if not value:
        return None
    try:
        return timedelta(seconds=duration.seconds(value))
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


def rule_options(function: F) -> F:
    """--cron, --every, --timezone."""
    for option in (
        click.option("--timezone", metavar="ZONE", help="An IANA zone: Europe/Berlin (default: UTC)."),
        click.option("--every", metavar="DURATION", callback=interval, help="An interval: '15 min', '1 h 30 min'."),
        click.option("--cron", metavar="TEXT", help="'30 2 * * *', '0 */5 * * * ?' (seconds in front), '@daily'."),
    ):
        function = option(function)
    return function


def at_option(flag: str, name: str, help_: str) -> Callable[[F], F]:
    """A point in time."""
    return click.option(flag, name, metavar="TIME", help=help_)


def instant(text: str | None, timezone: str, flag: str) -> datetime | None:
    """2026-03-28, 2026-03-28T12:00, 2026-03-28T12:00+01:00; without an offset, in the zone."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time (write 2026-03-28 or 2026-03-28T12:00+01:00)", param_hint=flag
        ) from None
    if at.tzinfo is not None:
        return at
    zone = checked(lambda: cron.zone(timezone))
    return cron.first_instant(zone, at)


def rule_of(row: Mapping[str, Any]) -> cron.Rule:
    """OperatorError says what is wrong with it."""
    if (row["cron"] is None) == (row["every"] is None):
        raise OperatorError("a schedule has either --cron or --every")
    starts_at = row["starts_at"] or cron.EPOCH
    return checked(lambda: cron.rule(row["cron"], row["every"], row["timezone"], starts_at))


def described(row: Mapping[str, Any]) -> str:
    """In words; of a wrong one, its text."""
    try:
        return cron.rule(row["cron"], row["every"], row["timezone"], row["starts_at"] or cron.EPOCH).in_words()
    except ValueError:
        return str(row["cron"] or row["every"])


def upcoming(row: Mapping[str, Any]) -> datetime | None:
    """The next slot: the stored one, or what a daemon will compute; None if there is none."""
    try:
        rule = cron.rule(row["cron"], row["every"], row["timezone"], row["starts_at"])
    except ValueError:
        return None
    at: datetime | None = row["next_at"]
    return at or cron.first_after(rule, row["since"], row["starts_at"])


def checked(read: Callable[[], T]) -> T:
    """What is wrong with a cron text or a zone, in one line."""
    try:
        return read()
    except ValueError as wrong:
        raise OperatorError(str(wrong)) from None
