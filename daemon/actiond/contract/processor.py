"""@processor and @batch_processor: a function plus its name and policy.

Nothing is registered: a decorator returns a Processor, which can still be called like the function, and the
daemon finds processors by entry point, module or file. Annotations are bound here, at the declaration, so
that what cannot be resolved is an error at the start, with file and line, and not at the first row.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.encryption import Encryption
from actiond.contract.hooks import Around, Enterable, Finalize, finalizer
from actiond.contract.payload import adapter, first_errors, is_async, schema, type_of, written
from actiond.contract.policy import AUTO, Policy, as_stored, declared
from actiond.contract.says import Executor, Says
from actiond.contract.versions import Versions
from actiond.rules.error_policy import PLAIN, Classes, ErrorPolicy
from actiond.words import json_text
from actiond.words.errors import PayloadInvalid, ProcessorInvalid

EACH_CONCURRENCY = 10  # one-at-a-time handlers mostly wait for somebody else's answer

Handler = Callable[..., Any]

#: As the schema has it; and printable.
NAME_RULE = "a name has 1 to 255 characters that can be printed, no comma and no white space"
_NAME = re.compile(r"[^,\s]{1,255}")


class Source(NamedTuple):
    """Where a processor was found, so that another process finds the same."""

    name: str  # a module, a path, or module:name of an entry point
    text: bytes | None = None  # of a file, as it was loaded


@dataclass(frozen=True, slots=True, eq=False)
class Processor:
    """A named handler with the policy that its code declares."""

    name: str
    handler: Handler
    batch: bool  # a whole batch a call, or one action
    given: dict[str, Any]  # what the author wrote, in seconds
    payload: TypeAdapter[Any] | None = None  # None: JSON as it is
    versions: Versions | None = None  # of the model of payloads
    encryption: Encryption | None = None  # of fields of it
    where: str = ""  # file:line of the handler, or of its declaration
    built_in: Policy = field(default_factory=Policy)
    on_error: ErrorPolicy = PLAIN
    isolate: bool = False  # may be called again in halves when it raises
    around: tuple[Enterable, ...] = ()  # its own; see contract/home for all
    finalize: Finalize | None = None
    run_as: str | None = None  # a role, in transactions of its batches
    redact: tuple[str, ...] = ()  # fields of its payloads that are not shown; in lower case
    home: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the names of the module that declares it
    executor: Executor = Executor.LOOP
    memory_mb: int | None = None  # of a worker process; None: as the daemon is set
    is_async: bool = field(init=False)
    source: Source | None = field(init=False, default=None)  # once somebody found it

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", is_async(self.handler))

    def in_this_process(self) -> Processor:
        """The same, where another process could not find it: what a test has made."""
        here = Executor.LOOP if self.is_async else Executor.THREAD
        return replace(self, executor=here) if self.executor is Executor.PROCESS else self

    def found_in(self, source: Source) -> None:
        """Said by who finds it; the first word counts."""
        if self.source is None:
            object.__setattr__(self, "source", source)

    @property
    def policy(self) -> Policy:
        """As declared, on top of the built-in defaults; without an operator's overrides."""
        return self.built_in.overridden(self.given)

    def stored(self) -> tuple[str, str, str | None, tuple[str, ...]]:
        """(declared, built-in, schema of payloads, fields not to show) for actiond.processor; the first three as JSON.

        `batch` is no knob: what a call holds, for who counts. No schema: any JSON will do, or none can say what will.
        """
        mine, payload = as_stored(self.policy, frozenset(self.given)), schema(self.payload)
        if payload is not None and self.versions is not None:
            payload = self.versions.shown(payload)
        if self.encryption is not None:
            payload = self.encryption.shown(payload or {})
        return (
            json_text.dumps(mine),
            json_text.dumps({**as_stored(self.built_in), "batch": self.batch}),
            None if payload is None else json_text.dumps(payload),
            self.redact,
        )

    def decode(self, data: str) -> Any:
        """One payload. PayloadInvalid says what does not fit; PayloadNewer and PayloadLocked, what is missing here."""
        try:
            if self.encryption is not None:
                data = self.encryption.opened(data)
            if self.versions is not None:
                data = self.versions.upcast(data)
            return from_json(data) if self.payload is None else self.payload.validate_json(data)
        except ValidationError as wrong:
            raise PayloadInvalid(first_errors(wrong)) from None
        except (ValueError, RecursionError) as wrong:
            raise PayloadInvalid(str(wrong)) from None

    def asked_with(self, data: Any) -> Any:
        """The payload of a new row: what a producer gives, with the version of the model, encrypted. OperatorError."""
        if self.versions is not None:
            data = self.versions.written(data)
        return data if self.encryption is None else self.encryption.sealed(data)

    def to_hide(self, data: str) -> str:
        """A payload as its handler sees it, for who hides the fields of `redact`."""
        return data if self.encryption is None else self.encryption.to_hide(data)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.handler(*args, **kwargs)


