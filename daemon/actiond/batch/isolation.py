"""A batch handler that raises is called again, in halves, until whoever makes it raise stands alone.

The one that does fails with its own error; the others have the outcomes of the calls that did not raise. An action
that was marked before the raise keeps its mark and is not asked about again. Each call gets actions of its own, fresh
from their rows, so that what an earlier call still holds can mark nothing.

All of it is one call for the rest of the daemon: one place, one timeout, one cancellation. When the time is over
before everything is decided, what is left comes back uncharged, as long as something was decided: so each time fewer
are left. A handler that raises `Failure` has spoken of all its actions, and is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio.lowlevel

from actiond.batch import never_awaited
from actiond.batch.attempt import Attempt, Decided, decode, unmarked
from actiond.batch.call import Call, Ended, Stop
from actiond.contract.batch import Batch
from actiond.rules.bisect import Bisection
from actiond.rules.error_text import ErrorText, text_of
from actiond.words.claimed import ClaimedRow
from actiond.words.outcome import KEEP_ALIVE, Failed, Failure, Outcome


@dataclass(frozen=True, slots=True)
class Isolated:
    """What the search came to."""

    calls: int  # of the handler
    culprits: int  # raised alone
    undecided: int  # when it had to end
    error: BaseException  # the first one raised

    def told(self, took_s: float) -> dict[str, Any]:
        """Its fields of the log line."""
        counts = {"calls": self.calls, "culprits": self.culprits, "undecided": self.undecided}
        return {**counts, "took_s": round(took_s, 3), "error": ErrorText.of(self.error).short}


class Isolation:
    """The calls of one batch, beginning with all of it (`first`, decoded already)."""

    def __init__(self, first: Attempt, a_batch: Callable[[Attempt], Batch[Any]]) -> None:
        self._attempt: Attempt | None = first  # under way
        self._processor, self._scope = first.processor, first.scope
        self._a_batch = a_batch
        self._search = Bisection([action.row for action in first.actions])
        self._rows = len(first.actions)
        self._decided: Decided = []
        self._forgotten: list[str] = []  # coroutines, in the call under way
        self._forgotten_before: list[str] = []
        self._first: BaseException | None = None
        self._last: BaseException | None = None
        self._calls = 0

    async def run(self, call: Call) -> None:
        """Until everything is decided, or the call is stopped. Raises only cancellations."""
        while (part := self._search.next()) is not None:
            attempt = self._attempt or self._again(part)
            self._attempt = attempt
            if attempt.actions:
                error = await self._call(call, attempt)
                if call.stopped is not None and error is not None:
                    return
                self._end(attempt, error, alone=len(part) == 1)
            else:
                self._search.accepted()
            self._attempt = None
            if call.stopped is not None:
                return
            await anyio.lowlevel.checkpoint()  # handlers that never wait would keep the loop, and their timeout

    def collect(self, ended: Ended) -> tuple[Decided, Isolated | None]:
        """One outcome for each row, but for those decided in a transaction; it may be asked before `run` has ended."""
        left = {row.id: row for row in self._search.undecided}
        decided, current = list(self._decided), set[int]()
        if (attempt := self._attempt) is not None:
            open_actions = attempt.close()
            marked = [action for action in open_actions if action.outcome is not None]
            decided += attempt.outcomes(marked, replace(ended, never_awaited=self._forgotten))
            current = {action.id for action in open_actions} - {action.id for action in marked}
            for action in attempt.actions:
                if action.id not in current:
                    left.pop(action.id)
        progress = len(left) < self._rows
        decided += [(row, self._undecided(ended, progress, row.id in current)) for row in left.values()]
        ended.never_awaited += self._forgotten_before + self._forgotten
        if self._first is None:
            return decided, None
        return decided, Isolated(self._calls, len(self._search.bad), len(left), self._first)

    def _again(self, part: list[ClaimedRow]) -> Attempt:
        before = self._scope
        scope = replace(before, closed=False, settled=set(), entered=set())  # what was withdrawn is shared
        actions, broken = decode(self._processor, part, scope)  # broken: by a validator that changes its mind
        self._decided += broken
        return Attempt(self._processor, scope, actions)

    async def _call(self, call: Call, attempt: Attempt) -> BaseException | None:
        self._calls += 1
        self._forgotten_before += self._forgotten
        self._forgotten = never_awaited.listen()
        try:
            await call.called(self._a_batch(attempt))
        except BaseException as raised:  # the boundary of user code, as in call
            if isinstance(raised, asyncio.CancelledError):
                raise
            return raised
        return None

    def _end(self, attempt: Attempt, error: BaseException | None, alone: bool) -> None:
        """One call is over: what it decided, and where to look on."""
        ended = Ended(0.0, error=error, never_awaited=self._forgotten)
        open_actions = attempt.close()
        if error is None or isinstance(error, Failure):
            self._decided += attempt.outcomes(open_actions, ended)
            self._search.accepted()
            return
        if self._first is None:
            self._first = error
        self._last = error
        silent = [action for action in open_actions if action.outcome is None]
        said = open_actions if alone else [action for action in open_actions if action.outcome is not None]
        self._decided += attempt.outcomes(said, ended)
        self._search.refused([action.row for action in silent])

    def _undecided(self, ended: Ended, progress: bool, running: bool) -> Outcome:
        """The outcome of a row that no call decided."""
        error = self._last if ended.stopped is not None or ended.error is None else ended.error
        if self._first is None or error is None or ended.stopped is Stop.DRAIN or (ended.runaway and running):
            return unmarked(ended, self._processor)
        if not progress:
            return Failed(error, self._processor.on_error.behavior(error))
        said = f"{type(error).__name__}: {text_of(error)}"
        return Failed(f"it was not yet clear which action is to blame when the call had to end: {said}", KEEP_ALIVE)
