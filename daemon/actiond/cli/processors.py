"""actiond processors."""

from __future__ import annotations

import click

from actiond.cli import output
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read
from actiond.words.errors import OperatorError


@click.command("processors")
@click.argument("name", required=False)
@click.option("--history", is_flag=True, help="Instead: who paused, resumed or set what, and why.")
@dsn_option
@json_option
def command(name: str | None, history: bool, dsn: str | None, as_json: bool) -> None:
    """The policy in force, a line a knob, and where each value comes from.

    override: an operator's, in the columns of actiond.processor; declared: the code's; built-in: neither's.
    """
    if history:
        edits = ask(dsn, lambda c: read.edits(c, name))
        output.table(edits, as_json=as_json, empty="nobody has paused, resumed or set anything")
        return
    rows = ask(dsn, lambda c: read.policies(c, name))
    if name is not None and not rows:
        raise OperatorError(f"there is no processor {name!r}; `actiond processors` lists them all")
    output.table(rows, as_json=as_json, empty="no processor is known yet: a daemon declares its own when it starts")
