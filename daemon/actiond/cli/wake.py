"""actiond wake."""

from __future__ import annotations

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read


@click.command("wake")
@click.argument("names", nargs=-1)
@dsn_option
@json_option
def command(names: tuple[str, ...], dsn: str | None, as_json: bool) -> None:
    """Tell these processors (none: all) to look again; those that run only when woken run what is due."""
    known = {row["processor"] for row in ask(dsn, read.policies)}
    unknown = [name for name in names if name not in known]
    ask(dsn, lambda c: read.wake(c, list(names)))
    if as_json:
        output.print_json({"woken": sorted(known.intersection(names) if names else known), "unknown": unknown})
        return
    for name in unknown:
        say.line(f"no processor {name!r} is known: ignored", err=True)
    say.line(f"woken: {', '.join(names) or 'all'}")
