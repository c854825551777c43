"""Log lines from the call to the file descriptor, through real pipes and terminals."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from actiond.host import log as log_module
from actiond.host import log_printable, log_repeats, log_writer
from actiond.host.log import LibraryHandler, about, configure, get_logger
from actiond.host.log_format import LEVELS
from actiond.host.log_repeats import RepeatLimiter
from actiond.host.log_writer import LineWriter
from actiond.words.log_fields import COMMON_FIELDS
from actiond.words.log_lines import LogLine

DAEMON = Path(log_module.__file__).parents[1]
log = get_logger()


class Reader:
    """The other end of stderr."""

    def __init__(self) -> None:
        self.fd, self.stderr = os.pipe()
        self.writer = LineWriter(-1)

    def configure(self, format: Any = "json", level: str = "debug", **options: Any) -> None:  # noqa: A002
        self.writer = configure(format, level, fd=self.stderr, **options)

    def text(self) -> str:
        assert self.writer.flush(5)
        os.set_blocking(self.fd, False)
        try:
            return os.read(self.fd, 1_000_000).decode()
        except BlockingIOError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def line(self) -> dict[str, Any]:
        (only,) = self.lines()
        return only


@pytest.fixture
def reader() -> Iterator[Reader]:
    reading = Reader()
    yield reading
    reading.writer.close()
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, LibraryHandler)]
    structlog.reset_defaults()
    for fd in (reading.fd, reading.stderr):
        os.close(fd)


# ---- formats


def test_a_json_line_begins_with_time_level_and_name(reader: Reader) -> None:
    reader.configure("json")
    log.info(LogLine.DAEMON_READY, daemon_id=7, processors=["mail"], took_s=0.25)
    line = reader.line()
    assert list(line) == ["timestamp", "level", "event", "daemon_id", "processors", "took_s"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"level": "info", "event": "daemon_ready", "daemon_id": 7, "processors": ["mail"], "took_s": 0.25}


def test_a_journal_line_begins_with_its_priority(reader: Reader) -> None:
    reader.configure("journal")
    log.debug(LogLine.WAKE_RECEIVED, processors=["a", "b"])
    log.info(LogLine.SIGNAL_RECEIVED, signal="SIGTERM")
    log.warning(LogLine.DRAIN_EXPIRED, batches=2)
    log.error(LogLine.PROCESSOR_RELOAD_FAILED, source="mail.py", error='no "to" here')
    log.critical("odd")
    assert reader.text().splitlines() == [
        '<7>wake_received processors=["a", "b"]',
        "<6>signal_received signal=SIGTERM",
        "<4>drain_expired batches=2",
        '<3>processor_reload_failed source=mail.py error="no \\"to\\" here"',
        "<2>odd",
    ]


def test_an_error_stays_on_one_line_of_the_journal(reader: Reader) -> None:
    reader.configure("journal")
    log.error("two\nlines", detail="two\nlines", exc_info=ValueError("two\nlines"))
    assert reader.text().count("\n") == 1


def test_a_console_line_shows_the_error_below(reader: Reader) -> None:
    reader.configure("console")
    log.error("broken", exc_info=ValueError("bad\nrow"))
    first, *below = reader.text().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d error    broken", first)
    assert below == ["    ValueError: bad", "      row"]


def test_auto_means_console_on_a_terminal_and_json_elsewhere(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    reader.configure("auto")
    log.info("piped")
    assert reader.line()["event"] == "piped"

    screen, terminal = pty.openpty()
    writer = configure("auto", "info", fd=terminal)
    log.info("typed", by="hand")
    assert writer.flush(5)
    assert re.fullmatch(rb"\d\d:\d\d:\d\d \x1b\[32minfo    \x1b\[0m typed by=hand\r\n", os.read(screen, 1000))
    writer.close()
    os.close(screen)
    os.close(terminal)


def test_an_unsafe_character_moves_no_cursor_in_any_format(reader: Reader) -> None:
    for format_ in ("json", "journal", "console"):
        reader.configure(format_)
        log.info("half\x1b[2J", text="\x1b[2J\u202e\ud800\x00\u200b\u200f\u061c\ufeff\U000e0041", **{"na\x1bme x": 1})
        text = reader.text()
        assert "\x1b" not in text
        assert [c for c in text if not c.isprintable() and c != "\n"] == []
        assert r"\x1b[2J\u202e\ud800\x00" in text.replace("\\\\", "\\")
        assert "na_me_x" in text


def test_below_the_level_nothing_is_printed(reader: Reader) -> None:
    reader.configure(level="warning")
    log.info("quiet")
    log.warning("loud")
    assert reader.line()["event"] == "loud"


def test_a_logger_made_before_follows_a_new_configuration(reader: Reader) -> None:
    reader.configure(level="error")
    log.info("quiet")
    reader.configure(level="INFO")
    log.info("loud")
    assert reader.line()["event"] == "loud"


# ---- context


async def test_lines_know_what_they_are_about_in_tasks_and_threads(reader: Reader) -> None:
    reader.configure()

    async def work(processor: str, run_id: int) -> None:
        with about(processor=processor, run_id=run_id):
            await asyncio.gather(one(1), one(2))

    async def one(action_id: int) -> None:
        with about(action_id=action_id):
            await asyncio.to_thread(log.info, "worked")

    await asyncio.gather(work("a", 10), work("b", 20))
    log.info("outside")
    *inside, outside = reader.lines()
    seen = {(line["processor"], line["run_id"], line["action_id"]) for line in inside}
    assert seen == {("a", 10, 1), ("a", 10, 2), ("b", 20, 1), ("b", 20, 2)}
    assert set(outside) == {"timestamp", "level", "event"}


# ---- errors and redaction


def test_an_exception_is_type_message_and_frames_without_locals(reader: Reader) -> None:
    reader.configure()

    def handler() -> None:
        password = "hunter2"  # noqa: F841
        try:
            os.environ["NOBODY SET THIS"]
        except KeyError as missing:
            raise ValueError("bad row") from missing

    try:
        handler()
    except ValueError:
        log.exception("broken")
    text = reader.text()
    exception = json.loads(text)["exception"]
    assert (exception["type"], exception["message"]) == ("ValueError", "bad row")
    assert re.fullmatch(rf"{__file__}:\d+ in .*\.handler", exception["frames"][-1])
    (because,) = exception["because"]
    assert (because["type"], because["message"]) == ("KeyError", "'NOBODY SET THIS'")
    assert "hunter2" not in text


def test_the_members_of_a_group_are_named(reader: Reader) -> None:
    reader.configure()
    log.error("broken", exc_info=ExceptionGroup("two", [ValueError("one"), OSError("other")]))
    members = reader.line()["exception"]["because"]
    assert [(member["type"], member["message"]) for member in members] == [("ValueError", "one"), ("OSError", "other")]


def test_an_endless_chain_of_errors_ends(reader: Reader) -> None:
    reader.configure()
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    log.error("broken", exc_info=first)
    text = reader.text()
    assert json.loads(text)["exception"]["because"][0]["message"] == "b"
    assert len(text) < 2_000


def test_an_error_in_a_field_shows_its_type(reader: Reader) -> None:
    reader.configure()
    log.warning("broken", error=TimeoutError("10 s"))
    assert reader.line()["error"] == "TimeoutError: 10 s"


def test_every_text_is_redacted(reader: Reader) -> None:
    reader.configure(redact=lambda text, start, stop: text[start:stop].replace("hunter2", "[hidden]"))
    log.error(
        "it was hunter2",
        plain="hunter2",
        nested={"hunter2": ["hunter2", ({"deep": "hunter2"},)]},
        path=Path("/hunter2"),
        error=ValueError("hunter2"),
        exc_info=RuntimeError("hunter2"),
    )
    logging.getLogger("library").warning("said %s", "hunter2")
    text = reader.text()
    assert "hunter2" not in text
    assert text.count("[hidden]") == 9


def test_where_redacting_fails_nothing_is_shown(reader: Reader) -> None:
    def fail(text: str, start: int, stop: int) -> str:
        raise ValueError(text)

    for format_ in ("json", "journal", "console"):
        reader.configure(format_, redact=fail)
        log.error(LogLine.PROCESSOR_RELOAD_FAILED, source={"hunter2": 1}, exc_info=ValueError("hunter2"))
        text = reader.text()
        assert "hunter2" not in text
        assert "processor_reload_failed" in text
        assert "cannot be shown" in text


def test_no_value_can_make_printing_fail(reader: Reader) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    endless: list[object] = []
    endless.append(endless)
    endless_too: dict[str, object] = {}
    endless_too["again"] = endless_too
    reader.configure()
    log.info(
        "odd",
        hostile=Hostile(),
        error=ValueError(Hostile()),
        nan=float("nan"),
        large=10**5000,
        endless=endless,
        endless_too=endless_too,
        long="x" * 100_000,
        many=list(range(100_000)),
        raw=b"\xff",
        exc_info="not an error",
    )
    line = reader.line()
    assert line["hostile"] == "(Hostile that cannot be shown)"
    assert line["error"] == "ValueError: (ValueError that cannot be shown)"
    assert line["large"] == "(int that cannot be shown)"
    assert line["nan"] == "nan"
    assert line["raw"] == r"b'\xff'"
    assert len(line["long"]) == log_printable.TEXT_MAX
    assert len(line["many"]) == log_printable.MEMBERS_MAX


# ---- repeats


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def let_through(limiter: RepeatLimiter, line: str, **fields: object) -> dict[str, Any] | None:
    try:
        return dict(limiter(None, "warning", {"event": line, **fields}))
    except structlog.DropEvent:
        return None


def test_a_line_that_can_flood_is_printed_once_a_minute_and_then_counts() -> None:
    clock = Clock()
    limiter = RepeatLimiter(clock)
    known = {"connection": "presence", "error": "gone"}
    assert let_through(limiter, LogLine.CONNECTION_LOST, **known) == {"event": "connection_lost", **known}
    for pause_s in range(41):
        assert let_through(limiter, LogLine.CONNECTION_LOST, **known, retry_in_s=pause_s) is None
    clock.now += 59.9
    assert let_through(limiter, LogLine.CONNECTION_LOST, **known) is None
    clock.now += 0.1
    again = let_through(limiter, LogLine.CONNECTION_LOST, **known)
    assert again == {"event": "connection_lost", **known, "repeated": 42}
    clock.now += 60
    quiet = let_through(limiter, LogLine.CONNECTION_LOST, **known)
    assert quiet == {"event": "connection_lost", **known}


def test_another_reason_is_said_at_once() -> None:
    limiter = RepeatLimiter(Clock())
    for error in ("the answer was lost", "a wrong password"):
        assert let_through(limiter, LogLine.CONNECTION_LOST, connection="presence", error=error)
        assert let_through(limiter, LogLine.CONNECTION_LOST, connection="presence", error=error) is None


def test_another_key_and_another_line_are_not_repeats() -> None:
    limiter = RepeatLimiter(Clock())
    assert let_through(limiter, LogLine.PROCESSOR_UNKNOWN, processor="a", rows=1)
    assert let_through(limiter, LogLine.PROCESSOR_UNKNOWN, processor="b", rows=1)
    assert let_through(limiter, LogLine.UNSAVED_OUTCOMES_FULL, unsaved=1)
    assert let_through(limiter, LogLine.PROCESSOR_UNKNOWN, processor="a", rows=2) is None


def test_a_line_that_cannot_flood_is_always_printed() -> None:
    limiter = RepeatLimiter(Clock())
    assert all(let_through(limiter, LogLine.ACTION_FAILED, action_id=1) for _ in range(3))
    assert all(let_through(limiter, "connection_lost, says an author", action_id=1) for _ in range(3))


def test_a_flood_of_invented_names_is_held_back_and_takes_no_memory() -> None:
    clock = Clock()
    limiter = RepeatLimiter(clock)
    printed = [let_through(limiter, LogLine.PROCESSOR_UNKNOWN, processor=str(n)) for n in range(5_000)]
    assert sum(line is not None for line in printed) == log_repeats.REPEAT_KEYS_MAX + 1
    clock.now += 60
    assert let_through(limiter, LogLine.PROCESSOR_UNKNOWN, processor="new")
    assert len(limiter._printed) < 5


def test_repeats_are_counted_by_the_whole_pipe(reader: Reader) -> None:
    reader.configure()
    with about(processor="mail"):
        log.warning(LogLine.PROCESSOR_UNKNOWN, rows=1)
        log.warning(LogLine.PROCESSOR_UNKNOWN, rows=2)
    with about(processor="other"):
        log.warning(LogLine.PROCESSOR_UNKNOWN, rows=3)
    assert [line["rows"] for line in reader.lines()] == [1, 3]


# ---- libraries


def test_a_warning_of_a_library_is_a_line(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    reader.configure()
    with caplog.at_level(logging.DEBUG, "asyncio"):
        logging.getLogger("asyncio").info("not this")
    logging.getLogger("asyncio").warning("slow: %s", "callback")
    try:
        os.close(-1)
    except OSError:
        logging.getLogger("asyncpg").exception("lost")
    warned, failed = reader.lines()
    assert warned["event"] == "library_warned"
    assert (warned["level"], warned["library"], warned["message"]) == ("warning", "asyncio", "slow: callback")
    assert (failed["level"], failed["exception"]["message"]) == ("error", "[Errno 9] Bad file descriptor")


def test_a_mistake_in_the_logging_of_a_library_is_its_own(reader: Reader) -> None:
    reader.configure()
    LibraryHandler().emit(logging.LogRecord("library", 73, __file__, 1, "%d of %d", (1,), None))
    line = reader.line()
    assert (line["level"], line["message"]) == ("critical", "%d of %d")


def test_libraries_are_routed_once_however_often_it_is_configured(reader: Reader) -> None:
    reader.configure()
    reader.configure()
    assert sum(isinstance(handler, LibraryHandler) for handler in logging.getLogger().handlers) == 1


# ---- a stderr that does not take it


def finishes(work: Callable[[], None]) -> bool:
    """Whether it ends; if it would block, the test goes on and says so."""
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    return not worker.is_alive()


def test_a_full_stderr_blocks_nobody_and_the_loss_is_told(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "WAITING_MAX", 100)
    monkeypatch.setattr(log_writer, "WRITTEN_AT_ONCE_MAX", 10)
    reader.configure()

    def flood() -> None:
        for n in range(2_000):
            log.info("flood", n=n, padding="x" * 1_000)

    assert finishes(flood)
    assert not reader.writer.flush(0)
    lost = reader.writer.dropped
    assert 1_700 < lost < 2_000

    whole = drained(reader)
    log.info("after")
    whole += reader.text()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert len(lines) == 2_000 - lost + 1
    assert lines[-1]["event"] == "after"
    assert lines[-1]["lines_lost"] == lost


def drained(reader: Reader) -> str:
    """Everything that waited, read until the writer has answered a flush and the pipe is empty."""
    flushing = threading.Thread(target=reader.writer.flush, args=(20,), daemon=True)
    flushing.start()
    text = b""
    while flushing.is_alive() or select.select([reader.fd], [], [], 0)[0]:
        if select.select([reader.fd], [], [], 0.01)[0]:
            text += os.read(reader.fd, 65_536)
    return text.decode()


def test_a_stderr_nobody_reads_any_more_costs_only_its_lines() -> None:
    reading, stderr = os.pipe()
    writer = configure("json", "info", fd=stderr)
    os.close(reading)
    log.info("lost")
    assert writer.flush(5)
    log.info("lost too")
    assert writer.flush(5)
    assert writer.dropped == 2
    writer.close()
    os.close(stderr)
    structlog.reset_defaults()


def test_a_closed_stderr_costs_only_its_lines(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    reader.writer = configure("auto", "info")
    log.info("lost")
    assert reader.writer.flush(0)
    assert reader.writer.dropped == 1


def test_a_number_of_stderr_that_was_given_away_gets_no_lines(reader: Reader) -> None:
    stderr = os.dup(reader.stderr)
    reader.writer = configure("json", "info", fd=stderr)
    other, stranger = os.pipe()
    os.dup2(stranger, stderr)  # closes it and gives its number away
    log.info("for the reader")
    assert reader.line()["event"] == "for the reader"
    os.set_blocking(other, False)
    with pytest.raises(BlockingIOError):
        os.read(other, 1)
    for fd in (other, stranger, stderr):
        os.close(fd)


def test_a_stderr_in_non_blocking_mode_gets_every_byte(reader: Reader) -> None:
    os.set_blocking(reader.stderr, False)
    reader.configure()
    for n in range(1_000):
        log.info("much", n=n, padding="x" * 1_000)
    lines = [json.loads(line) for line in drained(reader).splitlines()]
    assert [line["n"] for line in lines] == list(range(1_000))


TAKE_NUMBER = """
import os
taken = os.open(os.environ["TAKEN"], os.O_CREAT | os.O_WRONLY)
os.dup2(taken, 2)
"""
PROGRAM = """
import sys
from actiond.host.log import configure, get_logger
configure("json", "info")
for n in range(int(sys.argv[1])):
    get_logger().info("line", n=n, padding="x" * 1000)
