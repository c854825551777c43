"""contract/versions: a row of any version that is known comes to fit the model; one of a newer version is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from actiond import Action, Batch, ProcessorInvalid, batch_processor, processor, versioned
from actiond.testing import run_batch
from actiond.words.errors import PayloadInvalid, PayloadNewer


def split_name(data: dict[str, Any]) -> dict[str, Any]:
    first, _, last = data.pop("name").partition(" ")
    return {**data, "first": first, "last": last}


def add_country(data: dict[str, Any]) -> dict[str, Any]:
    return {"country": "AT", **data}


@versioned(split_name, add_country)
class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    first: str
    last: str
    country: str


@processor("greet")
async def greet(action: Action[Customer]) -> str:
    return f"{action.data.first} {action.data.last} in {action.data.country}"


V1 = {"name": "Ada Lovelace"}
V2 = {"$version": 2, "first": "Ada", "last": "Lovelace"}
V3 = {"$version": 3, "first": "Ada", "last": "Lovelace", "country": "UK"}


@pytest.mark.parametrize(
    ("written", "country"),
    [(V1, "AT"), ({"$version": 1, **V1}, "AT"), (V2, "AT"), (V3, "UK")],
    ids=["unsaid", "v1", "v2", "v3"],
)
def test_each_version_comes_to_fit(written: dict[str, Any], country: str) -> None:
    assert greet.decode(json.dumps(written)) == Customer(first="Ada", last="Lovelace", country=country)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({**V3, "$version": 0}, r"\$version: should be a whole number"),
        ({**V3, "$version": "3"}, r"\$version: should be a whole number"),
        ({**V3, "$version": True}, r"\$version: should be a whole number"),
        ({**V3, "$version": None}, r"\$version: should be a whole number"),
        ({**V3, "$version": 3.0}, r"\$version: should be a whole number"),
        ([1], "should be a valid dictionary|Input should be an object"),
        ({"$version": 3, "first": "Ada"}, "last: Field required"),
        ({**V3, "age": 36}, "age: Extra inputs"),
    ],
)
def test_what_does_not_fit_any_is_refused(written: Any, said: str) -> None:
    with pytest.raises(PayloadInvalid, match=said) as refused:
        greet.decode(json.dumps(written))
    assert not isinstance(refused.value, PayloadNewer)


def test_a_newer_one_is_told_apart() -> None:
    with pytest.raises(
        PayloadNewer, match="newer than this program: it has version 4, and the last one known here is 3"
    ):
        greet.decode(json.dumps({**V3, "$version": 4}))


async def test_of_a_batch_each_row_comes_from_its_own_version_and_a_newer_one_is_kept() -> None:
    seen = []

    @batch_processor("greet_all")
    async def greet_all(batch: Batch[Customer]) -> None:
        seen.extend(action.data.country for action in batch)
        batch.complete()

    ended = await run_batch(greet_all, [V1, {"$version": 9}, V3, {"$version": 2, "first": 7}, {"nam": "Ada"}])
    assert seen == ["AT", "UK"]
    assert [each.kind for each in ended] == ["completed", "retried", "completed", "failed", "failed"]
    assert ended[1].retries_left is None  # nothing was charged
    assert str(ended[1].error).startswith("The payload is newer than this program")
    assert ended[4].error == "KeyError: 'name'"


@pytest.mark.parametrize("made", [None, [1], "text"], ids=repr)
def test_a_function_that_gives_no_object_is_named_by_what_it_gave(made: Any) -> None:
    @versioned(lambda data: made)
    class Odd(BaseModel):
        x: int = 0

    def handler(action: Action[Odd]) -> None: ...

    with pytest.raises(PayloadInvalid, match=f"version 1 was brought to {type(made).__name__}"):
        processor("a")(handler).decode("{}")


def test_the_schema_says_what_is_written_now() -> None:
    schema = json.loads(greet.stored()[2] or "")
    assert schema["properties"]["$version"] == {"const": 3, "title": "Version"}
    assert schema["required"] == ["first", "last", "country", "$version"]


def test_the_first_version_need_not_be_said() -> None:
    @versioned()
    class Young(BaseModel):
        x: int = 0

    def handler(action: Action[Young]) -> None: ...

    young = processor("a")(handler)
    schema = json.loads(young.stored()[2] or "")
    assert schema["properties"]["$version"]["const"] == 1
    assert "required" not in schema
    assert young.decode('{"x": 1}') == young.decode('{"x": 1, "$version": 1}') == Young(x=1)


def test_who_asks_by_the_processor_says_its_version() -> None:
    assert greet.asked_with({"first": "Ada"}) == {"$version": 3, "first": "Ada"}
    assert greet.asked_with({"$version": 1, "name": "Ada"}) == {"$version": 1, "name": "Ada"}
    assert greet.asked_with([1]) == [1]


def test_a_model_without_versions_is_as_it_was() -> None:
    class Plain(BaseModel):
        model_config = ConfigDict(extra="allow")

    def handler(action: Action[Plain]) -> None: ...

    plain = processor("a")(handler)
    assert plain.versions is None
    assert plain.asked_with({"a": 1}) == {"a": 1}
    assert plain.decode('{"$version": 7}').model_extra == {"$version": 7}


def test_what_is_no_function_and_no_class_is_refused() -> None:
    with pytest.raises(ProcessorInvalid, match="versioned wants functions, not 3"):
        versioned(3)(Customer)  # type: ignore[arg-type]
    with pytest.raises(ProcessorInvalid, match="versioned is for a class"):
        versioned()(split_name)  # type: ignore[type-var]
