"""What pause, resume and set share: change something, say what it was and is, and the command that undoes it."""

from __future__ import annotations

from typing import Any

import click

from actiond.cli import output, say


def tell(edits: list[dict[str, Any]], undo: list[str], lines: list[str], as_json: bool) -> None:
    """The outcome of a switch."""
    if as_json:
        output.print_json(
            {
                "changed": [edit for edit in edits if edit["before"] != edit["after"] or "breaker_closed" in edit],
                "undo": undo,
            }
        )
        return
    for line in lines:
        say.line(line)
    for line in undo:
        say.line(f"undo: {line}")


def names_or_all(names: tuple[str, ...], everything: bool) -> list[str] | None:
    """The processors; None = all of them at once."""
    if bool(names) == everything:
        raise click.UsageError("name processors, or say --all")
    return list(dict.fromkeys(names)) or None
