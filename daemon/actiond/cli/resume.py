"""actiond resume."""

from __future__ import annotations

import shlex

import click

from actiond.cli.asking import ask, dsn_option, json_option
from actiond.cli.switch import names_or_all, tell
from actiond.postgres import verbs


@click.command("resume")
@click.argument("names", nargs=-1, metavar="[PROCESSOR]...")
@click.option("--all", "everything", is_flag=True, help="Take the kill switch back.")
@click.option("--reason", help="Why: kept in history.")
@dsn_option
@json_option
def command(names: tuple[str, ...], everything: bool, reason: str | None, dsn: str | None, as_json: bool) -> None:
    """Claim again. --all takes back `pause --all`; what was paused by name stays so until it is resumed by name.

    By name it closes an open breaker, too.
    """
    chosen = names_or_all(names, everything)
    edits = ask(dsn, lambda c: verbs.resume(c, chosen, reason))
    undo = "actiond pause --all" if everything else f"actiond pause {' '.join(map(shlex.quote, names))}"
    closed = "; its breaker was open, and is closed"
    what = [f"{edit['name']} is claimed again{closed if 'breaker_closed' in edit else ''}" for edit in edits]
    what = ["daemons claim again"] if everything else what
    tell(edits, [undo], what, as_json)
