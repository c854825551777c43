"""words/json_text: everything that comes out can be stored as jsonb, everything else is refused with a reason."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actiond.words.json_text import dumps, loads

#: What jsonb can hold: no NUL, no half of a surrogate pair, no NaN.
STORABLE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
STORABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STORABLE_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(STORABLE_TEXT, inner),
    max_leaves=20,
)


@settings(max_examples=50)
@given(STORABLE)
def test_what_can_be_stored_comes_back_as_it_was(value: Any) -> None:
    assert loads(dumps(value)) == value


@settings(max_examples=20)
@given(STORABLE)
def test_the_text_is_json_without_spare_spaces(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert dumps({"a": [1, 2]}) == '{"a":[1,2]}'
    assert dumps("é漢😀") == '"é漢😀"'


def test_none_is_null() -> None:
    assert dumps(None) == "null"
    assert loads("null") is None


@pytest.mark.parametrize(
    "value",
    ["\x00", "a\x00b", {"a\x00": 1}, ["\\\x00"], {"deep": [{"er": "\x00"}]}, "\\\\\x00"],
    ids=ascii,
)
def test_a_nul_is_refused_wherever_it_stands(value: Any) -> None:
    with pytest.raises(ValueError, match="NUL"):
        dumps(value)


@pytest.mark.parametrize(
    "value", ["\\u0000", "\\\\u0000", "\\\\\\u0000", {"\\u0000": "u0000"}, "u0000", "\\", "\u0001"], ids=ascii
)
def test_what_only_looks_like_a_nul_is_stored(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(st.text(st.sampled_from("\\u0\x00a"), max_size=12))
def test_a_text_of_backslashes_is_refused_exactly_if_it_holds_a_nul(text: str) -> None:
    if "\x00" in text:
        with pytest.raises(ValueError, match="NUL"):
            dumps(text)
    else:
        assert loads(dumps(text)) == text


@pytest.mark.parametrize("value", ["\ud83d", "a\udc00", {"\ud800": 1}, ["é\udfff"]], ids=ascii)
def test_half_a_surrogate_pair_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        dumps(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}], ids=str)
def test_numbers_that_json_does_not_have_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps(value)


@pytest.mark.parametrize("value", [Ellipsis, {1, 2}, b"x", datetime(2026, 1, 1, tzinfo=UTC), {(1, 2): 3}, 1j], ids=str)
def test_what_is_no_json_is_a_type_error_that_names_it(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_a_circle_and_a_number_of_too_many_digits_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        dumps(circle)
    with pytest.raises(ValueError, match="digits"):
        dumps(10**5000)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_too_deep_a_value_is_a_value_error_both_ways() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        dumps(nested(100_000))
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 100_000 + "]" * 100_000)


def test_mappings_that_are_dicts_are_stored() -> None:
    assert dumps(OrderedDict(b=1, a=2)) == '{"b":1,"a":2}'


class Moody(dict[str, Any]):
    """A lazy mapping whose source has gone away."""

    raises: type[BaseException] = RuntimeError

    def items(self) -> Any:
        raise self.raises("connection closed")


@pytest.mark.parametrize("raises", [RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_value_whose_own_code_fails_is_refused_like_any_other(raises: type[BaseException]) -> None:
    value = Moody(a=1)
    value.raises = raises
    with pytest.raises(ValueError, match=f"{raises.__name__}: connection closed"):
        dumps(value)


@pytest.mark.parametrize("text", ["", "{", "nope", '{"a":}', "1 2", "[" + "9" * 5000 + "]"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
