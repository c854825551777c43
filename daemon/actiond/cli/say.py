"""The one way in which a command says something to a person.

Names, texts and payloads are of anybody's making, and a terminal obeys what is printed on it. So what is not printable
(control characters, escape sequences, what turns the direction of reading, what nobody sees) comes out as an escape,
and what is one line stays one. Tables and JSON: cli/output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

#: A part of a line that has a style of its own, as click.style takes it.
Styled = tuple[str, Mapping[str, Any]]


def line(*parts: str | Styled, err: bool = False, **style: Any) -> None:
    """One line, all of it in this style or each part in its own."""
    shown = (
        click.style(printable(part[0]), **part[1]) if isinstance(part, tuple) else printable(part) for part in parts
    )
    said = "".join(shown)
    click.echo(click.style(said, **style) if style else said, err=err)


def block(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Several lines: a file, a document, an explanation."""
    click.echo(printable(text, "\n\t"), err=err, nl=nl)


def over(text: str) -> None:
    """In place of the line that stands there, on standard error; empty: away with it."""
    click.echo(f"\r\x1b[K{printable(text)}", err=True, nl=False)


def confirm(question: str, *, err: bool = True) -> None:
    """Abort, unless a person says yes."""
    click.confirm(printable(question), abort=True, err=err)


def printable(text: str, kept: str = "\t") -> str:
    """What may steer a terminal, as an escape; besides what is `kept`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)
