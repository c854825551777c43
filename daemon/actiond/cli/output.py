"""Tables for people, JSON for programs: every command says the same in both."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actiond.words.duration import in_words

WIDE = 400  # columns, where there is no terminal
#: Stands at the right of its column: 7, 1,234.5, 10,000+, 99.8 %.
_COUNT = re.compile(r"-?[\d,]*\d(\.\d+)?\+?( %)?|")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """One JSON document."""
    return json.dumps(value, default=_jsonable, ensure_ascii=False)


def table(
    rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "nothing", title: str | None = None
) -> None:
    """Rows with the same keys."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        click.echo(empty)
        return
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        number = all(row[name] is None or _COUNT.fullmatch(cell(row[name])) for row in rows)
        drawn.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell(value)) for value in row.values()))
    # Nobody's window: a line a row, for grep. rich would take 80 columns for one.
    to_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(soft_wrap=False, width=WIDE if to_file else None).print(drawn)


def cell(value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, timedelta):
        return in_words(value.total_seconds())
    if isinstance(value, float):
        return f"{value:,.1f}"
    text = json.dumps(value, default=_jsonable, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    # Names and texts are of anybody's making: nothing in them may steer the terminal.
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
