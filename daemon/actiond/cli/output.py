"""Tables for people, JSON for programs: every command says the same in both.

Both may be read on a terminal, so what could steer one comes out as an escape; see cli/say.
"""

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

from actiond.cli.say import printable
from actiond.words.duration import in_words

WIDE = 400  # columns, where there is no terminal
#: Columns whose texts may have several lines.
_MANY_LINES = ("detail", "error")
#: Stands at the right of its column: 7, 1,234.5, 10,000+, 99.8 %.
_COUNT = re.compile(r"-?[\d,]*\d(\.\d+)?\+?( %)?|")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json_text(value))


def json_text(value: Any, indent: int | None = None) -> str:
    """One JSON document, in which a reader finds exactly the value."""
    text = json.dumps(value, default=_jsonable, ensure_ascii=False, indent=indent)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


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
        drawn.add_row(*(Text(_in_row(name, value)) for name, value in row.items()))
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
    return printable(text, "\n\t")


def _in_row(name: str, value: Any) -> str:
    """A row is a line, so that nobody writes a row that is none; only errors have frames below them."""
    text = cell(value)
    return text if name in _MANY_LINES else printable(text)


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
