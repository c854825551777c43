"""What the first parameter of a handler says of its payloads: the type inside `Action[...]` or `Batch[...]`.

Annotations are resolved here, at the declaration, so that what cannot be resolved is an error at the start, with file
and line, and not at the first row. The same type gives the JSON schema that producers can be held to.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
import warnings
from collections.abc import Callable
from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from actiond.words.errors import ProcessorInvalid

_BY_PLACE = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_GENERATORS = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def written(handler: Callable[..., Any]) -> Any:
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


def is_async(handler: Callable[..., Any]) -> bool:
    """Also of a wrapper that is not, and only passes on the coroutine of what it wraps."""
    return any(map(inspect.iscoroutinefunction, (*_callables(handler), written(handler))))


def type_of(handler: Callable[..., Any], holder: type, frame: types.FrameType | None) -> Any:
    """Of a payload; Any: any JSON will do. ProcessorInvalid for a handler that no `holder` can be given to."""
    first = _first_parameter(handler, holder)
    annotation = _resolved(handler, first, frame)
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if annotation in (inspect.Parameter.empty, Any):
        return Any
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is not holder:
        raise ProcessorInvalid(
            f"the handler is called with one {holder.__name__}, but its parameter "
            f"{first.name!r} is annotated {annotation!r}"
        )
    return Any if not arguments or isinstance(arguments[0], typing.TypeVar) else arguments[0]


def adapter(of: Any) -> TypeAdapter[Any] | None:
    """Checks a payload of this type; None: any JSON will do. ProcessorInvalid for one that pydantic does not know."""
    if of is Any:
        return None
    try:
        made: TypeAdapter[Any] = TypeAdapter(of)
        made.rebuild(raise_errors=True)  # only of a model that could not be finished where it was defined
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError) as wrong:
        raise ProcessorInvalid(f"pydantic cannot check a payload of type {of!r}: {wrong}") from None
    return made


def schema(of: TypeAdapter[Any] | None) -> dict[str, Any] | None:
    """As JSON schema (2020-12); None: any JSON will do, or a schema cannot say what will."""
    if of is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a default that is no JSON: it is left out
            return of.json_schema()
    except PydanticUserError:  # a validator in Python alone, for instance
        return None


def first_errors(wrong: ValidationError) -> str:
    """The first three errors, without the values: a payload may hold secrets."""
    errors = wrong.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in errors[:3]]
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return "; ".join(said) + more


def _callables(handler: Callable[..., Any]) -> tuple[Any, Any]:
    """What is called: a function, or the `__call__` of an object."""
    return handler, type(handler).__call__ if callable(handler) else None


def _first_parameter(handler: Callable[..., Any], holder: type) -> inspect.Parameter:
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


def _resolved(handler: Callable[..., Any], parameter: inspect.Parameter, frame: types.FrameType | None) -> Any:
    """The annotation, also when it is text and names something local to the declaring function."""
    if parameter.annotation is parameter.empty:
        return parameter.annotation
    names = {**getattr(written(handler), "__globals__", {}), **(frame.f_locals if frame else {})}
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)[parameter.name]
    except (ArithmeticError, AttributeError, LookupError, NameError, SyntaxError, TypeError, ValueError) as wrong:
        raise ProcessorInvalid(f"the annotation {parameter.annotation!r} cannot be resolved: {wrong}") from None
