"""rules/flags: what is on, and what a flag may be called."""

from __future__ import annotations

from typing import Any

import pytest

from actiond.rules import flags


def test_what_asks_for_no_flag_goes_on() -> None:
    assert flags.on(None, {})
    assert flags.on("none", {})


def test_a_flag_is_off_until_it_is_switched_on() -> None:
    assert not flags.on("new", {})
    assert not flags.on("new", {"old": True})
    assert not flags.on("new", {"new": False})
    assert flags.on("new", {"new": True})


def test_flags_are_settings_of_their_own_and_only_true_is_on() -> None:
    settings = {"paused": True, "environment": "test", "flag:a": True, "flag:b": False, "flag:c": "yes", "flag:d": 1}
    assert flags.of_settings(settings) == {"a": True, "b": False, "c": False, "d": False}


@pytest.mark.parametrize("name", ["a", "new_checkout", "2026-11.release", "none", "x" * 100])
def test_a_name_of_a_flag(name: str) -> None:
    assert flags.written(name) == name


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "a,b", "-a", "flag:a", "a\n", "ä", None, 7, True])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="a name of letters, digits"):
        flags.written(name)
