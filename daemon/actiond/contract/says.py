"""What an author says of a handler, and no operator can override: where it runs, what its errors cost.

loop      in the event loop, beside the daemon itself: for handlers that wait (the default of `async` ones)
thread    in a worker thread: for plain functions that wait (their default)
process   in a worker process: for work that keeps a CPU busy, holds the interpreter, or may die of its input
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from actiond.contract.hooks import Around, Enterable, Finalize, enterables
from actiond.rules.error_policy import Classes, ErrorPolicy
from actiond.words.errors import ProcessorInvalid

MEMORY_MB = (64, 1_000_000)  # least and most of `memory_mb`; a bare worker takes some 40


class Executor(StrEnum):
    """Where a handler runs."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Says:
    """The words of a decorator that are no knobs. Each method is ProcessorInvalid for what makes no sense."""

    dead_on: Classes = ()
    retry_on: Classes = ()
    isolate: bool = False
    idempotent: bool = False
    transactional: bool = False
    executor: str | None = None
    memory_mb: int | None = None  # of each worker process; None: as the daemon is set
    around: Around | Sequence[Around] = ()
    finalize: Finalize | None = None
    run_as: str | None = None
    redact: Sequence[str] = ()

    def on_error(self) -> ErrorPolicy:
        """For what is no exception class, or stands in both lists."""
        try:
            return ErrorPolicy.of(self.dead_on, self.retry_on)
        except ValueError as wrong:
            raise ProcessorInvalid(f"{wrong}") from None

    def isolates(self, batch: bool) -> bool:
        """For a handler that may not be called again, and for a promise that nobody needs."""
        for name in ("isolate", "idempotent", "transactional"):
            if not isinstance(value := getattr(self, name), bool):
                raise ProcessorInvalid(f"{name}: True or False, not {value!r}")
        if not batch and (self.isolate or self.idempotent or self.transactional):
            raise ProcessorInvalid("only the batch of a batch processor can be isolated: here each action stands alone")
        promised = [name for name in ("idempotent", "transactional") if getattr(self, name)]
        if self.isolate and not promised:
            raise ProcessorInvalid(
                "isolate=True calls the handler again with actions that it has seen: say idempotent=True if that does "
                "no harm, or transactional=True if it writes only through batch.transaction() and execute_each"
            )
        if promised and not self.isolate:
            raise ProcessorInvalid(f"{promised[0]}=True says nothing without isolate=True")
        return self.isolate

    def runs_in(self, batch: bool, is_async: bool) -> Executor:
        """For an executor that cannot run such a handler."""
        if self.executor is None:
            return Executor.LOOP if is_async else Executor.THREAD
        if self.executor not in tuple(Executor):
            raise ProcessorInvalid(f"executor: one of {', '.join(Executor)}, not {self.executor!r}")
        chosen = Executor(self.executor)
        if chosen is Executor.THREAD and is_async:
            raise ProcessorInvalid(
                "executor='thread' is for plain functions: leave the `async` away, or say executor='process'"
            )
        if chosen is Executor.PROCESS and batch:
            raise ProcessorInvalid(
                "executor='process' is for @processor, one action a call: of a worker that dies with a batch nobody "
                "could say which action it died of"
            )
        return chosen

    def memory_of(self, executor: Executor) -> int | None:
        """For a limit that is none, or that nobody would keep."""
        given, (least, most) = self.memory_mb, MEMORY_MB
        if given is None:
            return None
        if executor is not Executor.PROCESS:
            raise ProcessorInvalid("memory_mb is a limit of worker processes: say executor='process', too")
        if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
            raise ProcessorInvalid(f"memory_mb: a whole number from {least:,} to {most:,}, not {given!r}")
        return given

    def role(self, batch: bool) -> str | None:
        """For what is no name of a role, and where there is no transaction to take it."""
        if self.run_as is None:
            return None
        if not batch:
            raise ProcessorInvalid(
                "run_as is for batch.transaction() and execute_each: only batch processors have them"
            )
        if not isinstance(self.run_as, str) or self.run_as in ("", "none"):
            raise ProcessorInvalid(f"run_as: the name of a role, not {self.run_as!r}")
        return self.run_as

    def not_shown(self, encrypted: Sequence[str] = ()) -> tuple[str, ...]:
        """For what are no names of fields; also what is `encrypted` is not shown."""
        names = self.redact
        if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(n, str) and n for n in names):
            raise ProcessorInvalid(f"redact: names of fields, as in ('card', 'token'), not {names!r}")
        return tuple(sorted({name.lower() for name in (*names, *encrypted)}))

    def entered(self, executor: Executor) -> tuple[Enterable, ...]:
        """For what cannot be entered, and where nothing can be entered around a call."""
        arounds = enterables(self.around)
        if arounds and executor is Executor.PROCESS:
            raise ProcessorInvalid(
                "around is entered in the daemon, and executor='process' runs elsewhere: enter it in the handler"
            )
        return arounds
