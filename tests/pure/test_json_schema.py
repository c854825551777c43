"""contract/json_schema: what does not fit is told by field, and never by value; nothing is fetched."""

from __future__ import annotations

import sys
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from actiond.contract.json_schema import checker
from actiond.contract.payload import schema
from actiond.words.errors import OperatorError, PayloadInvalid

SECRET = "hunter2-4711"


class Item(BaseModel):
    name: str = Field(max_length=5)
    price: int = Field(ge=0)


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    to: str
    items: list[Item]
    way: Literal["post", "mail"] = "post"
    note: str | None = None


FITS = {"to": "ada", "items": [{"name": "tea", "price": 3}]}


def of(model: Any) -> Any:
    made = schema(TypeAdapter(model))
    assert made is not None
    return checker(made)


def test_what_fits_is_left_in_peace() -> None:
    of(Order)(FITS)
    of(Order)(FITS | {"way": "mail", "note": None})
    of(int)(7)
    of(Any)({"anything": []})


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "payload: lacks 'to', 'items'"),
        ([], "payload: should be of type object"),
        (FITS | {"to": [SECRET]}, "to: should be of type string"),
        (FITS | {SECRET: 1}, f"payload: nobody knows '{SECRET}'"),
        (FITS | {"items": [{"name": SECRET, "price": 1}]}, "items.0.name: should keep maxLength 5"),
        (FITS | {"items": [{"name": "x", "price": -4711}]}, "items.0.price: should keep minimum 0"),
        (FITS | {"way": SECRET}, 'way: should keep enum ["post", "mail"]'),
        (FITS | {"note": 4711}, "note: fits nothing that it may be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_is_told_by_field_and_never_by_value(payload: Any, said: str) -> None:
    with pytest.raises(PayloadInvalid) as wrong:
        of(Order)(payload)
    assert str(wrong.value) == f"The payload does not fit: {said}"
    assert SECRET not in str(wrong.value) or SECRET in said
    assert "4711" not in str(wrong.value).replace(SECRET, "")


def test_three_errors_are_told_and_the_rest_counted() -> None:
    items = [{"name": 1, "price": "x"} for _ in range(5)]
    with pytest.raises(
        PayloadInvalid, match=r"items\.0\.name: .*; items\.0\.price: .*; items\.1\.name.*\(and 7 more\)"
    ):
        of(Order)(FITS | {"items": items})


class Tree(BaseModel):
    branches: list[Tree] = []


def test_a_model_of_itself_is_followed_as_deep_as_it_goes() -> None:
    of(Tree)({"branches": [{"branches": []}]})
    with pytest.raises(PayloadInvalid, match=r"branches\.0\.branches: should be of type array"):
        of(Tree)({"branches": [{"branches": 7}]})
    deep: Any = {"branches": []}
    for _ in range(5_000):
        deep = {"branches": [deep]}
    with pytest.raises(PayloadInvalid, match="nested too deeply"):
        of(Tree)(deep)


def test_a_schema_from_a_database_makes_nobody_fetch_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []

    def fetch(*asked: Any, **_: Any) -> None:
        fetched.append(asked)
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", fetch)
    for reference in ("http://169.254.1.1/schema", "file:///etc/passwd", "#/$defs/nobody"):
        with pytest.raises(OperatorError, match="refers to what is not in it"):
            checker({"$ref": reference})(1)
    assert fetched == []


def test_what_is_no_schema_is_told() -> None:
    with pytest.raises(OperatorError, match="is no JSON schema"):
        checker({"type": "nonsense"})


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(OperatorError, match=r"pip install 'actiond\[validate\]'"):
        checker({})
