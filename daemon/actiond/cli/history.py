"""actiond history."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output
from actiond.cli.asking import action_id, ask, dsn_option, json_option
from actiond.cli.looking import duration_option, hint, limit_option, of, processor_option
from actiond.postgres import figures, read
from actiond.words.errors import OperatorError


@click.command("history")
@click.argument(
    "id_", metavar="[ID]", required=False, callback=lambda c, p, v: None if v is None else action_id(c, p, v)
)
@processor_option
@click.option("--event", metavar="NAME", help="Only this: failed, retried, canceled, held, released, crashed, ...")
@click.option("--by", metavar="ROLE", help="Only by this role.")
@duration_option("--since", None, "Only within: '1 h', '7 d'.")
@limit_option(50)
@click.option("--below", type=int, metavar="ENTRY", help="Only entries before this one: the next page.")
@dsn_option
@json_option
def command(id_: int | None, dsn: str | None, as_json: bool, since: float | None, limit: int, **filters: Any) -> None:
    """What happened: to one action, oldest first; without ID the latest changes of all, newest first."""
    if id_ is not None:
        _of_one(id_, dsn, as_json)
        return
    rows = ask(dsn, lambda c: figures.latest_history(c, since_s=since, limit=limit, **filters))
    if as_json:
        output.print_json(rows)
        return
    shown = [
        {
            "at": row["at"],
            "event": row["event"],
            "action": row["action_id"],
            "processor": row["processor"],
            "run": row["run_id"],
            "attempt": row["attempt"],
            "by": row["by"],
            "detail": (row["detail"] or "").split("\n")[0][:100],
        }
        for row in rows
    ]
    output.table(shown, as_json=False, empty=f"nothing{of(filters['processor'])} of that kind happened")
    if len(rows) == limit:
        hint(f"more: --below {rows[-1]['id']}")
    elif since is not None or any(value is not None for value in filters.values()):
        hint(f"looked through {figures.HISTORY_SEARCHED:,} entries")


def _of_one(id_: int, dsn: str | None, as_json: bool) -> None:
    shown = ask(dsn, lambda c: read.action(c, id_))
    if shown is None:
        raise OperatorError(f"there is no action {id_}")
    if as_json:
        output.print_json(shown["history"])
        return
    clean = shown["status"] == "completed" and not shown["history"]
    empty = "no history: a row completed at its first attempt is its own record" if clean else "nothing yet"
    output.table(shown["history"], as_json=False, empty=empty)
    hint(f"it is {shown['status']}: actiond show {id_}")
