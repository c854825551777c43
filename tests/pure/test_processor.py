"""contract/processor: what can be declared, what cannot and where that is said; payloads."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pytest
import typing_extensions
from pydantic import BaseModel, Field, field_validator
from pydantic_core import core_schema

from actiond import (
    ALLOW_RETRY,
    SUDDEN_DEATH,
    Action,
    Batch,
    Processor,
    ProcessorInvalid,
    batch_processor,
    processor,
)
from actiond.contract.processor import EACH_CONCURRENCY
from actiond.words.errors import PayloadInvalid

if TYPE_CHECKING:
    from nowhere import Unknown

T = TypeVar("T")


class Welcome(BaseModel):
    to: str
    times: int = 1


@dataclass
class Point:
    x: int


class Mapped(typing_extensions.TypedDict):
    x: int


class OldMapped(typing.TypedDict):  # pydantic refuses this one before Python 3.12
    x: int


class Unfinished(BaseModel):
    other: Unknown


def here(function: Callable[..., Any]) -> str:
    """file:line of a function."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


# Declaring.


def test_a_declared_function_can_still_be_called() -> None:
    @processor("mail", retries=5)
    def welcome(action: Action[Welcome]) -> str:
        """Docs."""
        return f"to {action}"

    assert isinstance(welcome, Processor)
    assert welcome("a") == "to a"  # type: ignore[arg-type]
    assert welcome.name == "mail"
    assert not welcome.batch
    assert not welcome.is_async
    assert welcome.where == here(welcome.handler)


def test_async_functions_and_what_wraps_them_run_in_the_loop() -> None:
    @batch_processor("mail")
    async def welcome(batch: Batch[Any]) -> None: ...

    assert welcome.batch
    assert welcome.is_async
    assert processor("partial")(functools.partial(handler_with_two, other=1)).is_async

    @functools.wraps(handler_with_two)
    async def wrapped(action: Any) -> None: ...

    assert processor("wrapped")(wrapped).is_async
    assert processor("passed_on")(passed_on(Callables().method)).is_async
    assert not processor("sync")(passed_on(lambda action: None)).is_async


def passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """A wrapper that is not async itself."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


async def plain(action: Action[Welcome]) -> None: ...
async def handler_with_two(action: Action[Welcome], other: int) -> None: ...


class Callables:
    async def __call__(self, action: Action[Welcome]) -> None: ...

    async def method(self, action: Action[Welcome]) -> None: ...


def test_objects_with_an_async_call_run_in_the_loop() -> None:
    assert processor("object")(Callables()).is_async
    assert processor("method")(Callables().method).is_async


def test_one_at_a_time_and_batches_have_defaults_of_their_own() -> None:
    one, many = processor("one")(lambda action: None), batch_processor("many")(lambda batch: None)
    assert one.policy.concurrency == EACH_CONCURRENCY
    assert many.policy.concurrency == 1
    assert processor("one", concurrency=3)(lambda action: None).policy.concurrency == 3


def test_what_is_stored_is_what_was_declared_and_what_holds_otherwise() -> None:
    declared, others, payload, redact = processor("a", retries=5, timeout="1 min")(lambda action: None).stored()
    stored, built_in = json.loads(declared), json.loads(others)
    assert (payload, redact) == (None, ())
    assert stored == {"retries": 5, "timeout": "60 s"}
    assert built_in["retries"] == 3
    assert built_in["concurrency"] == EACH_CONCURRENCY


class Card(BaseModel):
    number: str
    valid: bool = True


def test_the_schema_of_the_payload_is_stored_for_producers() -> None:
    def handler(batch: Batch[Card]) -> None: ...

    _, _, payload, redact = batch_processor("a", redact=["Number", "number", "a"])(handler).stored()
    schema = json.loads(payload or "")
    assert schema["required"] == ["number"]
    assert schema["properties"]["valid"] == {"default": True, "title": "Valid", "type": "boolean"}
    assert redact == ("a", "number")


class Odd:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        return core_schema.no_info_plain_validator_function(lambda value: value)


def test_a_payload_that_no_schema_can_describe_is_checked_all_the_same() -> None:
    def handler(action: Action[Odd]) -> None: ...

    assert processor("a")(handler).stored()[2] is None


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"redact": "card"}, "redact: names of fields, as in"),
        ({"redact": ("card", "")}, "redact: names of fields"),
        ({"redact": 7}, "redact: names of fields"),
        ({"run_as": ""}, "run_as: the name of a role"),
        ({"run_as": "none"}, "run_as: the name of a role"),
        ({"run_as": 7}, "run_as: the name of a role"),
    ],
    ids=str,
)
def test_what_is_no_field_and_no_role_is_refused_with_file_and_line(knobs: dict[str, Any], said: str) -> None:
    def handler(batch: Batch[Any]) -> None: ...

    with pytest.raises(ProcessorInvalid, match=said) as refused:
        batch_processor("a", **knobs)(handler)
    assert here(handler) in str(refused.value)


def test_a_role_without_a_transaction_would_say_nothing_and_is_refused() -> None:
    with pytest.raises(ProcessorInvalid, match="only batch processors"):
        processor("a", run_as="billing")(lambda action: None)


@pytest.mark.parametrize("name", ["", "a,b", "a b", "a\tb", "a\u00a0b", "x" * 256], ids=ascii)
def test_a_wrong_name_is_refused_with_file_and_line(name: str) -> None:
    def handler(action: Action[Any]) -> None: ...

    with pytest.raises(ProcessorInvalid, match="a name has 1 to 255 characters") as refused:
        processor(name)(handler)
    assert here(handler) in str(refused.value)


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800", None, 5, b"a"], ids=ascii)
def test_a_name_that_postgres_could_not_store_is_refused(name: Any) -> None:
    with pytest.raises(ProcessorInvalid):
        processor(name)(lambda action: None)


def test_a_wrong_knob_is_refused_with_file_and_line() -> None:
    def handler(action: Action[Any]) -> None: ...

    with pytest.raises(ProcessorInvalid, match=re.escape(f"'mail' at {here(handler)}: retries: ")):
        processor("mail", retries=-1)(handler)


# What only the author can say.


def test_exceptions_have_their_price_for_both_kinds_of_processors() -> None:
    one = processor("one", dead_on=ValueError, retries=7)(lambda action: None)
    many = batch_processor("many", dead_on=[KeyError], retry_on=(LookupError, OSError))(lambda batch: None)
    assert one.on_error.behavior(ValueError()) is SUDDEN_DEATH
    assert one.on_error.behavior(KeyError()) is ALLOW_RETRY
    assert many.on_error.behavior(KeyError()) is SUDDEN_DEATH
    assert many.on_error.behavior(IndexError()) is ALLOW_RETRY
    assert processor("plain")(lambda action: None).on_error.behavior(ValueError()) is ALLOW_RETRY
    assert "dead_on" not in one.stored()[0]


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ({"dead_on": ["ValueError"]}, "dead_on: exception classes, not 'ValueError'"),
        ({"dead_on": ValueError, "retry_on": ValueError}, "ValueError cannot be in dead_on and in retry_on"),
        ({"isolate": True}, "isolate=True calls the handler again with actions that it has seen: say idempotent=True"),
        ({"isolate": True, "idempotent": False}, "or transactional=True if it writes only through batch.transaction()"),
        ({"idempotent": True}, "idempotent=True says nothing without isolate=True"),
        ({"transactional": True}, "transactional=True says nothing without isolate=True"),
        ({"isolate": "yes"}, "isolate: True or False, not 'yes'"),
        ({"isolate": True, "idempotent": 1}, "idempotent: True or False, not 1"),
    ],
    ids=str,
)
def test_what_an_author_says_and_cannot_mean_is_refused_with_file_and_line(says: dict[str, Any], said: str) -> None:
    def handler(batch: Batch[Any]) -> None: ...

    with pytest.raises(ProcessorInvalid, match=re.escape(said)) as refused:
        batch_processor("mail", **says)(handler)
    assert f"'mail' at {here(handler)}: " in str(refused.value)


@pytest.mark.parametrize("promise", ["idempotent", "transactional"])
def test_a_handler_that_may_be_called_again_is_isolated(promise: str) -> None:
    says: dict[str, Any] = {"isolate": True, promise: True}
    assert batch_processor("mail", **says)(lambda batch: None).isolate
    assert not batch_processor("mail")(lambda batch: None).isolate


def test_one_action_at_a_time_needs_no_isolation() -> None:
    for says in ({"isolate": True, "idempotent": True}, {"transactional": True}):
        with pytest.raises(ProcessorInvalid, match="here each action stands alone"):
            processor("mail", **says)(lambda action: None)


# Annotations.


def test_the_payload_is_what_stands_in_brackets() -> None:
    def one(action: Action[Welcome]) -> None: ...
    def many(batch: Batch[Welcome]) -> None: ...

    for declared in (processor("one")(one), batch_processor("many")(many)):
        assert declared.decode('{"to": "a"}') == Welcome(to="a")


@pytest.mark.parametrize("wrapped", ["partial", "passed on", "renamed", "object", "method"])
def test_the_payload_is_found_through_whatever_wraps_the_handler(wrapped: str) -> None:
    @functools.wraps(plain)
    def renamed(something) -> Any: ...  # type: ignore[no-untyped-def]

    handler: Callable[..., Any] = {
        "partial": functools.partial(handler_with_two, other=1),
        "passed on": passed_on(Callables().method),
        "renamed": renamed,
        "object": Callables(),
        "method": Callables().method,
    }[wrapped]
    declared = processor("mail")(handler)
    assert declared.decode('{"to": "a"}') == Welcome(to="a")
    assert re.fullmatch(r".*test_processor\.py:\d+", declared.where)


def test_what_pydantic_is_told_beside_the_type_counts() -> None:
    def handler(action: Action[Annotated[int, Field(gt=3)]]) -> None: ...
    def around(action: Annotated[Action[int], "a note"]) -> None: ...

    with pytest.raises(PayloadInvalid, match="greater than 3"):
        processor("a")(handler).decode("2")
    assert processor("a")(around).decode("2") == 2


def test_a_class_of_the_declaring_function_is_found() -> None:
    class Local(BaseModel):
        x: int

    @processor("one")
    def one(action: Action[Local]) -> None: ...

    @batch_processor("many")
    async def many(batch: Batch[list[Local]]) -> None: ...

    assert one.decode('{"x": 1}') == Local(x=1)
    assert many.decode('[{"x": 1}]') == [Local(x=1)]


@pytest.mark.parametrize(
    ("annotation", "data", "value"),
    [
        (Action[Point], '{"x": 1}', Point(1)),
        (Action[Mapped], '{"x": 1}', {"x": 1}),
        (Action[dict[str, int]], '{"x": 1}', {"x": 1}),
        (Action[int | None], "null", None),
        (Action[Decimal], '"1.10"', Decimal("1.10")),
        (Action["Welcome"], '{"to": "a"}', Welcome(to="a")),
        ("Action['Welcome']", '{"to": "a"}', Welcome(to="a")),
    ],
    ids=str,
)
def test_whatever_pydantic_checks_can_be_a_payload(annotation: Any, data: str, value: Any) -> None:
    def handler(action: Any) -> None: ...

    handler.__annotations__["action"] = annotation
    assert processor("a")(handler).decode(data) == value


@pytest.mark.parametrize("annotation", [inspect.Parameter.empty, Any, Action, Action[Any], Action[T]], ids=str)
def test_without_a_type_the_payload_is_json_as_it_is(annotation: Any) -> None:
    def handler(action: Any) -> None: ...

    handler.__annotations__["action"] = annotation
    if annotation is inspect.Parameter.empty:
        del handler.__annotations__["action"]
    declared = processor("a")(handler)
    assert declared.payload is None
    assert declared.decode('{"a": [1, null, "x"]}') == {"a": [1, None, "x"]}


def unresolvable(action: Action[Unknown]) -> None: ...


def no_parameter() -> None: ...
def wrong_holder(action: Batch[Welcome]) -> None: ...
def no_holder(action: Welcome) -> None: ...
def a_union(action: Action[Welcome] | None) -> None: ...
def unknown_part(action: Action[dict[str, Unknown]]) -> None: ...
def unfinished(action: Action[Unfinished]) -> None: ...
def old_mapped(action: Action[OldMapped]) -> None: ...
def cannot_be_checked(action: Action[Callables]) -> None: ...
def two_parameters(action: Action[Welcome], other: int) -> None: ...
def only_by_name(*, action: Action[Welcome]) -> None: ...
def one_by_name(action: Action[Welcome], *, other: int) -> None: ...


def a_generator(action: Action[Welcome]) -> Iterator[None]:
    yield


async def an_async_generator(action: Action[Welcome]) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (unresolvable, "'Action[Unknown]' cannot be resolved: name 'Unknown' is not defined"),
        (unknown_part, "cannot be resolved"),
        (no_parameter, "the handler takes no argument; it is called with one Action"),
        (wrong_holder, "called with one Action, but its parameter 'action' is annotated"),
        (no_holder, "called with one Action, but its parameter 'action' is annotated"),
        (a_union, "called with one Action, but its parameter 'action' is annotated"),
        (cannot_be_checked, "pydantic cannot check a payload of type"),
        (unfinished, "Unknown"),
        pytest.param(old_mapped, "OldMapped", marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="allowed")),
        (two_parameters, "other"),
        (only_by_name, "'action' only by name"),
        (one_by_name, "takes 'other', too"),
        (a_generator, "yield"),
        (an_async_generator, "yield"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_cannot_work_is_refused_at_the_declaration_with_file_and_line(
    handler: Callable[..., Any], said: str
) -> None:
    with pytest.raises(ProcessorInvalid) as refused:
        processor("mail")(handler)
    assert said in str(refused.value)
    assert f"'mail' at {here(handler)}: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "handler", [None, 5, "text", staticmethod(no_parameter)], ids=lambda handler: type(handler).__name__
)
def test_what_cannot_be_called_is_refused(handler: Any) -> None:
    with pytest.raises(ProcessorInvalid, match="'mail' at "):
        processor("mail")(handler)


def test_an_annotation_that_is_no_python_is_refused() -> None:
    def handler(action: Any) -> None: ...

    handler.__annotations__["action"] = "Action["
    with pytest.raises(ProcessorInvalid, match="cannot be resolved"):
        processor("mail")(handler)


# Where it runs.


async def waiting(action: Any) -> None: ...


def at_once(action: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "executor", "chosen"),
    [
        (waiting, None, "loop"),
        (at_once, None, "thread"),
        (waiting, "loop", "loop"),
        (at_once, "loop", "loop"),
        (at_once, "thread", "thread"),
        (waiting, "process", "process"),
        (at_once, "process", "process"),
    ],
)
def test_a_handler_runs_where_its_author_says(handler: Any, executor: str | None, chosen: str) -> None:
    made = processor("mail", executor=executor)(handler)
    assert (made.executor, made.memory_mb) == (chosen, None)
    assert "executor" not in made.given


def test_a_worker_process_may_have_a_limit_of_its_own() -> None:
    assert processor("mail", executor="process", memory_mb=512)(at_once).memory_mb == 512


@pytest.mark.parametrize(
    ("makes", "handler", "says", "said"),
    [
        (processor, at_once, {"executor": "gpu"}, "executor: one of loop, thread, process, not 'gpu'"),
        (processor, at_once, {"executor": 1}, "executor: one of loop, thread, process, not 1"),
        (
            processor,
            waiting,
            {"executor": "thread"},
            "executor='thread' is for plain functions: leave the `async` away",
        ),
        (batch_processor, waiting, {"executor": "process"}, "executor='process' is for @processor, one action a call"),
        (
            processor,
            at_once,
            {"memory_mb": 512},
            "memory_mb is a limit of worker processes: say",
        ),
        (processor, at_once, {"executor": "process", "memory_mb": 1}, "memory_mb: a whole number from 64 to 1,000,000"),
        (processor, at_once, {"executor": "process", "memory_mb": True}, "memory_mb: a whole number"),
        (processor, at_once, {"executor": "process", "memory_mb": "512"}, "memory_mb: a whole number"),
    ],
    ids=["unknown", "a number", "async in a thread", "a batch", "memory of a thread", "too little", "yes", "text"],
)
def test_what_cannot_run_there_is_refused_at_the_declaration(makes: Any, handler: Any, says: Any, said: str) -> None:
    with pytest.raises(ProcessorInvalid) as refused:
        makes("mail", **says)(handler)
    assert said in str(refused.value)
    assert f"'mail' at {here(handler)}: " in str(refused.value)


# Payloads.


@pytest.fixture
def mail() -> Processor:
    @processor("mail")
    def handler(action: Action[Welcome]) -> None: ...

    return handler


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{}", "to: Field required"),
        ('{"to": 7}', "to: Input should be a valid string"),
        ("[]", "payload: Input should be an object"),
        ("null", "payload: Input should be an object"),
        ("{", "payload: Invalid JSON"),
        ("", "payload: Invalid JSON"),
        ("[" * 100_000, "payload: Invalid JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_a_payload_that_does_not_fit_is_told_where(mail: Processor, data: str, said: str) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        mail.decode(data)
    assert said in str(refused.value)


def test_a_value_that_does_not_fit_is_not_repeated(mail: Processor) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        mail.decode('{"to": {"password": "hunter22"}, "times": "swordfish"}')
    assert "hunter22" not in str(refused.value)
    assert "swordfish" not in str(refused.value)
    assert "times" in str(refused.value)


def test_of_many_errors_three_are_told_and_the_others_counted() -> None:
    def handler(action: Action[list[int]]) -> None: ...

    with pytest.raises(PayloadInvalid, match=r"and 7 more") as refused:
        processor("a")(handler).decode(json.dumps(["x"] * 10))
    assert str(refused.value).count("valid integer") == 3


@pytest.mark.parametrize("data", ["{", "", "nope", "[" * 100_000 + "]" * 100_000], ids=lambda text: text[:10])
def test_json_that_cannot_be_read_is_told_without_a_model_too(data: str) -> None:
    with pytest.raises(PayloadInvalid):
        processor("a")(lambda action: None).decode(data)


@pytest.mark.parametrize(
    "value", [0, 2**63, 10**30, -1.5, 1e300, "é 漢 😀", "\\u0000", [], {}, None, {"a": {"b": [1, 2, {}]}}], ids=ascii
)
def test_json_comes_as_it_was_sent(value: Any) -> None:
    assert processor("a")(lambda action: None).decode(json.dumps(value)) == value


def test_a_validator_may_fail_in_its_own_way() -> None:
    class Moody(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def _fail(cls, x: int) -> int:
            raise (ValueError("not this one") if x else ZeroDivisionError("not that one"))

    @processor("a")
    def handler(action: Action[Moody]) -> None: ...

    with pytest.raises(PayloadInvalid, match="x: Value error, not this one"):
        handler.decode('{"x": 1}')
    with pytest.raises(ZeroDivisionError):
        handler.decode('{"x": 0}')


def test_a_batch_size_that_finds_itself_is_for_batches() -> None:
    assert batch_processor("tuned", batch_size="auto")(_takes_a_batch).policy.batch_size == "auto"
    with pytest.raises(ProcessorInvalid, match="batch_size='auto' is for batch processors"):
        processor("each", batch_size="auto")(_takes_an_action)


async def _takes_a_batch(batch: Batch[Any]) -> None: ...


async def _takes_an_action(action: Action[Any]) -> None: ...
