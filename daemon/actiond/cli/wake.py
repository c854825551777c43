"""actiond wake."""

from __future__ import annotations

import click

from actiond.cli.asking import ask, dsn_option
from actiond.postgres import read


@click.command("wake")
@click.argument("names", nargs=-1)
@dsn_option
def command(names: tuple[str, ...], dsn: str | None) -> None:
    """Tell these processors (none: all) to look again; those that run only when woken run what is due."""
    known = {row["processor"] for row in ask(dsn, read.policies)}
    for unknown in [name for name in names if name not in known]:
        click.echo(f"no processor {unknown!r} is known: ignored", err=True)
    ask(dsn, lambda c: read.wake(c, list(names)))
    click.echo(f"woken: {', '.join(names) or 'all'}")
