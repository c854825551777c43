"""How a log line gets out.

A line takes one way: what its surroundings know is added (`about`), repeats of a flood are held back, an
exception becomes type, message and frames, every text is redacted, and the whole becomes one string in the
chosen format. Lines of libraries that use `logging` take the same way.

Three promises. Printing never blocks: a thread does the writing, and when stderr does not take lines as fast as
they come, lines are dropped and counted. Printing never raises: neither a closed stderr nor a value that cannot
be shown reaches the caller. Nothing gets out unredacted: where redacting fails, the text is left out.

When the process is killed, lines that still wait are gone. At a normal exit they have a second to get out.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from actiond.words.log_lines import LogLine

#: Lines that may wait for a slow stderr; lines per system call, lest a busy event loop starve the thread.
WAITING_MAX, WRITTEN_AT_ONCE_MAX = 5_000, 500
#: How long a normal exit waits for a stderr that takes nothing.
FLUSH_S = 1.0
#: A line that can flood is printed once in this time for each of its keys; keys above the bound share one.
REPEAT_S, REPEAT_KEYS_MAX = 60.0, 1_000
#: Where a line is cut: characters of a text, members of a collection, nesting, frames, errors behind errors.
TEXT_MAX, MEMBERS_MAX, DEPTH_MAX, FRAMES_MAX, ERRORS_MAX = 8_192, 100, 12, 30, 5
#: Level -> the priority that the journal reads at the start of a line, and the colour on a terminal.
LEVELS = {"debug": (7, 2), "info": (6, 32), "warning": (4, 33), "error": (3, 31), "critical": (2, 35)}
#: Characters that could move a cursor, break a line or turn the direction of reading; shown as escapes.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NEEDS_NO_QUOTES = re.compile(r'[^\s"=\\]+')


def get_logger() -> FilteringBoundLogger:
    return cast("FilteringBoundLogger", structlog.get_logger())


@contextmanager
def about(*, processor: str | None = None, run_id: int | None = None, action_id: int | None = None) -> Iterator[None]:
    """Lines made inside, also in tasks and threads started inside, say what they are about."""
    known = {"processor": processor, "run_id": run_id, "action_id": action_id}
    with structlog.contextvars.bound_contextvars(**{k: v for k, v in known.items() if v is not None}):
        yield


def configure(
    format: Literal["auto", "console", "json", "journal"],  # noqa: A002 - the word that operators use
    level: str,
    *,
    redact: Callable[[str], str] = str,
    fd: int | None = None,
) -> LineWriter:
    """Send every line to stderr, or to `fd`. May be called again, as when settings are reloaded."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before = structlog.get_config()["logger_factory"]
    # A program that was started without stderr has none, whatever got its number since.
    writer = LineWriter(fd if fd is not None else 2 if sys.stderr else -1)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            RepeatLimiter(),
            Printable(redact),
            structlog.processors.add_log_level,
            writer.tell_lost,
            *_rendering(format, writer.on_terminal),
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


def flush() -> bool:
    """For a process that ends without Python's own way out. False: some lines did not get out."""
    writer = structlog.get_config()["logger_factory"]
    return isinstance(writer, LineWriter) and writer.flush()


class LineWriter:
    """Writes lines from a thread of its own; what structlog calls a logger, and its factory."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None
        try:  # a copy of its own: when stderr is closed, its number may become a connection's
            self._fd = os.dup(fd)
        except OSError:
            self._fd = None
        # SimpleQueue, because a garbage collection in the middle of put() may log, too.
        self._waiting: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self.dropped = self._told = 0
        self.on_terminal = self._fd is not None and os.isatty(self._fd)
        if self._fd is not None:
            threading.Thread(target=self._run, args=(self._fd,), name="actiond-log", daemon=True).start()
            atexit.register(self.close)

    def __call__(self, *_: object) -> LineWriter:
        return self

    def write(self, line: str) -> None:
        if self._fd is None or self._waiting.qsize() >= WAITING_MAX:
            self.dropped += 1
        else:
            self._waiting.put(line.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = critical = write

    def tell_lost(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        if self.dropped > self._told:
            self._told = event_dict["lines_lost"] = self.dropped
        return event_dict

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until the lines made so far are out; False: they were not in time."""
        self._waiting.put(written := threading.Event())
        return self._fd is None or written.wait(timeout_s)

    def close(self) -> None:
        if self._fd is not None:
            atexit.unregister(self.close)
            self.flush()
            self._fd = None
            self._waiting.put(None)

    def _run(self, fd: int) -> None:
        taken: list[bytes | threading.Event | None] = []
        while None not in taken:
            count = min(self._waiting.qsize(), WRITTEN_AT_ONCE_MAX)
            taken = [self._waiting.get() for _ in range(max(1, count))]
            lines = [line for line in taken if isinstance(line, bytes)]
            try:
                _write_all(fd, b"".join(lines))
            except OSError:
                self.dropped += len(lines)
            for written in taken:
                if isinstance(written, threading.Event):
                    written.set()
        os.close(fd)


