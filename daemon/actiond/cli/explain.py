"""actiond explain."""

from __future__ import annotations

from dataclasses import asdict

import click

from actiond.cli import output, say
from actiond.cli.asking import action_id, ask, dsn_option, json_option
from actiond.postgres import explain


@click.command("explain")
@click.argument("id_", metavar="ID", callback=action_id)
@dsn_option
@json_option
def command(id_: int, dsn: str | None, as_json: bool) -> int:
    """Why is this row not running? Every reason, the deciding one first, and what to do. Reads only.

    The same in SQL: select * from actiond.explain(ID). Exit code 1 if there is no such action.
    """
    facts, reasons = ask(dsn, lambda c: explain.reasons(c, id_))
    if as_json:
        output.print_json(
            {
                "id": id_,
                "status": facts["status"],
                "processor": facts["processor"],
                "reasons": [asdict(each) for each in reasons],
                "facts": facts,
            }
        )
        return 1 if facts["status"] == "missing" else 0
    if facts["status"] != "missing":
        say.line(f"A-{id_:08}  {facts['processor']}  {facts['status']}", bold=True)
    width = max((len(each.name) for each in reasons), default=0)
    for each in reasons:
        say.line((each.name.ljust(width), {"bold": True}), f"  {each.said}")
        if each.remedy:
            say.line(f"{' ' * width}  -> {each.remedy}")
    if not reasons:
        say.line("nothing stands in its way: a daemon claims it at its next look")
    return 1 if facts["status"] == "missing" else 0
