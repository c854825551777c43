"""actiond ls."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read
from actiond.words import duration
from actiond.words.status import Status


@click.command("ls")
@click.option("--processor", help="Only of this processor.")
@click.option("--status", type=click.Choice([s.value for s in Status]), help="Only in this status.")
@click.option("--related", help="Only about this record (the key exactly).")
@click.option("--since", metavar="DURATION", help="Only created within: '1 h', '7 d'.")
@click.option("--error", metavar="TEXT", help="Only where the last error contains this.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--below", type=int, metavar="ID", help="Only ids below this one: the next page.")
@dsn_option
@json_option
def command(dsn: str | None, as_json: bool, since: str | None, limit: int, **filters: Any) -> None:
    """List actions, newest first."""
    try:
        since_s = None if since is None else duration.seconds(since)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--since") from None
    rows = ask(dsn, lambda c: read.actions(c, since_s=since_s, limit=limit, **filters))
    if as_json:
        output.print_json(rows)
        return
    output.table([_shown(row) for row in rows], as_json=False, empty="no action matches")
    if len(rows) == limit:
        click.echo(f"more: --below {rows[-1]['id']}", err=True)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
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
