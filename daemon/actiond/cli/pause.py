"""actiond pause."""

from __future__ import annotations

import shlex

import click

from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.switch import names_or_all, tell
from actiond.postgres import verbs


@click.command("pause")
@click.argument("names", nargs=-1, metavar="[PROCESSOR]...")
@click.option("--all", "everything", is_flag=True, help="The kill switch: no daemon claims anything any more.")
@click.option("--reason", help="Why: kept in history.")
@dsn_option
@json_option
def command(names: tuple[str, ...], everything: bool, reason: str | None, dsn: str | None, as_json: bool) -> None:
    """Claim nothing more of these processors, or of all. What runs goes on to its end; rows wait."""
    chosen = names_or_all(names, everything)
    edits = ask(dsn, lambda c: verbs.pause(c, chosen, reason))
    undo = "actiond resume --all" if everything else f"actiond resume {' '.join(map(shlex.quote, names))}"
    what = ["everything is paused"] if everything else [f"{edit['name']} is paused" for edit in edits]
    tell(edits, [undo], [f"{line}; what runs goes on to its end" for line in what], as_json)
