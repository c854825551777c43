"""One run of a program: lines in, lines out, its errors remembered, and no process left behind.

Memory is bounded: of standard output one line may be `line_max` bytes, and reading stops while enough is waiting; of
standard error the end is kept. The program has a session and process group of its own, which is killed with
all that it started. What escapes from its group on purpose is not found.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

import anyio

STDERR_SHOWN = 4096  # characters
_STDERR_KEPT = 2 * STDERR_SHOWN  # more than is shown: a secret must not be cut open
_AT_FIRST = 600  # of what is shown, for those who see only the beginning of an error
_TERM_GRACE_S = 1.0  # from SIGTERM to SIGKILL


class ProgramEnded(Exception):
    """It will say no more; the text says how it ended, with the end of its standard error."""


class TooMuch(Exception):
    """A line that is longer than may be kept."""


class Program(asyncio.SubprocessProtocol):
    """Use `Program.start`; `kill` or `finish` at the end, always."""

    def __init__(self, line_max: int, hide: Callable[[str], str]) -> None:
        self._line_max = line_max
        self._hide = hide
        self._out = bytearray()
        self._errors = bytearray()
        self._news = asyncio.Event()
        self._exited = asyncio.Event()
        self._open_pipes = {1, 2}
        self._transport: asyncio.SubprocessTransport | None = None
        self._pid = 0
        self._killed = False

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        directory: str | None,
        environment: Mapping[str, str],
        line_max: int,
        hide: Callable[[str], str],
    ) -> Program:
        """OSError if it cannot be started."""
        loop = asyncio.get_running_loop()
        transport, program = await loop.subprocess_exec(
            lambda: cls(line_max, hide), *argv, cwd=directory, env=dict(environment), start_new_session=True
        )
        program._transport = transport
        program._pid = transport.get_pid()
        return program

    # what the loop tells

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._errors += data
            del self._errors[:-_STDERR_KEPT]
            return
        self._out += data
        if len(self._out) > self._line_max:
            self._reading().pause_reading()
        self._news.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open_pipes.discard(fd)
        self._news.set()

    def process_exited(self) -> None:
        self._exited.set()
        self._news.set()

    # what the processor does

    def send(self, text: str) -> None:
        """One line. A program that does not read any more is found out when it is asked."""
        assert self._transport is not None
        stdin = self._transport.get_pipe_transport(0)
        if stdin is not None and not stdin.is_closing() and not self._exited.is_set():
            cast("asyncio.WriteTransport", stdin).write(text.encode() + b"\n")
        self._errors.clear()  # what is said from now on is about this

    def end_input(self) -> None:
        """There are no more lines."""
        assert self._transport is not None
        stdin = self._transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()

    async def line(self) -> bytes:
        """The next line of its output. ProgramEnded, TooMuch."""
        searched = 0
        while True:
            end = self._out.find(b"\n", searched)
            if (len(self._out) if end < 0 else end) > self._line_max:
                raise TooMuch(f"more than {self._line_max} bytes in one line")
            if end >= 0:
                return self._taken(end)
            if 1 not in self._open_pipes:
                if self._out:
                    return self._taken(len(self._out))
                raise ProgramEnded(await self._how())
            searched = len(self._out)
            self._news.clear()
            await self._news.wait()

    def _taken(self, length: int) -> bytes:
        line = bytes(self._out[:length])
        del self._out[: length + 1]
        if len(self._out) <= self._line_max and 1 in self._open_pipes:
            self._reading().resume_reading()
        return line

    @property
    def said(self) -> str:
        """The end of its standard error, since the last line that was sent."""
        text = self._hide(self._errors.decode("utf-8", "replace")).strip()[-STDERR_SHOWN:]
        if len(text) <= _AT_FIRST:
            return f"; it said: {text}" if text else ""
        return f"; it said at last: {text[-_AT_FIRST:]}\n{text}"

    async def finish(self, within_s: float) -> None:
        """No more input, time to end by itself; then the group is killed."""
        self.end_input()
        try:
            with anyio.move_on_after(within_s):
                await self._exited.wait()
        finally:
            await self.kill()

    async def kill(self) -> None:
        """The program, and all that it started and that stayed in its group. Returns when it is gone."""
        assert self._transport is not None
        if self._killed:
            return  # the number of the group may be somebody else's by now
        with anyio.CancelScope(shield=True):
            try:
                if not self._exited.is_set():
                    self._signal(signal.SIGTERM)
                    with anyio.move_on_after(_TERM_GRACE_S):
                        await self._exited.wait()
            finally:
                self._killed = True
                self._signal(signal.SIGKILL)
                self._transport.close()
            await self._exited.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, where only a zombie is left
            os.killpg(self._pid, number)

    def _reading(self) -> asyncio.ReadTransport:
        assert self._transport is not None
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(1))

    async def _how(self) -> str:
        with anyio.move_on_after(_TERM_GRACE_S):
            await self._exited.wait()
        code = self._transport.get_returncode() if self._transport else None
        if code is None:
            return f"the program closed its output{self.said}"
        if code < 0:
            return f"the program was ended by signal {_name(-code)}{self.said}"
        return f"the program ended with exit code {code}{self.said}"


def _name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)
