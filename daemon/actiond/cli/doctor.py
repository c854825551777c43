"""actiond doctor."""

from __future__ import annotations

from typing import Any

import anyio
import click

from actiond.cli import output, say
from actiond.cli.asking import dsn_option, json_option, politely
from actiond.host import settings
from actiond.postgres import doctor
from actiond.words.findings import CATALOG, Finding, Severity, worst

_COLORS = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}


@click.command("doctor")
@dsn_option
@json_option
def command(dsn: str | None, as_json: bool) -> int:
    """Is the system healthy? What is wrong, why it matters, and the command that helps.

    Looks at schema, plans, server, sessions, LISTEN, daemons and rows. Reads only, and no statement takes long.
    Exit code: 0 nothing worse than a note, 1 a warning, 2 an error; 3 the database does not answer.
    """
    chosen = settings.read(dsn=dsn)
    practice = doctor.Practice(
        chosen.work_dsn,
        chosen.presence_dsn,
        chosen.listen,
        chosen.connections + chosen.handler_connections + 1,
    )
    found = anyio.run(politely, lambda: doctor.examine(practice))
    grave = worst(found)
    if as_json:
        output.print_json({"worst": grave.name.lower(), "findings": [_shown(each) for each in found]})
    else:
        _print(found)
    return max(0, grave - Severity.NOTE)


def _shown(each: Finding) -> dict[str, Any]:
    return {
        "name": each.name,
        "severity": each.severity.name.lower(),
        "what": each.what,
        "why": each.why,
        "remedy": each.remedy,
    }


def _print(found: list[Finding]) -> None:
    for each in found:
        severity = (each.severity.name.lower().ljust(7), {"fg": _COLORS[each.severity], "bold": True})
        say.line(severity, "  ", (each.name, {"bold": True}), f": {each.what}")
        say.line(f"         {each.why}")
        say.line(f"         -> {each.remedy}")
    named = {each.name for each in found}
    say.line(
        f"looked for {len(CATALOG)} things, found {len(named)}" if found else "all is well",
        fg=None if found else "green",
    )
