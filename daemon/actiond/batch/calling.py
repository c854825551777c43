"""Where one call runs, by the executor of its processor: in the loop, in a thread, or in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from actiond.batch.batch_run import Outcomes, run_rows
from actiond.batch.call import GRACE_S, Call
from actiond.batch.process_call import Asking, Lent, run_in_worker
from actiond.batch.shared import Shared
from actiond.contract.action import Scope
from actiond.contract.hooks import Enterable
from actiond.contract.processor import Processor
from actiond.contract.says import Executor
from actiond.rules.settlement import Rules
from actiond.words.claimed import ClaimedRow

_ANYWHERE = nullcontext()


def place(processor: Processor, shared: Shared) -> AbstractAsyncContextManager[Lent | None]:
    """Where a call may run; with executor="process", who runs it."""
    if processor.executor is Executor.PROCESS:
        return shared.workers.lent(lambda: processor, shared.calls)
    return shared.calls or _ANYWHERE


def thread_left(call: Call, shared: Shared, tell: Callable[[], None]) -> None:
    """Its actions are settled; if it still runs after the grace time it is a runaway like any other: then `tell`."""
    shared.left[:] = [*(each for each in shared.left if each.left_a_thread), call]

    def out_of_grace() -> None:
        if call.left_a_thread:
            tell()
            shared.runaway()

    asyncio.get_running_loop().call_later(GRACE_S, out_of_grace)


@dataclass(frozen=True, slots=True)
class Calling:
    """A call that is about to run."""

    processor: Processor
    call: Call
    asking: Asking | None  # a worker process

    @classmethod
    def of(
        cls, processor: Processor, timeout_s: float, lent: Lent | None, runaway: Callable[[Call], None], shared: Shared
    ) -> Calling:
        """`lent`: what `place` gave."""
        if lent is not None:
            asking = Asking(lent)
            return cls(processor, Call(asking, True, timeout_s, runaway), asking)
        in_loop = processor.executor is Executor.LOOP
        handler, threads = processor.handler, shared.threads
        return cls(processor, Call(handler, in_loop, timeout_s, runaway, threads, is_async=processor.is_async), None)

    async def run(
        self,
        config: Mapping[str, Any],
        rules: Rules,
        rows: Sequence[ClaimedRow],
        scope: Scope,
        database: Any,
        arounds: Sequence[Enterable],
    ) -> Outcomes:
        """To its end."""
        if self.asking is not None:
            return await run_in_worker(self.asking, self.processor, config, rules, rows[0], scope, self.call)
        return await run_rows(self.processor, config, rows, scope, self.call, database, arounds)
