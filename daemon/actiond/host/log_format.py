"""An event becomes one string: for a terminal, for a program, for the journal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

#: Level -> the priority that the journal reads at the start of a line, and the colour on a terminal.
LEVELS = {"debug": (7, 2), "info": (6, 32), "warning": (4, 33), "error": (3, 31), "critical": (2, 35)}
_NEEDS_NO_QUOTES = re.compile(r'[^\s"=\\]+')


def rendering(format: str, on_terminal: bool) -> list[Processor]:  # noqa: A002 - the word that operators use
    """The last processors of structlog: from an event that can be printed to one string."""
    if format == "journal":  # which has a clock of its own
        return [_journal_line]
    if format == "console" or (format == "auto" and on_terminal):
        colors = on_terminal and "NO_COLOR" not in os.environ
        return [structlog.processors.TimeStamper("%H:%M:%S", utc=False), partial(_console_line, colors)]
    return [structlog.processors.TimeStamper("iso", utc=True), _json_line]


def _json_line(_logger: object, _method: str, event_dict: EventDict) -> str:
    head = {name: event_dict.pop(name) for name in ("timestamp", "level", "event")}
    return json.dumps({**head, **event_dict})


def _journal_line(_logger: object, _method: str, event_dict: EventDict) -> str:
    return f"<{LEVELS[event_dict.pop('level')][0]}>{_one_line(event_dict)}"


def _console_line(colors: bool, _logger: object, _method: str, event_dict: EventDict) -> str:
    level, error = event_dict.pop("level"), event_dict.pop("exception", None)
    shown = f"\x1b[{LEVELS[level][1]}m{level:<8}\x1b[0m" if colors else f"{level:<8}"
    line = f"{event_dict.pop('timestamp')} {shown} {_one_line(event_dict)}"
    return "\n    ".join([line, *(_error_lines(error) if error else ())])


def _error_lines(error: dict[str, Any]) -> Iterator[str]:
    # All of it below the line: what begins at the left looks like a line of its own.
    yield f"{error['type']}: {error['message']}".replace("\n", "\n      ")
    yield from (f"  {frame}" for frame in error["frames"])
    for other in error.get("because", ()):
        yield from _error_lines(other)


def _one_line(event_dict: EventDict) -> str:
    words = [str(event_dict.pop("event")).replace("\n", "\\n")]
    for name, value in event_dict.items():
        bare = isinstance(value, str) and _NEEDS_NO_QUOTES.fullmatch(value)
        words.append(f"{name}={value if bare else json.dumps(value, ensure_ascii=False)}")
    return " ".join(words)
