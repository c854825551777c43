"""What is heard reaches the main loop once, and a flood of it as one blank thing."""

from __future__ import annotations

from actiond.loops.inbox import KINDS_MAX, LENGTH_MAX, Inbox


def test_the_same_thing_twice_is_one() -> None:
    inbox = Inbox()
    assert inbox.put("wake", "a")
    assert not inbox.put("wake", "a")
    assert not inbox.put("policy", "")
    assert inbox.take() == [("wake", "a"), ("policy", "")]
    assert inbox.take() == []
    assert inbox.put("wake", "a")


def test_more_than_fit_are_a_blank_one_of_their_channel() -> None:
    inbox = Inbox()
    for number in range(KINDS_MAX):
        inbox.put("wake", str(number))
    inbox.put("withdrawn", "1 2 3")
    assert len(inbox.take()) == KINDS_MAX + 1
    for number in range(100 * KINDS_MAX):
        inbox.put("wake", str(number))
    inbox.put("withdrawn", "1 2 3")
    assert inbox.take() == [("wake", ""), ("withdrawn", "1 2 3")]


def test_what_is_too_long_and_what_is_blank_stand_for_all() -> None:
    inbox = Inbox()
    inbox.put("wake", "a")
    inbox.put("wake", "x" * (LENGTH_MAX + 1))
    inbox.put("wake", "b")
    inbox.put("policy", "c")
    inbox.put("policy", "")
    assert inbox.take() == [("wake", ""), ("policy", "")]
