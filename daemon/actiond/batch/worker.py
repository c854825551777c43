"""A worker process from inside: it loads one processor, then runs one action after the other.

    daemon -> hello: what to load, which limits      worker -> ready, or broken: why not
    daemon -> a row, its run, the rules              worker -> begun, then ended: the settlement
    daemon -> withdrawn: an action                   worker -> log lines, at any time

A thread listens to the daemon, so that the end of the pipe is heard while a handler runs: then nobody wants the outcome
any more. What comes of an action is settled here, by the same code as in the daemon; what is sent back is plain values.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import os
import queue
import random
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from actiond.batch.batch_run import Outcomes, run_rows
from actiond.batch.call import Call
from actiond.contract.action import Scope
from actiond.contract.processor import Processor, Source
from actiond.host import discovery, frames, log_forward, worker_side
from actiond.host.frames import Message
from actiond.host.log import set_about
from actiond.host.worker_side import LINE_LOST
from actiond.rules import redaction
from actiond.rules.error_text import ErrorText
from actiond.rules.retry import RetryPolicy
from actiond.rules.settlement import Rules, settle
from actiond.words.claimed import ClaimedRow, Settlement
from actiond.words.errors import ActiondError
from actiond.words.outcome import Failed

EXIT_S = 5.0  # that what the author's code does at the exit of Python may take
LONGEST = 4 << 20  # characters of a result or state; the database takes far less, and says so
_FOR_EVER_S = 1e9  # the daemon has the clock


class Line:
    """The pipe to the daemon."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")
        self._sending = threading.Lock()
        self._asked: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.withdrawn: set[int] = set()
        self.busy = True

    def send(self, message: Message) -> None:
        """From any thread."""
        data = frames.packed(message)
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:  # the daemon is gone, or a handler has closed what it did not open
            os._exit(LINE_LOST)

    def hello(self) -> Message:
        """The first message; then the thread listens."""
        message = frames.read(self._file)
        if message is None:
            os._exit(0)
        threading.Thread(target=self._listen, name="actiond line", daemon=True).start()
        return message

    def ready(self, message: Message) -> None:
        """Send this, and be idle."""
        self.withdrawn.clear()
        self.busy = False
        self.send(message)

    def next(self) -> Message | None:
        """What to run; None: the daemon wants nothing more."""
        message = self._asked.get()
        self.busy = message is not None
        return message

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            while (message := frames.read(self._file)) is not None:
                if "withdrawn" in message:
                    self.withdrawn.add(message["withdrawn"])
                else:
                    self._asked.put(message)
        if not self.busy:
            self._asked.put(None)
            time.sleep(EXIT_S)
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Started by host/worker_process."""
    _, _, _, fd, trace_fd, daemon = sys.argv
    sys.argv[1:] = []
    worker_side.follow(int(daemon))
    worker_side.trace_into(int(trace_fd))
    line = Line(int(fd))
    hello = line.hello()
    try:
        worker = Worker(line, hello)
    except BaseException as broken:  # the author's code as it is loaded, or a limit that nothing can live within
        line.send({"broken": str(broken) if isinstance(broken, ActiondError) else ErrorText.of(broken).short})
        return
    line.ready({"ready": True})
    with asyncio.Runner() as runner:
        while (asked := line.next()) is not None:
            line.send({"begun": True})
            answer = worker.run(runner, asked)
            _flush()
            if os.getpid() != worker.pid:  # a handler forked, and this is the other one
                os._exit(0)
            line.ready(answer)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()


class Worker:
    """Runs actions of one processor. Whatever its making raises is why it cannot."""

    def __init__(self, line: Line, hello: Message) -> None:
        sys.path[:] = hello["path"]
        sys.dont_write_bytecode = hello["dont_write_bytecode"]
        redaction.learn(*hello["secrets"])
        log_forward.forward(hello["log_level"], lambda fields: line.send({"log": fields}))
        self.pid = os.getpid()
        self._line = line
        self._memory_mb: int = hello["memory_mb"]
        worker_side.limit_memory(self._memory_mb)
        text = hello["text"]
        source = Source(hello["source"], None if text is None else base64.b64decode(text))
        self._processor: Processor = discovery.find_again(source, hello["processor"])

    def run(self, runner: asyncio.Runner, asked: Message) -> Message:
        """One action; what to answer."""
        row = ClaimedRow(*asked["row"])
        redaction.hide(self._processor.redact, lambda: [self._processor.to_hide(row.data)])
        rules = Rules(RetryPolicy(*asked["retry"]), asked["history"], asked["charged"])
        ended, spent = None, False
        try:
            outcomes = runner.run(self._outcomes(row, asked), context=contextvars.copy_context())
            ended = outcomes.ended
            [(_, outcome)] = outcomes.decided
            settled = _bounded(settle(row, asked["run_id"], outcome, rules, random.random()), row, rules)  # noqa: S311
        except BaseException as raised:  # a cancellation that met nothing else, or no memory for the outcome
            settled, spent = settle(row, asked["run_id"], Failed(raised), rules, jitter=0.0), True
        hungry = isinstance(ended.error, MemoryError) if ended else False
        full = worker_side.used_mb() > self._memory_mb / 2 > 0  # or a leak would once meet a row that needs little
        forgotten = ended.never_awaited if ended else []
        return {"settled": settled, "never_awaited": forgotten, "spent": spent or hungry or full}

    async def _outcomes(self, row: ClaimedRow, asked: Message) -> Outcomes:
        processor = self._processor
        set_about({"processor": processor.name, "run_id": asked["run_id"], "action_id": row.id})
        scope = Scope(asked["run_id"], processor.name, withdrawn=self._line.withdrawn)
        call = Call(processor.handler, True, _FOR_EVER_S, lambda _: None, is_async=processor.is_async)
        outcomes = await run_rows(processor, asked["config"], [row], scope, call, None)
        error = outcomes.ended.error if outcomes.ended else None
        if isinstance(error, MemoryError) and not error.args and self._memory_mb:
            error.args = (f"a worker of this processor may use {self._memory_mb} MB",)
        return outcomes


def _bounded(settled: Settlement, row: ClaimedRow, rules: Rules) -> Settlement:
    """What no database takes is not sent either."""
    for name, text in (("result", settled.result), ("state", settled.state)):
        if text is not None and len(text) > LONGEST:
            too_long = f"the {name} cannot be stored: it has {len(text):,} characters"
            return settle(row, settled.run_id, Failed(too_long), rules, jitter=0.0)
    return settled
