"""actiond stuck."""

from __future__ import annotations

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.looking import duration_option, hint, limit_option, of, processor_option, span
from actiond.postgres import figures
from actiond.words.duration import in_words


@click.command("stuck")
@processor_option
@duration_option("--after", "30 min", "Running, or due and waiting, for longer than this.")
@limit_option(50)
@dsn_option
@json_option
def command(processor: str | None, after: float, limit: int, dsn: str | None, as_json: bool) -> None:
    """Actions that do not move, the worst first: lost with their daemon, running for long, due for long.

    What is lost is listed however short it has been so.
    """
    rows = ask(dsn, lambda c: figures.stuck(c, after, limit, processor))
    if as_json:
        output.print_json(rows)
        return
    shown = [
        {
            "action": row["ref"],
            "processor": row["processor"],
            "is": row["kind"],
            "for": in_words(row["for_s"]),
            "attempts": row["attempts"],
            "why": row["why"],
        }
        for row in rows
    ]
    output.table(shown, as_json=False, empty=f"nothing{of(processor)} is stuck for {span(after)} or longer")
    if len(rows) == limit:
        hint("there may be more: --limit")
    if rows:
        hint(f"one of them: actiond show {rows[0]['id']}   the daemons: actiond status")