print("through", flush=True)
"""


def a_program(lines: int, stderr: int, end: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(DAEMON.parent)}
    command = [sys.executable, "-c", PROGRAM + end, str(lines)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)


def test_a_program_prints_its_last_line_before_it_ends() -> None:
    with a_program(3, subprocess.PIPE) as program:
        out, err = program.communicate(timeout=30)
    assert (program.returncode, out) == (0, b"through\n")
    assert [json.loads(line)["n"] for line in err.splitlines()] == [0, 1, 2]


def test_a_program_that_leaves_without_saying_goodbye_can_still_flush() -> None:
    end = "import os; from actiond.host.log import flush; assert flush(); os._exit(75)"
    with a_program(3, subprocess.PIPE, end) as program:
        _, err = program.communicate(timeout=30)
    assert program.returncode == 75
    assert [json.loads(line)["n"] for line in err.splitlines()] == [0, 1, 2]


def test_a_program_without_stderr_writes_into_no_file_that_got_its_number(tmp_path: Path) -> None:
    command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(TAKE_NUMBER + PROGRAM)} 3 2>&-"
    environment = {**os.environ, "PYTHONPATH": str(DAEMON.parent), "TAKEN": str(tmp_path / "taken")}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, stdout=subprocess.PIPE, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"through\n")
    assert (tmp_path / "taken").read_text() == ""


def test_a_program_whose_stderr_is_full_ends_well_all_the_same() -> None:
    reading, stderr = os.pipe()
    with a_program(2_000, stderr) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"through\n"
        assert program.wait(timeout=30) == 0
    os.close(reading)
    os.close(stderr)


def test_a_program_whose_stderr_is_gone_ends_well_all_the_same() -> None:
    reading, stderr = os.pipe()
    os.close(reading)
    with a_program(10, stderr) as program:
        assert program.wait(timeout=30) == 0
    os.close(stderr)


# ---- the vocabulary


def test_every_line_has_a_name_in_small_letters_a_level_and_one_sentence() -> None:
    for line in LogLine:
        assert line == line.name.lower()
        assert line.level in LEVELS
        assert line.when[0].isupper()
        assert line.when.endswith(".")
        assert len(set(line.fields)) == len(line.fields)
        assert not set(line.fields) & (set(COMMON_FIELDS) - {"processor", "run_id", "action_id"})
        assert set(line.once_per or ()) <= set(line.fields)


def test_the_lines_that_can_flood_are_limited() -> None:
    limited = {line for line in LogLine if line.once_per is not None}
    assert limited >= {
        LogLine.CONNECTION_LOST,
        LogLine.OUTCOME_REFUSED,
        LogLine.PROCESSOR_UNKNOWN,
        LogLine.UNSAVED_OUTCOMES_FULL,
    }


def misprints(source: str) -> list[str]:
    """Calls of a logger that do not keep to the vocabulary: name, level, fields."""
    found = []
    for call in ast.walk(ast.parse(source)):
        match call:
            case ast.Call(
                func=ast.Attribute(attr=level),
                args=[ast.Attribute(value=ast.Name(id="LogLine"), attr=name), *_],
                keywords=given,
            ) if level in LEVELS:
                line = LogLine.__members__.get(name)
                if line is None:
                    found.append(f"line {call.lineno}: there is no {name}")
                    continue
                fields = {field.arg for field in given} - {None, "exc_info", *line.fields}
                if fields:
                    found.append(f"line {call.lineno}: {line} has no {fields}")
                if level != line.level:
                    found.append(f"line {call.lineno}: {line} is printed at {line.level}, not at {level}")
    return found


def test_the_daemon_prints_only_what_the_vocabulary_says() -> None:
    found = {str(file.relative_to(DAEMON)): misprints(file.read_text()) for file in DAEMON.rglob("*.py")}
    assert not {file: lines for file, lines in found.items() if lines}


def test_every_line_of_the_vocabulary_is_printed_somewhere() -> None:
    source = "\n".join(file.read_text() for file in DAEMON.rglob("*.py"))
    assert [line for line in LogLine if f"LogLine.{line.name}" not in source] == []


def test_a_misprint_would_be_found() -> None:
    assert misprints("log.info(LogLine.DAEMON_REDY)") == ["line 1: there is no DAEMON_REDY"]
    assert misprints("log.info(LogLine.SIGNAL_RECEIVED, signl=1)") == ["line 1: signal_received has no {'signl'}"]
    assert misprints("log.error(LogLine.SIGNAL_RECEIVED, exc_info=True)") == [
        "line 1: signal_received is printed at info, not at error"
    ]
    assert misprints("self._log.info(LogLine.SIGNAL_RECEIVED, signal=1, **more)") == []
