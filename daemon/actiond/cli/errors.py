"""actiond errors."""

from __future__ import annotations

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import duration_option, hint, limit_option, of, processor_option, span
from actiond.postgres import figures


@click.command("errors")
@processor_option
@duration_option("--since", "7 d", "Only failed within: '1 h', '7 d'.")
@click.option(
    "--look-at",
    default=2_000,
    show_default=True,
    type=click.IntRange(1, 50_000),
    help="So many of the latest failures.",
)
@limit_option(20)
@dsn_option
@json_option
def command(processor: str | None, since: float, look_at: int, limit: int, dsn: str | None, as_json: bool) -> None:
    """Failures grouped by what is the same in their errors: numbers, ids and quoted texts are taken out."""
    rows = ask(dsn, lambda c: figures.errors(c, since, look_at, processor))
    if as_json:
        output.print_json(rows[:limit])
        return
    shown = [
        {
            "failures": row["failures"],
            "processor": row["processor"],
            "error": row["fingerprint"][:120],
            "first": row["first_at"],
            "last": row["last_at"],
            "example": row["example"],
        }
        for row in rows[:limit]
    ]
    output.table(shown, as_json=False, empty=f"no failures{of(processor)} in the last {span(since)}")
    if len(rows) > limit:
        hint(f"{len(rows) - limit} more kinds: --limit {len(rows)}")
    if rows and rows[0]["more"]:
        hint(f"of the latest {rows[0]['looked_at']:,} failures; there are older ones: --look-at {look_at * 10}")
    if rows:
        hint(f"one of them: actiond show {rows[0]['example']}   all of a kind: actiond failures --error 'TEXT'")
