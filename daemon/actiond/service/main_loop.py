"""The event loop of a daemon, and its last moments: what handlers leave behind must not end it, nor keep it.

A task that raises SystemExit or KeyboardInterrupt stops the whole loop, after the exception was kept for whoever awaits
the task. In a handler's own call that is caught where the call is; but a handler may start tasks, and libraries in them
may think that a process is theirs to end. So the loop is entered again, and the handler gets its exception.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from actiond.host import extras
from actiond.host.log import flush, get_logger
from actiond.rules.error_text import ErrorText
from actiond.words.log_lines import LogLine

LEAVE_S = 1.0  # that threads have to end by themselves

log = get_logger()


def run(main: Callable[..., Awaitable[int]], *arguments: Any) -> int:
    """Until `main` has ended; its result."""
    return anyio.run(main, *arguments, backend_options={"loop_factory": _undeterred(extras.loop_class())})


def _undeterred(base: Any) -> Any:
    """This kind of loop, entered again when a task has stopped it."""

    class Loop(base):  # type: ignore[misc]
        def run_until_complete(self, future: Any) -> Any:
            main = asyncio.ensure_future(future, loop=self)
            while True:
                try:
                    return super().run_until_complete(main)
                except (SystemExit, KeyboardInterrupt) as raised:
                    if main.done() or main.cancelling():  # it is meant: its own, or Ctrl-C once more
                        raise
                    log.error(LogLine.EXIT_IGNORED, error=ErrorText.of(raised).short, where=_where(raised))

    return Loop


def _where(raised: BaseException) -> str:
    """The line that raised it."""
    step = raised.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}" if step is not None else ""


def leave(code: int) -> int:
    """The exit code, if the process may end by itself. Threads that handlers left would keep it: then it ends now."""
    left = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    until_s = time.monotonic() + LEAVE_S
    for thread in left:
        thread.join(max(0.0, until_s - time.monotonic()))
    if any(thread.is_alive() for thread in left):
        flush()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
                stream.flush()
        os._exit(code)
    return code
