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
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.hooks import Around, Enterable, Finalize, enterables, finalizer
from actiond.contract.payload import adapter, first_errors, is_async, schema, written
from actiond.contract.policy import Policy, as_stored, declared
from actiond.rules.error_policy import PLAIN, Classes, ErrorPolicy
from actiond.words import json_text
from actiond.words.errors import PayloadInvalid, ProcessorInvalid

EACH_CONCURRENCY = 10  # one-at-a-time handlers mostly wait for somebody else's answer

Handler = Callable[..., Any]

#: As the schema has it; and printable.
NAME_RULE = "a name has 1 to 255 characters that can be printed, no comma and no white space"
_NAME = re.compile(r"[^,\s]{1,255}")


@dataclass(frozen=True, slots=True, eq=False)
class Processor:
    """A named handler with the policy that its code declares."""

    name: str
    handler: Handler
    batch: bool  # a whole batch a call, or one action
    given: dict[str, Any]  # what the author wrote, in seconds
    payload: TypeAdapter[Any] | None = None  # None: JSON as it is
    where: str = ""  # file:line of the handler
    built_in: Policy = field(default_factory=Policy)
    on_error: ErrorPolicy = PLAIN
    isolate: bool = False  # may be called again in halves when it raises
    around: tuple[Enterable, ...] = ()  # its own; see contract/home for all
    finalize: Finalize | None = None
    run_as: str | None = None  # a role, in transactions of its batches
    redact: tuple[str, ...] = ()  # fields of its payloads that are not shown; in lower case
    home: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the names of the module that declares it
    is_async: bool = field(init=False)  # False: the handler runs in a worker thread

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", is_async(self.handler))

    @property
    def policy(self) -> Policy:
        """As declared, on top of the built-in defaults; without an operator's overrides."""
        return self.built_in.overridden(self.given)

    def stored(self) -> tuple[str, str, str | None, tuple[str, ...]]:
        """(declared, built-in, schema of payloads, fields not to show) for actiond.processor; the first three as JSON.

        `batch` is no knob: what a call holds, for who counts. No schema: any JSON will do, or none can say what will.
        """
        mine, payload = as_stored(self.policy, frozenset(self.given)), schema(self.payload)
        return (
            json_text.dumps(mine),
            json_text.dumps({**as_stored(self.built_in), "batch": self.batch}),
            None if payload is None else json_text.dumps(payload),
            self.redact,
        )

    def decode(self, data: str) -> Any:
        """One payload. PayloadInvalid says what does not fit."""
        try:
            return from_json(data) if self.payload is None else self.payload.validate_json(data)
        except ValidationError as wrong:
            raise PayloadInvalid(first_errors(wrong)) from None
        except (ValueError, RecursionError) as wrong:
            raise PayloadInvalid(str(wrong)) from None

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
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """One action a call: what the handler returns is the result, what it raises is the failure.

    `dead_on` and `retry_on` are exception classes: what costs the action its life, and what a retry (the nearest
    class decides; what neither names is retried, but dies when `retry_on` is given). `around`: entered before each
    call, with a batch of the one action; `finalize`: called with what became of a run, once that is saved; `redact`:
    fields of the payload that are shown nowhere. `knobs` are those of Policy: retries=3, retry_interval="5 min",
    timeout="30 s", concurrency=10, ...
    """
    given = {"dead_on": dead_on, "retry_on": retry_on, **knobs}
    given |= {"around": around, "finalize": finalize, "redact": redact}
    built_in = Policy(concurrency=EACH_CONCURRENCY)
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
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """Many actions a call: the handler marks each. `concurrency` counts batches here; its default is 1.

    `isolate`: a handler that raises is called again, in halves of the actions it has not marked, until the culprit
    stands alone. Only for one that is `idempotent` (a second call with the same actions does no harm) or
    `transactional` (it writes through batch.transaction() and execute_each, and nowhere else). `run_as`: the role that
    these two have in the database. The rest as for `processor`.
    """
    given = {"dead_on": dead_on, "retry_on": retry_on, **knobs}
    given |= {"isolate": isolate, "idempotent": idempotent, "transactional": transactional}
    given |= {"around": around, "finalize": finalize, "run_as": run_as, "redact": redact}
    return lambda handler: declare(name, handler, given, batch=True, built_in=Policy(), frame=sys._getframe(1))


@dataclass(frozen=True, slots=True)
class Says:
    """What an author says of a handler that no operator can override."""

    dead_on: Classes = ()
    retry_on: Classes = ()
    isolate: bool = False
    idempotent: bool = False
    transactional: bool = False
    around: Around | Sequence[Around] = ()
    finalize: Finalize | None = None
    run_as: str | None = None
    redact: Sequence[str] = ()

    def on_error(self) -> ErrorPolicy:
        """ProcessorInvalid for what is no exception class, or stands in both lists."""
        try:
            return ErrorPolicy.of(self.dead_on, self.retry_on)
        except ValueError as wrong:
            raise ProcessorInvalid(f"{wrong}") from None

    def isolates(self, batch: bool) -> bool:
        """ProcessorInvalid for a handler that may not be called again, and for a promise that nobody needs."""
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

    def role(self, batch: bool) -> str | None:
        """ProcessorInvalid for what is no name of a role, and where there is no transaction to take it."""
        if self.run_as is None:
            return None
        if not batch:
            raise ProcessorInvalid(
                "run_as is for batch.transaction() and execute_each: only batch processors have them"
            )
        if not isinstance(self.run_as, str) or self.run_as in ("", "none"):
            raise ProcessorInvalid(f"run_as: the name of a role, not {self.run_as!r}")
        return self.run_as

    def not_shown(self) -> tuple[str, ...]:
        """ProcessorInvalid for what are no names of fields."""
        names = self.redact
        if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(n, str) and n for n in names):
            raise ProcessorInvalid(f"redact: names of fields, as in ('card', 'token'), not {names!r}")
        return tuple(sorted({name.lower() for name in names}))


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
    code = getattr(written(handler), "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)
    says = Says(**{word: knobs[word] for word in _SAID if word in knobs})
    try:
        if not is_name(name):
            raise ProcessorInvalid(NAME_RULE)
        return Processor(
            name=name,
            handler=handler,
            batch=batch,
            given=declared({knob: value for knob, value in knobs.items() if knob not in _SAID}),
            payload=adapter(handler, Batch if batch else Action, frame),
            where=where,
            built_in=built_in,
            on_error=says.on_error(),
            isolate=says.isolates(batch),
            around=enterables(says.around),
            finalize=finalizer(says.finalize),
            run_as=says.role(batch),
            redact=says.not_shown(),
            home=frame.f_globals if frame else {},
        )
    except ProcessorInvalid as wrong:
        said = " ".join(" ".join(map(str, wrong.args)).split())
        raise ProcessorInvalid(f"{name!r} at {where}: {said}") from None


def is_name(name: object) -> bool:
    """May a processor be called that?"""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name.isprintable()
