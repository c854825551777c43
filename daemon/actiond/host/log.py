"""How a log line gets out.

A line takes one way: what its surroundings know is added (`about`), repeats of a flood are held back
(log_repeats), an exception becomes type, message and frames and every text is redacted (log_printable), and the
whole becomes one string in the chosen format (log_format), which a thread writes (log_writer). Lines of libraries
that use `logging` take the same way. Who wants the events as they are gets a copy (log_adapter).

Three promises. Printing never blocks: a thread does the writing, and when stderr does not take lines as fast as
they come, lines are dropped and counted. Printing never raises: neither a closed stderr nor a value that cannot
be shown reaches the caller. Nothing gets out unredacted: where redacting fails, the text is left out.

When the process is killed, lines that still wait are gone. At a normal exit they have a second to get out.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Literal, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from actiond.host.log_adapter import Adapter, Copies
from actiond.host.log_format import rendering
from actiond.host.log_printable import Printable, Redact
from actiond.host.log_repeats import RepeatLimiter
from actiond.host.log_writer import LineWriter
from actiond.rules.redaction import redact as redacted
from actiond.words.log_lines import LogLine

#: One variable of our own: binding three of structlog's would cost a quick handler a tenth of its time.
_about: ContextVar[dict[str, str | int]] = ContextVar("actiond_about", default={})  # noqa: B039 - never changed


def get_logger() -> FilteringBoundLogger:
    return cast("FilteringBoundLogger", structlog.get_logger())


@contextmanager
def about(*, processor: str | None = None, run_id: int | None = None, action_id: int | None = None) -> Iterator[None]:
    """Lines made inside, also in tasks and threads started inside, say what they are about."""
    known = {"processor": processor, "run_id": run_id, "action_id": action_id}
    before = _about.set(_about.get() | {name: value for name, value in known.items() if value is not None})
    try:
        yield
    finally:
        _about.reset(before)


def set_about(known: dict[str, str | int]) -> None:
    """The same from now on in this task, whatever held before: for a worker that goes from one call to the next."""
    _about.set(known)


def about_in(context: Context) -> dict[str, str | int]:
    """What lines made in this context are about."""
    return context.get(_about, {})


def knowing(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    return {**_about.get(), **event_dict}


def configure(
    format: Literal["auto", "console", "json", "journal"],  # noqa: A002 - the word that operators use
    level: str,
    *,
    redact: Redact = redacted,
    adapter: Adapter | None = None,
    fd: int | None = None,
) -> LineWriter:
    """Send every line to stderr, or to `fd`; and a copy of each event to `adapter`, in a thread of its own.

    May be called again, as when settings are reloaded.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before = structlog.get_config()["logger_factory"]
    # A program that was started without stderr has none, whatever got its number since.
    writer = LineWriter(fd if fd is not None else 2 if sys.stderr else -1)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            knowing,
            RepeatLimiter(),
            Printable(redact),
            structlog.processors.add_log_level,
            writer.tell_lost,
            *([Copies(adapter, _adapter_failed)] if adapter else ()),
            *rendering(format, writer.on_terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=writer,
        cache_logger_on_first_use=False,  # a cached logger would not notice the next configure()
    )
    if not any(isinstance(handler, LibraryHandler) for handler in logging.root.handlers):
        logging.root.addHandler(LibraryHandler(logging.WARNING))
    if isinstance(before, LineWriter):
        before.close()
    return writer


def _adapter_failed(error: Exception) -> None:
    get_logger().warning(LogLine.LOG_ADAPTER_FAILED, error=error)


def flush() -> bool:
    """For a process that ends without Python's own way out. False: some lines did not get out."""
    given = structlog.get_config()
    for copies in given["processors"]:
        if isinstance(copies, Copies):
            copies.flush()
    writer = given["logger_factory"]
    return isinstance(writer, LineWriter) and writer.flush()


def lines_lost() -> int:
    """Lines that did not get out since the start, because the log was full or closed."""
    writer = structlog.get_config()["logger_factory"]
    return writer.dropped if isinstance(writer, LineWriter) else 0


class LibraryHandler(logging.Handler):
    """Turns a record of `logging` into a line."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # the library's mistake: the arguments do not fit the message
            message = str(record.msg)
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        said = {"library": record.name, "message": message, "exc_info": record.exc_info}
        get_logger().log(level, LogLine.LIBRARY_WARNED, **said)
