"""host/frames: messages between a daemon and its workers arrive whole, in order, or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.host import frames
from actiond.host.frames import Unpacker, packed, read

MESSAGES = st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=3), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 50)))
def test_messages_arrive_however_they_are_cut(messages: list[frames.Message], cuts: list[int]) -> None:
    data, unpacker, arrived = b"".join(map(packed, messages)), Unpacker(), []
    for cut in [*cuts, len(data)]:
        arrived += unpacker.feed(data[:cut])
        data = data[cut:]
    assert arrived == messages


@given(MESSAGES)
def test_a_file_gives_one_after_the_other_and_then_none(messages: list[frames.Message]) -> None:
    file = io.BytesIO(b"".join(map(packed, messages)))
    assert [read(file) for _ in messages] == messages
    assert read(file) is None


@pytest.mark.parametrize("rest", [b"\0", packed({"a": 1})[:-1]], ids=["half a head", "half a body"])
def test_half_a_message_is_none(rest: bytes) -> None:
    assert read(io.BytesIO(rest)) is None
    assert list(Unpacker().feed(rest)) == []


@pytest.mark.parametrize(
    "data",
    [b"printed by a library", b"\0\0\0\x02[]", b"\0\0\0\x05{half", b"\0\0\x27\x10" + b"[" * 10_000, b"\0\0\0\x01\xff"],
    ids=["text", "a list", "no JSON", "deep", "no text"],
)
def test_what_is_no_message_is_told(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(Unpacker().feed(data))
    with pytest.raises(ValueError):
        read(io.BytesIO(data))


def test_what_is_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LONGEST", 10)
    with pytest.raises(ValueError, match="a message of 15 bytes"):
        packed({"long": "xxx"})
