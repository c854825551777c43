"""Texts with places for values of a row: `Dear ${data.customer.name}`.

There are `${id}`, `${related}`, `${attempt}`, `${idempotency_key}`, `${data}` and `${data.path.to.a.value}`, where a
number counts in a list; `$${` stands for `${`. That is all: no conditions, no calls, no attributes, so that nothing in
a row can be more than a value. A template is checked when the processor is made. A value that a row does not have, or
that is no text and no number, is final for that row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from actiond import SUDDEN_DEATH, Action, Failure

_PLACE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_OF_THE_ROW = ("id", "related", "attempt", "idempotency_key")
_PATH = re.compile(rf"({'|'.join(_OF_THE_ROW)}|data(\.[^.\s]+)*)")


class Template:
    """`escape` is applied to values, never to the text around them."""

    def __init__(self, text: str, escape: Callable[[str], str] = str) -> None:
        self._escape = escape
        self._parts: list[tuple[str, str | None]] = []  # text, and the path that follows it
        at = 0
        pending = ""
        for match in _PLACE.finditer(text):
            pending += text[at : match.start()]
            at = match.end()
            path = match.group(1)
            if path is None:
                pending += "${"
            elif not match.group().endswith("}") or not _PATH.fullmatch(path):
                raise ValueError(
                    f"{match.group()[:50]!r} is no placeholder (there are: ${{data.name}}, "
                    f"{', '.join(f'${{{name}}}' for name in _OF_THE_ROW)})"
                )
            else:
                self._parts.append((pending, path))
                pending = ""
        self._end = pending + text[at:]

    @property
    def paths(self) -> list[str]:
        """What it asks for."""
        return [path for _, path in self._parts if path is not None]

    @property
    def only(self) -> str | None:
        """The path, if it is nothing but one placeholder."""
        return self._parts[0][1] if len(self._parts) == 1 and not self._parts[0][0] and not self._end else None

    def fill(self, action: Action[Any]) -> str:
        """Failure, which is final, for a value that is not there or is no text."""
        filled = [text + self._escape(text_of(action, path)) for text, path in self._parts if path is not None]
        return "".join(filled) + self._end


def text_of(action: Action[Any], path: str) -> str:
    """The value at a path, as text. Failure, which is final, if there is none."""
    value = value_of(action, path)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Failure(f"{path} is {_kind(value)}, and the template needs a text or a number", SUDDEN_DEATH)


def value_of(action: Action[Any], path: str) -> Any:
    """The value at a path. Failure, which is final, if there is none."""
    if path in _OF_THE_ROW:
        return getattr(action, path)
    value: Any = action.data
    for step in path.split(".")[1:]:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(value):
            value = value[int(step[:9])]
        else:
            raise Failure(f"there is no {path}, which the template needs", SUDDEN_DEATH)
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else "an object" if isinstance(value, dict) else "a list"
