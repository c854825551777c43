"""actiond check."""

from __future__ import annotations

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read
from actiond.words import duration

LONGEST_S = 7 * 86400.0  # Postgres counts milliseconds in 32 bits


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        within_s = duration.seconds(value)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None
    if not 1.0 <= within_s <= LONGEST_S:
        raise click.BadParameter("from 1 s to 7 d")
    return within_s


@click.command("check")
@click.option(
    "--timeout", "within_s", metavar="DURATION", default="10 min", show_default=True, callback=_seconds,
    help="It reads whole tables: how long that may take.",
)  # fmt: skip
@dsn_option
@json_option
def command(within_s: float, dsn: str | None, as_json: bool) -> int:
    """Check what must always hold: no row final twice, no claim without a run, and so on. Reads only.

    The same statement judges `actiond torture`. Exit code 1 if anything is broken.
    """
    rows = ask(dsn, lambda c: read.invariants(c, within_s), within_s)
    broken = any(row["broken"] for row in rows)
    output.table(rows, as_json=as_json)
    if not as_json:
        say.line("something is broken: please report it" if broken else "all hold", fg="red" if broken else "green")
    return 1 if broken else 0
