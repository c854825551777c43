"""actiond ls."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import filters, output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read


@click.command("ls")
@filters.filter_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--below", type=int, metavar="ID", help="Only ids below this one: the next page.")
@dsn_option
@json_option
def command(dsn: str | None, as_json: bool, limit: int, below: int | None, **options: Any) -> None:
    """List actions, newest first. Looks at a bounded number of rows, and says where to go on."""
    filter_ = filters.taken_from(options)
    page = ask(dsn, lambda c: read.actions(c, filter_, limit=limit, below=below))
    if as_json:
        output.print_json(page.rows)
    else:
        empty = "no action matches" if page.over else "no action matches among those looked at"
        output.table([shown(row) for row in page.rows], as_json=False, empty=empty)
    if not page.over:
        say.line(f"more: --below {page.reached}", err=True)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """One line of the list."""
    when = row["finished_at"] or row["next_eligible_at"]
    return {
        "action": row["ref"],
        "processor": row["processor"],
        "status": row["status"],
        "attempts": row["attempts"],
        "related": row["related"],
        "ended or due": when,
        "error": (row["error"] or "").split("\n")[0][:80],
    }
