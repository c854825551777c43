"""actiond show."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output, say
from actiond.cli.asking import action_id, ask, dsn_option, json_option
from actiond.postgres import read
from actiond.words.errors import OperatorError


@click.command("show")
@click.argument("id_", metavar="ID", callback=action_id)
@dsn_option
@json_option
def command(id_: int, dsn: str | None, as_json: bool) -> None:
    """One action: its row, its children, its runs, its history."""
    shown = ask(dsn, lambda c: read.action(c, id_))
    if shown is None:
        raise OperatorError(f"there is no action {id_}")
    if as_json:
        output.print_json(shown)
        return
    children, runs, history = shown.pop("children"), shown.pop("runs"), shown.pop("history")
    width = max(map(len, shown))
    for name, value in shown.items():
        if value is not None:
            _field(name.replace("_", " ").ljust(width), output.cell(value))
    say.line()
    if children:
        output.table(children, as_json=False, title="children")
        say.line()
    output.table(runs, as_json=False, empty="it has not run yet", title="runs")
    say.line()
    empty = "no history: a row completed at its first attempt is its own record"
    output.table(
        [_entry(entry) for entry in history],
        as_json=False,
        empty=empty if shown["status"] == "completed" else "no history",
        title="history",
    )


def _field(name: str, value: str) -> None:
    """Further lines of a text stand below its first, so that none looks like another field."""
    first, *more = value.split("\n")
    say.line((name, {"bold": True}), f"  {first}")
    for line in more:
        say.line(" " * len(name), f"  {line}")


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    """What a person did, in the words of that person."""
    verb, reason = entry["verb"], entry["reason"]
    said = [entry["detail"], f"by {verb}" if verb else None, f"because {reason}" if reason else None]
    kept = {name: entry[name] for name in ("at", "event", "run_id", "attempt", "by")}
    return kept | {"detail": ", ".join(each for each in said if each)}
