"""contract/policy: every knob, its bounds, and whose word counts."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.contract.policy import KNOBS, Policy, as_stored, declared
from actiond.rules.bounds import Bounds
from actiond.rules.breaker import BreakerPolicy
from actiond.rules.rate import Rate
from actiond.words import duration, json_text
from actiond.words.errors import ProcessorInvalid

DURATIONS = (
    *("retry_interval", "retry_max_interval", "timeout", "start_delay", "breaker_pause", "breaker_max_pause"),
    *("retention_completed", "retention_failed"),
)


def test_what_an_author_writes_is_checked_and_in_seconds() -> None:
    assert declared(
        {
            "retries": 0,
            "retry_interval": "5 min",
            "timeout": timedelta(seconds=30),
            "concurrency": 10,
            "backoff": "fixed",
        }
    ) == {"retries": 0, "retry_interval": 300.0, "timeout": 30.0, "concurrency": 10, "backoff": "fixed"}
    assert declared({}) == {}


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 10_001),
        ("batch_size", 2.5),
        ("batch_size", "10"),
        ("batch_size", True),
        ("batch_size", None),
        ("concurrency", 0),
        ("concurrency", 1001),
        ("global_concurrency", 0),
        ("retries", -1),
        ("retries", 2_000_000_001),
        ("retries", None),
        ("retry_interval", "soon"),
        ("retry_interval", -1),
        ("retry_interval", None),
        ("timeout", 0),
        ("timeout", "0 s"),
        ("timeout", float("inf")),
        ("timeout", 1e-9),
        ("retry_interval", 10**400),
        ("retry_max_interval", 0),
        ("backoff", "linear"),
        ("backoff", None),
        ("history", "some"),
        ("history", ["all"]),
        ("rate", "fast"),
        ("rate", 100),
        ("flag", "two words"),
        ("flag", True),
        ("window", "at night"),
        ("window", "22:00-06:00 Nowhere/Land"),
        ("burst", 0),
        ("breaker", 1.01),
        ("breaker", -0.1),
        ("breaker", True),
        ("breaker", float("nan")),
        ("breaker", None),
        ("breaker_outcomes", 0),
        ("breaker_outcomes", 1001),
        ("breaker_pause", 0),
        ("breaker_max_pause", "0 s"),
        ("retention_completed", "0 s"),
        ("retention_failed", "for ever"),
        ("enabled", 1),
        ("run_on_insert", "no"),
        ("config", None),
        ("config", [1]),
    ],
)
def test_a_wrong_value_is_refused_and_its_knob_is_named(knob: str, value: Any) -> None:
    with pytest.raises(ProcessorInvalid, match=f"{knob}: "):
        declared({knob: value})


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("batch_size", 1),
        ("batch_size", 10_000),
        ("batch_size", "auto"),
        ("concurrency", 1000),
        ("global_concurrency", None),
        ("global_concurrency", 1_000_000),
        ("retries", 0),
        ("start_delay", 0),
        ("timeout", "1 ms"),
        ("config", {"a": 1}),
        ("enabled", False),
        ("rate", None),
        ("rate", "1/s"),
        ("flag", None),
        ("flag", "none"),
        ("window", None),
        ("window", "22:00-06:00"),
        ("burst", None),
        ("burst", 1_000_000),
        ("breaker", 0),
        ("breaker", 1),
        ("breaker_outcomes", 1),
    ],
)
def test_a_value_at_its_bound_is_taken(knob: str, value: Any) -> None:
    assert declared({knob: value}).keys() == {knob}


def test_a_misspelt_knob_is_refused_and_the_right_ones_are_listed() -> None:
    with pytest.raises(ProcessorInvalid, match=r"'retry'.*retries") as refused:
        declared({"retry": 3})
    assert all(knob in str(refused.value) for knob in KNOBS)


def test_the_defaults_are_values_that_an_author_could_write() -> None:
    default = Policy()
    assert declared({knob: getattr(default, knob) for knob in KNOBS}).keys() == set(KNOBS)


def test_an_override_wins_and_an_absent_one_changes_nothing() -> None:
    policy = Policy(retries=5, timeout=10.0)
    changed = policy.overridden({"retries": 0, "timeout": None, "enabled": False, "woken_at": "no knob"})
    assert (changed.retries, changed.timeout, changed.enabled) == (0, 10.0, False)
    assert policy == Policy(retries=5, timeout=10.0)
    assert policy.overridden({}) == policy
    assert policy.overridden(dict.fromkeys(KNOBS)) == policy


def test_the_rules_of_settlement_come_from_the_knobs() -> None:
    policy = Policy(retries=1, retry_interval=2.0, backoff="exponential", retry_max_interval=3.0, history="all")
    rules = policy.rules
    assert (rules.retry.retries, rules.retry.interval_s, rules.retry.backoff) == (1, 2.0, "exponential")
    assert (rules.retry.max_interval_s, rules.history) == (3.0, "all")


def test_the_bounds_of_a_claim_come_from_the_knobs() -> None:
    assert Policy().bounds == Bounds()
    assert not Policy().bounds.at_each_claim
    bounds = Policy(global_concurrency=3, rate="10/s", burst=7, breaker=0.5, breaker_pause=2.0).bounds
    assert bounds == Bounds(3, Rate(10.0, 7), BreakerPolicy(0.5, 20, 2.0, 1800.0))
    assert bounds.at_each_claim
    assert not Policy(breaker=0.5).bounds.at_each_claim  # asked only while it is open


def test_an_operator_can_take_a_declared_rate_and_a_declared_breaker_away() -> None:
    policy = Policy(rate="10/s", breaker=0.5)
    assert policy.overridden({"rate": "none", "breaker": 0.0}).bounds == Bounds()
    assert policy.overridden({"rate": None, "breaker": None}).bounds == policy.bounds


def test_what_is_stored_can_be_read_by_people_and_by_postgres() -> None:
    stored = as_stored(Policy(retry_interval=90.0, timeout=0.5))
    assert stored["retry_interval"] == "90 s"
    assert stored["timeout"] == "0.5 s"
    assert stored.keys() == set(KNOBS) - {
        "global_concurrency",
        "rate",
        "burst",
        "flag",
        "window",
        "retention_completed",
        "retention_failed",
    }


def test_only_what_an_author_gave_is_stored_as_declared() -> None:
    assert as_stored(Policy(retries=5), frozenset({"retries"})) == {"retries": 5}


@given(st.floats(0.001, 1e8))
def test_a_stored_duration_means_what_was_declared(amount_s: float) -> None:
    for knob in DURATIONS:
        stored = as_stored(Policy().overridden(declared({knob: amount_s})))[knob]
        assert duration.seconds(stored) == amount_s
        assert "e" not in stored


@pytest.mark.parametrize("written", ["1 week", "30 d", "12 d 3 h 1 s"])
def test_a_long_duration_is_stored_to_the_second(written: str) -> None:
    stored = as_stored(Policy().overridden(declared({"retry_interval": written})))["retry_interval"]
    assert duration.seconds(stored) == duration.seconds(written)


@pytest.mark.parametrize("config", [MappingProxyType({"a": 1}), {"a": {"b": [1, None]}}], ids=["read-only", "nested"])
def test_a_config_that_is_taken_can_be_stored(config: Any) -> None:
    policy = Policy().overridden(declared({"config": config}))
    assert json_text.loads(json_text.dumps(as_stored(policy)["config"])) == dict(config)


@pytest.mark.parametrize(
    "config",
    [{"at": timedelta(1)}, {"x": object()}, {"x": float("nan")}, {"x": "\x00"}, {(1, 2): 3}],
    ids=lambda config: str(next(iter(config.values())))[:10].encode("unicode_escape").decode(),
)
def test_a_config_that_cannot_be_stored_is_refused_at_the_declaration(config: Any) -> None:
    with pytest.raises(ProcessorInvalid, match="config: "):
        declared({"config": config})


def test_a_config_is_as_a_handler_would_read_it_from_the_database_and_nobody_changes_it_later() -> None:
    given = {"pair": (1, 2), "deep": {"list": [1]}}
    kept = declared({"config": given})["config"]
    given["deep"]["list"].append(2)  # type: ignore[index]
    assert kept == {"pair": [1, 2], "deep": {"list": [1]}}


def test_hours_are_kept_as_they_are_stored_and_an_operator_can_take_them_and_a_flag_away() -> None:
    policy = Policy(**declared({"window": "mon 8:00-9:00", "flag": "new"}))
    assert (policy.window, str(policy.hours), policy.flag) == ("Mon 08:00-09:00 UTC", "Mon 08:00-09:00 UTC", "new")
    without = policy.overridden({"window": "none", "flag": "none"})
    assert (without.window, without.hours, without.flag) == ("none", None, "none")
    assert policy.overridden({"window": None, "flag": None}) == policy


def test_hours_of_a_zone_that_this_host_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="no time zone 'Mars/Olympus'"):
        Policy().overridden({"window": "22:00-06:00 Mars/Olympus"})
