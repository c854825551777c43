"""What an import would change: rules, without a file and without a database."""

from __future__ import annotations

from typing import Any

import pytest

from actiond.postgres import plan_edit, schedule_edit
from actiond.postgres.config_kinds import KINDS, PLANS, PROCESSORS, SCHEDULES
from actiond.rules.config_diff import Change, Difference, How, Stays, compare
from actiond.rules.shapes import HIDDEN, hidden, hidden_constants, revealed
from actiond.words import duration

NIGHTLY = ("nightly", "report")


def difference(wanted: dict[str, Any], found: dict[str, Any], *, remove: bool = False) -> Difference:
    return compare(KINDS, wanted, found, remove=remove)


def changes(wanted: dict[str, Any], found: dict[str, Any], *, remove: bool = False) -> list[tuple[Any, ...]]:
    return [
        (each.how.value, each.section, each.key, each.before, each.after)
        for each in difference(wanted, found, remove=remove).changes
    ]


def test_the_same_is_no_difference() -> None:
    state = {"schedules": {NIGHTLY: {"cron": "@daily", "data": {"a": 1, "b": [True, None]}}}}
    again = {"schedules": {NIGHTLY: {"data": {"b": [True, None], "a": 1}, "cron": "@daily"}}}
    assert changes(again, state) == []
    assert changes({}, state) == []


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (1, "1"), (None, False), ([1], [True]), ({"a": 1}, {"a": 1.5})], ids=repr
)
def test_what_python_takes_for_equal_may_differ(one: Any, other: Any) -> None:
    (change,) = changes({"schedules": {NIGHTLY: {"data": other}}}, {"schedules": {NIGHTLY: {"data": one}}})
    assert change == ("change", "schedules", NIGHTLY, {"data": one}, {"data": other})


def test_null_is_not_the_same_as_nothing() -> None:
    """A schedule with data null inserts an action; one without data wakes."""
    (change,) = changes({"schedules": {NIGHTLY: {}}}, {"schedules": {NIGHTLY: {"data": None}}})
    assert change == ("change", "schedules", NIGHTLY, {"data": None}, {})


def test_what_a_schedule_does_not_say_is_as_by_default() -> None:
    found = {"schedules": {NIGHTLY: {"cron": "@daily", "overlap": "allow"}}}
    assert changes({"schedules": {NIGHTLY: {"cron": "@hourly"}}}, found) == [
        ("change", "schedules", NIGHTLY, {"cron": "@daily", "overlap": "allow"}, {"cron": "@hourly"})
    ]


def test_what_is_not_in_the_file_stays_unless_it_is_to_go() -> None:
    found = {"plans": {("a",): {"source": "x"}, ("b",): {"source": "y"}}, "schedules": {NIGHTLY: {"cron": "@daily"}}}
    wanted = {"plans": {("b",): {"source": "y"}}}
    assert changes(wanted, found) == []
    assert difference(wanted, found).stays == (Stays("plans", ("a",)),)
    assert changes(wanted, found, remove=True) == [("remove", "plans", ("a",), {"source": "x"}, {})]
    assert difference(wanted, found, remove=True).stays == ()


def test_a_section_that_is_not_in_the_file_is_left_alone_one_that_is_empty_is_not() -> None:
    found = {"plans": {("a",): {"source": "x"}}, "schedules": {NIGHTLY: {"cron": "@daily"}}}
    assert changes({"schedules": {}}, found, remove=True) == [
        ("remove", "schedules", NIGHTLY, {"cron": "@daily"}, {}),
    ]


def test_each_override_is_a_thing_of_its_own() -> None:
    found = {"processors": {("p",): {"enabled": False, "batch_size": 5}, ("q",): {}}}
    wanted = {"processors": {("p",): {"batch_size": 7}}}
    assert changes(wanted, found) == [("change", "processors", ("p",), {"batch_size": 5}, {"batch_size": 7})]
    assert difference(wanted, found).stays == (Stays("processors", ("p",), ("enabled",)),)
    assert changes(wanted, found, remove=True) == [
        ("change", "processors", ("p",), {"enabled": False, "batch_size": 5}, {"batch_size": 7})
    ]
    assert changes({"processors": {}}, found, remove=True) == [
        ("remove", "processors", ("p",), {"enabled": False, "batch_size": 5}, {})
    ]


def test_a_processor_without_overrides_is_nothing_to_add() -> None:
    assert changes({"processors": {("new",): {}}}, {"processors": {}}) == []
    assert changes({"processors": {("new",): {"retries": 1}}}, {"processors": {}}) == [
        ("add", "processors", ("new",), {}, {"retries": 1})
    ]


