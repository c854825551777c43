"""actiond check."""

from __future__ import annotations

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read


@click.command("check")
@dsn_option
@json_option
def command(dsn: str | None, as_json: bool) -> int:
    """Check what must always hold: no row final twice, no claim without a run, and so on. Reads only.

    The same statement judges `actiond torture`. Exit code 1 if anything is broken.
    """
    rows = ask(dsn, read.invariants)
    broken = any(row["broken"] for row in rows)
    output.table(rows, as_json=as_json)
    if not as_json:
        click.secho("something is broken: please report it" if broken else "all hold", fg="red" if broken else "green")
    return 1 if broken else 0
