"""The log of a worker process: its lines go to the daemon, which prints them as its own.

So there is one writer, one format, one limit for floods, and one adapter, and what a worker logs comes out in order.
A line is made printable and redacted where it is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import EventDict

from actiond.host.log import LibraryHandler, get_logger, knowing, set_about
from actiond.host.log_printable import Printable
from actiond.rules.redaction import redact
from actiond.words.log_lines import LogLine

_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


class _Forwarder:
    """What structlog calls a logger, and its factory."""

    def __init__(self, send: Callable[[EventDict], None]) -> None:
        self._send = send

    def __call__(self, *_: object) -> _Forwarder:
        return self

    def forward(self, /, **fields: Any) -> None:
        self._send(fields)

    debug = info = warning = error = critical = forward


def forward(level: str, send: Callable[[EventDict], None]) -> None:
    """In a worker: every line from `level` on goes there, as a dict of plain values."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            knowing,
            Printable(redact),
            structlog.processors.add_log_level,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, logging.INFO)),
        logger_factory=_Forwarder(send),
        cache_logger_on_first_use=False,
    )
    logging.root.addHandler(LibraryHandler(logging.WARNING))


def hear(fields: dict[str, Any]) -> None:
    """In the daemon: such a line, as if it had been made here."""
    set_about({})  # whatever this task was about, the line says itself what it is about
    fields.pop("self", None)
    level, event = _LEVELS.get(str(fields.pop("level", "")), logging.INFO), str(fields.pop("event", ""))
    get_logger().log(level, _LINES.get(event, event), **fields)


_LINES = {line.value: line for line in LogLine}  # these are limited when they flood