class RepeatLimiter:
    """Lets a line that can flood through once a minute for each of its keys, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # reentrant, because a garbage collection inside may log, too
        self._printed: dict[tuple[str, ...], tuple[float, int]] = {}  # key -> when last, held back since

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        line = event_dict["event"]
        if isinstance(line, LogLine) and line.once_per is not None:
            key = (line, *(str(event_dict.get(field)) for field in line.once_per))
            with self._lock:
                held_back = self._held_back(key)
            if held_back:
                event_dict["repeated"] = held_back
        return event_dict

    def _held_back(self, key: tuple[str, ...]) -> int:
        now = self._clock()
        if key not in self._printed and len(self._printed) >= REPEAT_KEYS_MAX:
            self._printed = {k: v for k, v in self._printed.items() if now - v[0] < REPEAT_S}
            key = key if len(self._printed) < REPEAT_KEYS_MAX else key[:1]
        printed_at, held_back = self._printed.get(key, (now - REPEAT_S, 0))
        if now - printed_at < REPEAT_S:
            self._printed[key] = (printed_at, held_back + 1)
            raise structlog.DropEvent
        self._printed[key] = (now, 0)
        return held_back


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


class Printable:
    """Makes every value one that can be printed: plain, short, redacted."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        given = event_dict.pop("exc_info", None)
        error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
        printable = {"_".join(re.findall(r"[\w.-]+", name)): self._plain(v) for name, v in event_dict.items()}
        return printable | ({"exception": self._described(error)} if isinstance(error, BaseException) else {})

    def _plain(self, value: object, depth: int = 0) -> object:
        match value:
            case LogLine() | None | bool():
                return value
            case int() | float() if abs(value) < 2**63:  # neither NaN nor a thousand digits
                return value
            case dict() if depth < DEPTH_MAX:
                few = list(value.items())[:MEMBERS_MAX]
                return {self._text(name): self._plain(member, depth + 1) for name, member in few}
            case list() | tuple() | set() if depth < DEPTH_MAX:
                return [self._plain(member, depth + 1) for member in list(value)[:MEMBERS_MAX]]
            case BaseException():
                return f"{type(value).__name__}: {self._text(value)}"
        return self._text(value)

    def _text(self, value: object) -> str:
        try:
            text = self._redact(str(value)[: 4 * TEXT_MAX])[:TEXT_MAX]
        except Exception:  # the value's own code, or the redaction's
            text = f"({type(value).__name__} that cannot be shown)"
        return _UNSAFE.sub(lambda unsafe: unsafe[0].encode("unicode_escape").decode(), text)

    def _described(self, error: BaseException, depth: int = 1) -> dict[str, Any]:
        steps = ((frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__))
        frames = [f"{code.co_filename}:{line} in {code.co_qualname}" for code, line in steps][-FRAMES_MAX:]
        described: dict[str, Any] = {"type": type(error).__qualname__, "message": self._text(error), "frames": frames}
        members = error.exceptions[:ERRORS_MAX] if isinstance(error, BaseExceptionGroup) else ()
        behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        others = [other for other in (*members, behind) if other is not None]
        if others and depth < ERRORS_MAX:
            described["because"] = [self._described(other, depth + 1) for other in others]
        return described


def _rendering(format: str, on_terminal: bool) -> list[Processor]:  # noqa: A002
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
    yield f"{error['type']}: {error['message']}"
    yield from (f"  {frame}" for frame in error["frames"])
    for other in error.get("because", ()):
        yield from _error_lines(other)


def _one_line(event_dict: EventDict) -> str:
    words = [str(event_dict.pop("event")).replace("\n", "\\n")]
    for name, value in event_dict.items():
        bare = isinstance(value, str) and _NEEDS_NO_QUOTES.fullmatch(value)
        words.append(f"{name}={value if bare else json.dumps(value, ensure_ascii=False)}")
    return " ".join(words)


def _write_all(fd: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # whoever started us left it in non-blocking mode
            select.select([], [fd], [])
