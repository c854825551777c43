"""@processor and @batch_processor: a function plus its name and policy.

Nothing is registered: a decorator returns a Processor, which can still be called like the function, and the
daemon finds processors by entry point, module or file. Annotations are bound here, at the declaration, so
that what cannot be resolved is an error at the start, with file and line, and not at the first row.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError, from_json

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.policy import Policy, as_stored, declared
from actiond.contract.says import Executor, Says
from actiond.rules.error_policy import PLAIN, Classes, ErrorPolicy
from actiond.words import json_text
from actiond.words.errors import PayloadInvalid, ProcessorInvalid

EACH_CONCURRENCY = 10  # one-at-a-time handlers mostly wait for somebody else's answer

Handler = Callable[..., Any]

#: As the schema has it; and printable.
NAME_RULE = "a name has 1 to 255 characters that can be printed, no comma and no white space"
_NAME = re.compile(r"[^,\s]{1,255}")
_BY_PLACE = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_GENERATORS = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


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
    where: str = ""  # file:line of the handler
    built_in: Policy = field(default_factory=Policy)
    on_error: ErrorPolicy = PLAIN
    isolate: bool = False  # may be called again in halves when it raises
    executor: Executor = Executor.LOOP
    memory_mb: int | None = None  # of a worker process; None: as the daemon is set
    is_async: bool = field(init=False)
    source: Source | None = field(init=False, default=None)  # once somebody found it

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", _is_async(self.handler))

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

    def stored(self) -> tuple[str, str]:
        """(declared, built-in) as JSON for actiond.processor. `batch` is no knob: what a call holds, for who counts."""
        mine = as_stored(self.policy, frozenset(self.given))
        return json_text.dumps(mine), json_text.dumps({**as_stored(self.built_in), "batch": self.batch})

    def decode(self, data: str) -> Any:
        """One payload. PayloadInvalid says what does not fit."""
        try:
            return from_json(data) if self.payload is None else self.payload.validate_json(data)
        except ValidationError as wrong:
            raise PayloadInvalid(_first_errors(wrong)) from None
        except (ValueError, RecursionError) as wrong:
            raise PayloadInvalid(str(wrong)) from None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.handler(*args, **kwargs)


def processor(
    name: str,
    *,
    dead_on: Classes = (),
    retry_on: Classes = (),
    executor: str | None = None,
    memory_mb: int | None = None,
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """One action a call: what the handler returns is the result, what it raises is the failure.

    `dead_on` and `retry_on` are exception classes: what costs the action its life, and what a retry (the nearest
    class decides; what neither names is retried, but dies when `retry_on` is given). `executor`: "loop" (default of
    async handlers), "thread" (of others) or "process", each of whose workers may use `memory_mb`. `knobs` are those
    of Policy: retries=3, retry_interval="5 min", timeout="30 s", concurrency=10, ...
    """
    built_in, given = Policy(concurrency=EACH_CONCURRENCY), {"dead_on": dead_on, "retry_on": retry_on, **knobs}
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
    executor: str | None = None,
    **knobs: Any,
) -> Callable[[Handler], Processor]:
    """Many actions a call: the handler marks each. `concurrency` counts batches here; its default is 1.

    `isolate`: a handler that raises is called again, in halves of the actions it has not marked, until the culprit
    stands alone. Only for one that is `idempotent` (a second call with the same actions does no harm) or
    `transactional` (it writes through batch.transaction() and execute_each, and nowhere else). `executor`: "loop"
    (default of async handlers) or "thread" (of others).
    """
    given = {"dead_on": dead_on, "retry_on": retry_on, "executor": executor, **knobs}
    given |= {"isolate": isolate, "idempotent": idempotent, "transactional": transactional}
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
    code = getattr(_written(handler), "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)
    says = Says(**{word: knobs[word] for word in _SAID if word in knobs})
    try:
        if not is_name(name):
            raise ProcessorInvalid(NAME_RULE)
        executor = says.runs_in(batch, _is_async(handler))
        return Processor(
            name=name,
            handler=handler,
            batch=batch,
            given=declared({knob: value for knob, value in knobs.items() if knob not in _SAID}),
            payload=_payload(handler, Batch if batch else Action, frame),
            where=where,
            built_in=built_in,
            on_error=says.on_error(),
            isolate=says.isolates(batch),
            executor=executor,
            memory_mb=says.memory_of(executor),
        )
    except ProcessorInvalid as wrong:
        said = " ".join(" ".join(map(str, wrong.args)).split())
        raise ProcessorInvalid(f"{name!r} at {where}: {said}") from None


def is_name(name: object) -> bool:
    """May a processor be called that?"""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name.isprintable()


def _written(handler: Handler) -> Any:
    """The function that somebody wrote, below partial(), wraps(), methods and objects that can be called."""
    for _ in range(100):
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        elif inspect.ismethod(handler):
            handler = handler.__func__
        elif inspect.isroutine(handler) or inspect.isclass(handler) or not callable(handler):
            break
        else:
            handler = type(handler).__call__
    return handler


def _is_async(handler: Handler) -> bool:
    """Also of a wrapper that is not, and only passes on the coroutine of what it wraps."""
    return any(map(inspect.iscoroutinefunction, (*_callables(handler), _written(handler))))


def _callables(handler: Handler) -> tuple[Any, Any]:
    """What is called: a function, or the `__call__` of an object."""
    return handler, type(handler).__call__ if callable(handler) else None


def _payload(handler: Handler, holder: type, frame: types.FrameType | None) -> TypeAdapter[Any] | None:
    """The type inside `Action[...]` or `Batch[...]` of the first parameter."""
    first = _first_parameter(handler, holder)
    annotation = _resolved(handler, first, frame)
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if annotation in (inspect.Parameter.empty, Any):
        return None
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is not holder:
        raise ProcessorInvalid(
            f"the handler is called with one {holder.__name__}, but its parameter "
            f"{first.name!r} is annotated {annotation!r}"
        )
    if not arguments or arguments[0] is Any or isinstance(arguments[0], typing.TypeVar):
        return None
    try:
        adapter = TypeAdapter(arguments[0])
        adapter.rebuild(raise_errors=True)  # only of a model that could not be finished where it was defined
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError) as wrong:
        raise ProcessorInvalid(f"pydantic cannot check a payload of type {arguments[0]!r}: {wrong}") from None
    return adapter


def _first_parameter(handler: Handler, holder: type) -> inspect.Parameter:
    """The one that is given. ProcessorInvalid for a handler that cannot be called with one argument."""
    if any(is_kind(each) for is_kind in _GENERATORS for each in _callables(handler)):
        raise ProcessorInvalid("the handler has a `yield`: calling it would not run it")
    try:
        parameters = list(inspect.signature(handler, follow_wrapped=False).parameters.values())
        within = list(inspect.signature(handler).parameters.values())
    except (NameError, TypeError, ValueError) as wrong:
        raise ProcessorInvalid(f"the handler cannot be called: {wrong}") from None
    called = f"it is called with one {holder.__name__}"
    if not parameters:
        raise ProcessorInvalid(f"the handler takes no argument; {called}")
    first, *others = sorted(parameters, key=lambda each: each.kind not in _BY_PLACE)
    if first.kind not in _BY_PLACE:
        raise ProcessorInvalid(f"the handler takes {first.name!r} only by name; {called}")
    for other in others:
        if other.default is other.empty and other.kind not in (other.VAR_POSITIONAL, other.VAR_KEYWORD):
            raise ProcessorInvalid(f"the handler takes {other.name!r}, too; {called}")
    # A wrapper passes on what it gets: what is annotated stands inside.
    return within[0] if within and first.annotation is first.empty else first


def _resolved(handler: Handler, parameter: inspect.Parameter, frame: types.FrameType | None) -> Any:
    """The annotation, also when it is text and names something local to the declaring function."""
    if parameter.annotation is parameter.empty:
        return parameter.annotation
    names = {**getattr(_written(handler), "__globals__", {}), **(frame.f_locals if frame else {})}
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)[parameter.name]
    except (ArithmeticError, AttributeError, LookupError, NameError, SyntaxError, TypeError, ValueError) as wrong:
        raise ProcessorInvalid(f"the annotation {parameter.annotation!r} cannot be resolved: {wrong}") from None


def _first_errors(wrong: ValidationError) -> str:
    """The first three errors, without the values: a payload may hold secrets."""
    errors = wrong.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in errors[:3]]
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return "; ".join(said) + more
