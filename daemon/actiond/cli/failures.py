"""actiond failures."""

from __future__ import annotations

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import duration_option, hint, limit_option, of, processor_option, span
from actiond.postgres import figures


@click.command("failures")
@processor_option
@duration_option("--since", "24 h", "Only failed within: '1 h', '7 d'.")
@click.option("--error", metavar="TEXT", help="Only where the error, or its kind in `actiond errors`, contains this.")
@limit_option(20)
@dsn_option
@json_option
def command(processor: str | None, since: float, error: str | None, limit: int, dsn: str | None, as_json: bool) -> None:
    """The latest failures, newest first."""
    rows = ask(dsn, lambda c: figures.failures(c, since, limit, processor, error))
    if as_json:
        output.print_json(rows)
        return
    shown = [
        {
            "action": row["ref"],
            "processor": row["processor"],
            "failed": row["finished_at"],
            "attempts": row["attempts"],
            "related": row["related"],
            "error": (row["error"] or "").split("\n")[0][:120],
        }
        for row in rows
    ]
    such = "" if error is None else f" with {error!r}"
    output.table(shown, as_json=False, empty=f"no failures{of(processor)}{such} in the last {span(since)}")
    if error is not None and len(rows) < limit:
        hint(f"looked through the latest {figures.FAILURES_SEARCHED:,} failures")
    if rows:
        hint(f"one of them: actiond show {rows[0]['id']}   grouped: actiond errors")
    elif error is None:
        hint("further back: actiond failures --since '30 d'")