def processor(
    name: str,
    *,
    dead_on: Classes = (),
    retry_on: Classes = (),
    around: Around | Sequence[Around] = (),
    finalize: Finalize | None = None,
    redact: Sequence[str] = (),
    executor: str | None = None,
    memory_mb: int | None = None,
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """One action a call: what the handler returns is the result, what it raises is the failure.

    `dead_on` and `retry_on` are exception classes: what costs the action its life, and what a retry (the nearest
    class decides; what neither names is retried, but dies when `retry_on` is given). `around`: entered before each
    call, with a batch of the one action; `finalize`: called with what became of a run, once that is saved; `redact`:
    fields of the payload that are shown nowhere. `executor`: "loop" (default of async handlers), "thread" (of others)
    or "process", each of whose workers may use `memory_mb`. `knobs` are those of Policy: retries=3,
    retry_interval="5 min", timeout="30 s", concurrency=10, ...
    """
    built_in, given = Policy(concurrency=EACH_CONCURRENCY), {"dead_on": dead_on, "retry_on": retry_on, **knobs}
    given |= {"around": around, "finalize": finalize, "redact": redact}
    given |= {"executor": executor, "memory_mb": memory_mb}
    return lambda handler: declare(name, handler, given, batch=False, built_in=built_in, frame=sys._getframe(1))


def batch_processor(
    name: str,
    *,
    dead_on: Classes = (),
    retry_on: Classes = (),
    isolate: bool = False,
    idempotent: bool = False,
    transactional: bool = False,
    around: Around | Sequence[Around] = (),
    finalize: Finalize | None = None,
    run_as: str | None = None,
    redact: Sequence[str] = (),
    executor: str | None = None,
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """Many actions a call: the handler marks each. `concurrency` counts batches here; its default is 1.

    `isolate`: a handler that raises is called again, in halves of the actions it has not marked, until the culprit
    stands alone. Only for one that is `idempotent` (a second call with the same actions does no harm) or
    `transactional` (it writes through batch.transaction() and execute_each, and nowhere else). `run_as`: the role that
    these two have in the database. `executor`: "loop" (default of async handlers) or "thread" (of others). The rest as
    for `processor`.
    """
    given = {"dead_on": dead_on, "retry_on": retry_on, "executor": executor, **knobs}
    given |= {"isolate": isolate, "idempotent": idempotent, "transactional": transactional}
    given |= {"around": around, "finalize": finalize, "run_as": run_as, "redact": redact}
    return lambda handler: declare(name, handler, given, batch=True, built_in=Policy(), frame=sys._getframe(1))


_SAID = tuple(each.name for each in fields(Says))


def declare(
    name: str,
    handler: Handler,
    knobs: dict[str, Any],
    *,
    batch: bool,
    built_in: Policy,
    frame: types.FrameType | None = None,
) -> Processor:
    """The decorators' work; `knobs` and what `Says` has. ProcessorInvalid with file and line for whatever is wrong."""
    where = _where(written(handler), frame)
    says = Says(**{word: knobs[word] for word in _SAID if word in knobs})
    try:
        if not is_name(name):
            raise ProcessorInvalid(NAME_RULE)
        if knobs.get("batch_size") == AUTO and not batch:
            raise ProcessorInvalid("batch_size='auto' is for batch processors: others get one action a call")
        executor, payload = says.runs_in(batch, is_async(handler)), type_of(handler, Batch if batch else Action, frame)
        encryption = Encryption.of(name, payload)
        return Processor(
            name=name,
            handler=handler,
            batch=batch,
            given=declared({knob: value for knob, value in knobs.items() if knob not in _SAID}),
            payload=adapter(payload),
            versions=Versions.of(payload),
            encryption=encryption,
            where=where,
            built_in=built_in,
            on_error=says.on_error(),
            isolate=says.isolates(batch),
            around=says.entered(executor),
            finalize=finalizer(says.finalize),
            run_as=says.role(batch),
            redact=says.not_shown(encryption.fields if encryption else ()),
            home=frame.f_globals if frame else {},
            executor=executor,
            memory_mb=says.memory_of(executor),
        )
    except ProcessorInvalid as wrong:
        said = " ".join(" ".join(map(str, wrong.args)).split())
        raise ProcessorInvalid(f"{name!r} at {where}: {said}") from None


def _where(handler: Handler, frame: types.FrameType | None) -> str:
    """The file and line of a handler; of one that was made elsewhere, as that of `steps`, where it is declared."""
    code = getattr(handler, "__code__", None)
    if frame is not None and (code is None or code.co_filename != frame.f_code.co_filename):
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)


def is_name(name: object) -> bool:
    """May a processor be called that?"""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name.isprintable()
