"""What stands around the calls of a processor, and what comes after its runs.

    around      an async context manager: entered before a handler is called, left after it
    finalizer   called once for each run, when its outcomes are saved

An around is given to a processor (`around=`), or marked with `@around` for all processors that are declared in its
module, or named by the setting `around` for a whole daemon. What either of them raises is logged and changes no
outcome.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from actiond.contract.batch import Batch
from actiond.words.errors import ProcessorInvalid

#: An async function with one `yield`, or what contextlib makes of one.
Around = Callable[[Batch[Any]], AsyncIterator[None] | AbstractAsyncContextManager[Any]]


class Everywhere:
    """An around of all processors that are declared in the module that has it."""

    def __init__(self, of: Around) -> None:
        self.of = enterable(of)

    def __call__(self, batch: Batch[Any]) -> AbstractAsyncContextManager[Any]:
        return self.of(batch)


def around(of: Around) -> Everywhere:
    """Marks it for every processor of its module, and of those that import it by name. ProcessorInvalid."""
    return Everywhere(of)


@dataclass(frozen=True, slots=True)
class Enterable:
    """An around that can be entered. Two of the same function are equal."""

    name: str = field(compare=False)
    made: Callable[[Batch[Any]], AbstractAsyncContextManager[Any]] = field(compare=False)
    given: Any

    def __call__(self, batch: Batch[Any]) -> AbstractAsyncContextManager[Any]:
        """Not entered yet."""
        return self.made(batch)


def enterable(of: Any) -> Enterable:
    """From whatever an author gives. ProcessorInvalid for what cannot be called with a batch."""
    if isinstance(of, Everywhere):
        return of.of
    if not callable(of):
        raise ProcessorInvalid(f"around: a function of the batch is wanted, not {of!r}")
    if inspect.iscoroutinefunction(of):
        raise ProcessorInvalid(f"around: {_name(of)} has no `yield`, so nothing could be around anything")
    return Enterable(_name(of), asynccontextmanager(of) if inspect.isasyncgenfunction(of) else of, of)


def enterables(given: Around | Sequence[Around]) -> tuple[Enterable, ...]:
    """One or several, the outermost first."""
    return tuple(map(enterable, given if isinstance(given, list | tuple) else (given,)))


class RunAction(NamedTuple):
    """What became of one action in a run."""

    id: int
    outcome: str  # completed, failed, retried, deferred, canceled
    error: str | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that is over: every outcome of it is saved."""

    run_id: int
    processor: str
    actions: tuple[RunAction, ...]  # those that were saved; one that somebody canceled meanwhile is not among them
    error: str | None  # what the handler raised first, or why it was stopped; None: all its calls ended by themselves
    took_s: float  # from the claim until everything was saved

    def count(self, outcome: str) -> int:
        """How many actions ended so."""
        return sum(action.outcome == outcome for action in self.actions)


#: `def` or `async def`.
Finalize = Callable[[RunResult], Any]


def finalizer(of: Any) -> Finalize | None:
    """ProcessorInvalid for what cannot be called."""
    if of is not None and not callable(of):
        raise ProcessorInvalid(f"finalize: a function of the run's result is wanted, not {of!r}")
    checked: Finalize | None = of
    return checked


def _name(of: Any) -> str:
    return str(getattr(of, "__qualname__", None) or repr(of))


def flat(groups: Iterable[Iterable[Enterable]]) -> tuple[Enterable, ...]:
    """All of them, each once: where it comes first."""
    return tuple(dict.fromkeys(each for group in groups for each in group))
