"""The worker processes of a daemon: lent for one call, kept for the next, replaced when they have died.

A worker has loaded one processor and serves nothing else: its memory limit is that processor's, and code that was read
again gets new workers. So many calls run at once as there are places, over all processors; an idle worker gives way
to one of a processor that needs it, and ends when it has been idle for a while.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

import anyio

from actiond.batch.process_call import Lent
from actiond.contract.processor import Processor
from actiond.host import log_forward
from actiond.host.frames import Message
from actiond.host.log import get_logger
from actiond.host.worker_process import WorkerProcess
from actiond.rules import redaction
from actiond.words.errors import WorkerDied, WorkerUnavailable
from actiond.words.log_lines import LogLine

START_S = 60.0  # what loading a processor may take
PAUSE_S = 5.0  # after a start that failed, until the next one of that processor
IDLE_S = 300.0  # then a worker ends
CLOSE_S = 2.0  # that idle workers have to end by themselves

log = get_logger()


def cpus() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(slots=True, eq=False)
class _Idle:
    worker: WorkerProcess
    processor: Processor
    timer: asyncio.TimerHandle | None = None


class Workers:
    """At most `places` calls at once; no process is started before the first."""

    def __init__(self, places: int, memory_mb: int, log_level: str) -> None:
        self._places = anyio.CapacityLimiter(places)
        self._memory_mb = memory_mb
        self._log_level = log_level
        self._started: set[WorkerProcess] = set()  # and not yet known to be gone
        self._idle: list[_Idle] = []  # the longest idle first
        self._failed: dict[str, tuple[Processor, float, str]] = {}  # by name: what, until when, why

    @asynccontextmanager
    async def lent(self, which: Callable[[], Processor], calls: anyio.CapacityLimiter | None) -> AsyncIterator[Lent]:
        """A place, and a worker of this processor or the reason why there is none, for one call."""
        async with self._places, calls or nullcontext():
            processor = which()  # now, and not when the wait for the place began
            lent: Lent
            try:
                lent = await self._worker(processor)
            except WorkerUnavailable as why:
                lent = why
            try:
                yield lent
            finally:
                if isinstance(lent, WorkerProcess):
                    self._back(lent, processor)

    async def close(self) -> None:
        """All of them: the last thing but for the daemon's own end."""
        for idle in self._idle:
            if idle.timer is not None:
                idle.timer.cancel()
        self._idle.clear()
        async with anyio.create_task_group() as ending:
            for worker in self._started:
                ending.start_soon(worker.close, CLOSE_S)
        self._started.clear()

    async def _worker(self, processor: Processor) -> WorkerProcess:
        for idle in [each for each in self._idle if each.processor.name == processor.name]:
            if idle.processor is processor and idle.worker.alive:
                self._take(idle)
                return idle.worker
            self._end(idle)  # it has died, or serves code of before
        self._started = {worker for worker in self._started if not worker.exited}
        while self._idle and sum(worker.alive for worker in self._started) >= self._places.total_tokens:
            self._end(self._idle[0])
        return await self._start(processor)

    async def _start(self, processor: Processor) -> WorkerProcess:
        failed, until_s, why = self._failed.get(processor.name, (None, 0.0, ""))
        if failed is processor and time.monotonic() < until_s:
            raise WorkerUnavailable(why)
        began_s = time.monotonic()
        try:
            worker = await self._made(processor)
        except (OSError, WorkerDied, WorkerUnavailable) as wrong:
            why = " ".join(str(part) for part in wrong.args) if not isinstance(wrong, OSError) else str(wrong)
            self._failed[processor.name] = (processor, time.monotonic() + PAUSE_S, why)
            log.error(LogLine.WORKER_UNAVAILABLE, processor=processor.name, error=why)
            raise WorkerUnavailable(why) from None
        took_s = round(time.monotonic() - began_s, 2)
        log.info(LogLine.WORKER_STARTED, processor=processor.name, worker_pid=worker.pid, took_s=took_s)
        return worker

    async def _made(self, processor: Processor) -> WorkerProcess:
        hello = self._hello(processor)
        worker = await WorkerProcess.start(processor.name, hello, log_forward.hear)
        self._started.add(worker)
        try:
            with anyio.fail_after(START_S):
                answer = await worker.answer()
        except TimeoutError:
            worker.kill()
            raise WorkerUnavailable(f"it was not ready within {START_S:.0f} s") from None
        except BaseException:
            worker.kill()
            raise
        if "broken" in answer:
            worker.kill()
            raise WorkerUnavailable(str(answer["broken"]))
        return worker

    def _hello(self, processor: Processor) -> Message:
        source = processor.source
        if source is None:
            raise WorkerUnavailable("its processor was made here, and another process cannot find it")
        return {
            "processor": processor.name,
            "source": source.name,
            "text": None if source.text is None else base64.b64encode(source.text).decode(),
            "path": sys.path,
            "dont_write_bytecode": sys.dont_write_bytecode,
            "memory_mb": processor.memory_mb or self._memory_mb,
            "log_level": self._log_level,
            "secrets": redaction.learnt(),
        }

    def _back(self, worker: WorkerProcess, processor: Processor) -> None:
        if not worker.alive or worker.spent:
            worker.kill()
            return
        idle = _Idle(worker, processor)
        idle.timer = asyncio.get_running_loop().call_later(IDLE_S, self._end, idle)
        self._idle.append(idle)

    def _take(self, idle: _Idle) -> None:
        self._idle.remove(idle)
        if idle.timer is not None:
            idle.timer.cancel()

    def _end(self, idle: _Idle) -> None:
        if idle in self._idle:
            self._take(idle)
            idle.worker.kill()