def test_the_switch_of_a_name_reaches_rows_that_the_file_does_not_have() -> None:
    here = {("n", "p"): {"cron": "@daily"}, ("n", "q"): {"cron": "@hourly"}, ("other", "p"): {"cron": "@daily"}}
    wanted = {"schedules": {("n", "p"): {"cron": "@daily", "name_enabled": False}}}
    assert [(each[2], each[4]) for each in changes(wanted, {"schedules": here})] == [
        (("n", "p"), {"name_enabled": False}),
        (("n", "q"), {"name_enabled": False}),
    ]
    off = {key: {**fields, "name_enabled": False} for key, fields in here.items()}
    on = {"schedules": {("n", "p"): {"cron": "@daily"}}}
    assert [(each[2], each[3], each[4]) for each in changes(on, {"schedules": off})] == [
        (("n", "p"), {"name_enabled": False}, {}),
        (("n", "q"), {"name_enabled": False}, {}),
    ]


def test_the_order_is_that_of_the_sections_and_the_names() -> None:
    wanted = {"plans": {("b",): {}, ("a",): {}}, "schedules": {("z", "p"): {}, ("z", "a"): {}}, "processors": {}}
    assert [each[2] for each in changes(wanted, {})] == [("z", "a"), ("z", "p"), ("a",), ("b",)]


def test_two_differences_are_the_same_if_they_do_the_same() -> None:
    def one(data: Any) -> Difference:
        return Difference((Change(How.CHANGE, "schedules", NIGHTLY, {"data": data}, {"data": {"b": 1, "a": 2}}),), ())

    assert one(1).same_as(one(1))
    assert not one(1).same_as(one(True))
    assert not one(1).same_as(Difference((), ()))


def test_every_value_of_a_new_row_has_its_field_in_the_file() -> None:
    """A column that the commands set and a file does not know would be lost between two databases."""
    assert {each.name for each in SCHEDULES.fields} - {"name_enabled"} == set(schedule_edit.NEW)
    assert {each.name for each in PLANS.fields} == set(plan_edit.NEW)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.section)
def test_a_default_is_not_written_and_not_a_change(kind: Any) -> None:
    for field in kind.fields:
        if field.default is not None:
            shown = field.shape.shown(field.default)
            assert repr(field.of_column(field.default)) == repr(field.of_file(shown))


@pytest.mark.parametrize(
    ("knob", "value", "shown", "stored"),
    [
        ("timeout", "90 s", "1 min 30 s", "90 s"),
        ("timeout", "1.5 h", "1 h 30 min", "5400 s"),
        ("timeout", "0.25 s", "0.25 s", "0.25 s"),
        ("retry_interval", "0 s", "0 s", "0 s"),
        ("rate", "100 / min", "100/min", "100/min"),
        ("rate", "none", "none", "none"),
        ("breaker", 1, 1.0, "1.0"),
        ("enabled", False, False, "false"),
        ("batch_size", 50, 50, "50"),
        ("config", {"a": [1]}, {"a": [1]}, '{"a": [1]}'),
    ],
)
def test_a_knob_has_one_way_to_be_written(knob: str, value: Any, shown: Any, stored: str) -> None:
    field = PROCESSORS.field(knob)
    assert field is not None
    assert repr(field.of_file(value)) == repr(shown)
    assert field.column({knob: shown}) == stored


def test_a_knob_that_was_stored_beyond_its_bounds_is_shown_as_it_is() -> None:
    field = PROCESSORS.field("retries")
    assert field is not None
    assert field.of_column(2_100_000_000) == 2_100_000_000


@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0, 59.0, 60.0, 90.5, 3600.0, 86399.0, 86400.0, 31622400.0, 1e9])
def test_a_duration_is_written_for_people_and_read_back_exactly(amount: float) -> None:
    assert duration.seconds(duration.written(amount)) == amount


def test_what_is_not_shown_is_hidden_and_comes_back() -> None:
    stored = {"user": "ada", "Password": "x", "deep": [{"token": 7}, 1]}
    shown = hidden(stored, frozenset({"password", "token"}))
    assert shown == {"user": "ada", "Password": HIDDEN, "deep": [{"token": HIDDEN}, 1]}
    assert revealed({**shown, "user": "bob"}, stored) == {**stored, "user": "bob"}
    with pytest.raises(ValueError, match="write the value"):
        revealed(shown, {"user": "ada"})
    with pytest.raises(ValueError, match="write the value"):
        revealed([HIDDEN], [])


def test_constants_of_a_mapping_are_hidden_names_of_columns_are_not() -> None:
    mapping = {"who.token": {"const": "x"}, "token": "token_column", "kind": {"const": {"token": "y", "a": 1}}}
    assert hidden_constants(mapping, frozenset({"token"})) == {
        "who.token": {"const": HIDDEN},
        "token": "token_column",
        "kind": {"const": {"token": HIDDEN, "a": 1}},
    }
