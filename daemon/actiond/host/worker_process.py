"""One worker process, seen from the daemon: started, asked, killed; and how it ended.

It has a session and a group of its own, so that Ctrl-C on a terminal leaves it alone and killing it takes along what
it started. It ends with the daemon, however that ends: it holds one end of a pipe whose other end only the daemon has,
and the kernel tells it, too (see worker_side). What it prints goes where the daemon's own prints go. When it crashes,
Python writes where it stood into a file that has no name.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import cast

import anyio

from actiond.host.frames import Message, Unpacker, packed
from actiond.host.worker_side import LINE_LOST
from actiond.words.errors import WorkerDied

CLOSED = "it closed its connection to the daemon"
END_S = 1.0  # between the end of the pipe and the end of the process, whichever comes first
_ROOT = Path(__file__).parents[2]  # where this very program is imported from
_OURS = str(_ROOT / "actiond" / "batch" / "")  # from there handlers are called
_START = "import sys; sys.path[0] = sys.argv[1]; from actiond.batch.worker import main; main()"
#: They are for the daemon.
_NOT_INHERITED = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"}
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
_FRAMES = 3  # of where it crashed, innermost

#: Gets each log line of the worker: its fields.
Hear = Callable[[Message], None]


class WorkerProcess(asyncio.SubprocessProtocol):
    """Use `WorkerProcess.start`; `close` or `kill` at the end, always."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._answers: deque[Message] = deque()
        self._news = asyncio.Event()
        self._trace = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker lives
        self._transport: asyncio.SubprocessTransport | None = None
        self._pipe: asyncio.WriteTransport | None = None
        self._closed = self._exited = self._killed = False
        self._wrong = ""  # what it did before it was killed
        self._said = ""  # by Python, as it crashed
        self.pid = 0
        self.spent = False  # it wants to be replaced

    @classmethod
    async def start(cls, name: str, hello: Message, hear: Hear) -> WorkerProcess:
        """OSError if it cannot be started. Its first answer says whether it is ready; `name` is for `ps`."""
        loop, worker = asyncio.get_running_loop(), cls(hear)
        ours, theirs = socket.socketpair()
        fds = (theirs.fileno(), worker._trace.fileno())
        command = [sys.executable, "-c", _START, str(_ROOT), name, *map(str, fds), str(os.getpid())]
        try:
            with theirs:
                worker._transport, _ = await loop.subprocess_exec(
                    lambda: worker,
                    *command,
                    stdin=subprocess.DEVNULL,
                    stdout=None,
                    stderr=None,
                    pass_fds=fds,
                    start_new_session=True,
                    env={name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
                )
            worker.pid = worker._transport.get_pid()
            transport, _ = await loop.create_connection(lambda: _Pipe(worker), sock=ours)
            worker._pipe = cast("asyncio.WriteTransport", transport)
        except BaseException:
            ours.close()
            worker.kill()
            raise
        worker.send(hello)
        return worker

    # what the loop tells

    def heard(self, message: Message) -> None:
        """From the worker."""
        if isinstance(said := message.get("log"), dict):
            self._hear(said)
        else:
            self._answers.append(message)
            self._news.set()

    def no_message(self) -> None:
        """What came is none."""
        self._wrong = "it sent what nobody understands"
        self.kill()

    def pipe_closed(self) -> None:
        """It will say no more."""
        self._closed = True
        self._news.set()

    def process_exited(self) -> None:
        self._exited = True
        self.kill()  # what it started; later its number may be somebody else's
        self._said = os.pread(self._trace.fileno(), 16_384, 0).decode("utf-8", "replace")
        self._trace.close()
        if self._transport is not None:
            self._transport.close()
        self._news.set()

    # what a call does

    @property
    def exited(self) -> bool:
        """It is gone."""
        return self._exited

    @property
    def alive(self) -> bool:
        """As far as it is known here; and it has not spoken without being asked."""
        return not (self._closed or self._exited or self._killed or self._answers)

    def send(self, message: Message) -> None:
        """To a worker that has died nothing is sent; who asks for the answer finds out."""
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.write(packed(message))

    async def answer(self) -> Message:
        """Its next message that is no log line. WorkerDied says how it ended."""
        while not (self._answers or self._closed or self._exited):
            await self._next_news()
        if not self._answers:  # a process that it started may hold its end of the pipe, or it may have closed it
            with anyio.move_on_after(END_S):
                while not (self._answers or (self._closed and self._exited)):
                    await self._next_news()
        if self._answers:
            return self._answers.popleft()
        if not self._exited:
            self._wrong = self._wrong or CLOSED
            self.kill()
        while not self._exited:
            await self._next_news()
        raise WorkerDied(self._how())

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    def kill(self) -> None:
        """It, and what it started and left in its group. Nobody waits for the end."""
        if not self._killed:
            self._killed = True
            if self._pipe is not None:
                self._pipe.close()
            if self.pid:
                with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, of a zombie
                    os.killpg(self.pid, signal.SIGKILL)

    async def close(self, within_s: float) -> None:
        """Let an idle one end by itself; returns when it is gone."""
        if self._pipe is not None:
            self._pipe.close()
        with anyio.move_on_after(within_s):
            while not self._exited:
                await self._next_news()
        self.kill()
        with anyio.move_on_after(END_S):
            while not self._exited:
                await self._next_news()

    def _how(self) -> str:
        if self._wrong:
            return self._wrong
        code = self._transport.get_returncode() if self._transport is not None else None
        if code == LINE_LOST:
            return CLOSED
        if code is None or code >= 0:
            return f"it ended with exit code {code}"
        by = _signal_name(-code)
        if by == "SIGKILL":
            return "it was ended by SIGKILL, as the kernel does when memory is short"
        return f"it was ended by {by}{self._where()}"

    def _where(self) -> str:
        """Where it stood, innermost first, if Python could still say so."""
        frames = takewhile(lambda frame: not frame["file"].startswith(_OURS), _FRAME.finditer(self._said))
        found = [f"{frame['name']} ({frame['file']}:{frame['line']})" for frame in frames]
        return f" in {' < '.join(found[:_FRAMES])}" if found else ""


class _Pipe(asyncio.Protocol):
    """Our end."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._unpacker = Unpacker()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._unpacker.feed(data):
                self._worker.heard(message)
        except ValueError:
            self._worker.no_message()

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.pipe_closed()


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
