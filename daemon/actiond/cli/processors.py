"""actiond processors."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output, say
from actiond.cli.asking import ask, dsn_option, json_option
from actiond.postgres import read
from actiond.postgres.connection import Connection
from actiond.words.errors import OperatorError


@click.command("processors")
@click.argument("name", required=False)
@click.option("--history", is_flag=True, help="Instead: who paused, resumed or set what, and why.")
@dsn_option
@json_option
def command(name: str | None, history: bool, dsn: str | None, as_json: bool) -> None:
    """The policy in force, a line a knob, and where each value comes from.

    override: an operator's, in the columns of actiond.processor; declared: the code's; built-in: neither's.
    With a NAME also what its payloads look like, as JSON schema, and which of their fields are not shown.
    """
    if history:
        edits = ask(dsn, lambda c: read.edits(c, name))
        output.table(edits, as_json=as_json, empty="nobody has paused, resumed or set anything")
        return
    if name is not None:
        _one(name, dsn, as_json)
        return
    rows = ask(dsn, read.policies)
    output.table(rows, as_json=as_json, empty="no processor is known yet: a daemon declares its own when it starts")


def _one(name: str, dsn: str | None, as_json: bool) -> None:
    async def both(connection: Connection) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return await read.policies(connection, name), await read.payload(connection, name)

    policy, fields = ask(dsn, both)
    if not policy:
        raise OperatorError(f"there is no processor {name!r}; `actiond processors` lists them all")
    if as_json:
        output.print_json({"processor": name, "policy": policy, **fields})
        return
    output.table(policy, as_json=False)
    if fields["redact"]:
        say.line()
        say.line(f"not shown: {', '.join(fields['redact'])}")
    if fields["payload"] is None:
        say.block("\npayload: any JSON")
    else:
        say.block(f"\npayload:\n{output.json_text(fields['payload'], indent=2)}")
