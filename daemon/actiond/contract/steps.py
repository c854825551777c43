"""A processor made of steps: one step a run, and between the runs everything is in the row.

    execute -> restart? -> yes: the same step again, with what it remembers
                           no:  finalize, then the next step; after the last one the action is completed

Where it stands is kept in the row's `state` with the outcome of each run: {"step": name, "memory": {...}, "key": ...,
"done": n}. So a step that fails is retried alone, by the retries of the row; a daemon that is killed repeats at most
one run; and a step that walks through millions of rows goes on behind the last key it saved.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actiond.contract.action import Action
from actiond.contract.policy import Policy
from actiond.contract.processor import Processor, declare
from actiond.words.errors import ProcessorInvalid
from actiond.words.outcome import KEEP_ALIVE, Completed, Deferred, Failure

CHUNK = 2_000  # rows of a cursor step in one run


@dataclass(slots=True)
class Walk:
    """What the steps of one action hold: the action, and what is kept from run to run."""

    action: Action[Any]
    step: str
    memory: dict[str, Any] = field(default_factory=dict)  # the steps' own, as JSON
    key: Any = None  # of the last row that a cursor step has done
    done: int = 0  # rows that it has done

    def kept(self) -> dict[str, Any]:
        """As the row keeps it."""
        return {"step": self.step, "memory": self.memory, "key": self.key, "done": self.done}


class Step(ABC):
    """One step. Override `execute`; the others if need be. A step has no state of its own: it serves many actions."""

    @property
    def name(self) -> str:
        """How rows in flight know it; renaming a step strands them, until the name is back."""
        return type(self).__name__

    @abstractmethod
    async def execute(self, walk: Walk) -> None:
        """The work of one run."""

    def restart(self, walk: Walk) -> bool:
        """After `execute`: this step once more?"""
        return False

    async def finalize(self, walk: Walk) -> None:  # noqa: B027 - most steps need none
        """When the step is over, before the next one. It runs again if its run does not end well."""


class CursorStep(Step):
    """A step that walks through rows by key, a chunk a run."""

    chunk = CHUNK

    @abstractmethod
    async def fetch(self, walk: Walk, after: Any, limit: int) -> Sequence[Any]:
        """At most `limit` rows behind the key `after` (None: from the beginning), in the order of their keys."""

    def key(self, row: Any) -> Any:
        """Of one row, as JSON can keep it."""
        return row["id"]

    @abstractmethod
    async def each(self, walk: Walk, rows: Sequence[Any]) -> None:
        """The work on one chunk."""

    async def execute(self, walk: Walk) -> None:
        """One chunk."""
        rows = await self.fetch(walk, walk.key, self.chunk)
        if rows:
            await self.each(walk, rows)
            walk.key, walk.done = self.key(rows[-1]), walk.done + len(rows)
        if len(rows) < self.chunk:
            walk.key = None  # through

    def restart(self, walk: Walk) -> bool:
        """Until a chunk is not full."""
        return walk.key is not None


def steps(name: str, of: Sequence[Step], **knobs: Any) -> Processor:
    """A processor that runs these steps one after the other; its result is what they remember.

    ProcessorInvalid without a step, or with two of one name. Knobs as for `processor`.
    """
    named = {step.name: step for step in of}
    if len(named) != len(of) or not of:
        raise ProcessorInvalid(f"{name!r}: a processor of steps needs at least one, and each a name of its own")
    order = list(named)

    async def walk_on(action: Action[Any]) -> Completed | Deferred:
        walk = _walk(action, order)
        step = named.get(walk.step)
        if step is None:
            raise Failure(
                f"step {walk.step!r} is not a step of {name!r} here (there are: {', '.join(order)})",
                KEEP_ALIVE,
                after="1 min",
            )
        await step.execute(walk)
        if not step.restart(walk):
            await step.finalize(walk)
            if walk.step == order[-1]:
                return action.complete(walk.memory or None)
            walk.step, walk.key, walk.done = order[order.index(walk.step) + 1], None, 0
        return action.defer("0 s", state=walk.kept())

    frame = inspect.currentframe()
    return declare(
        name, walk_on, knobs, batch=False, built_in=Policy(concurrency=1), frame=frame.f_back if frame else None
    )


def _walk(action: Action[Any], order: Sequence[str]) -> Walk:
    state = action.state
    if state is None:
        return Walk(action, order[0])
    if not isinstance(state, dict) or not isinstance(state.get("step"), str):
        raise Failure("the row's state was not written by steps", KEEP_ALIVE, after="1 min")
    memory = state.get("memory")
    return Walk(
        action, state["step"], memory if isinstance(memory, dict) else {}, state.get("key"), int(state.get("done") or 0)
    )
