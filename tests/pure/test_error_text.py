"""rules/error_text: always storable, never a secret, never unbounded, never an error itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actiond.rules import error_text
from actiond.rules.error_text import FRAMES, FULL, MEMBERS, SHORT, ErrorText


def raised(error: BaseException, depth: int = 1) -> BaseException:
    """With frames."""
    try:
        if depth > 1:
            raise raised(error, depth - 1)
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("length", [0, 1, 999, 1000])
def test_a_text_that_fits_is_kept_whole(length: int) -> None:
    assert ErrorText.of("x" * length) == ErrorText("x" * length, "x" * length)


@pytest.mark.parametrize("length", [1001, 5000, 8192])
def test_a_longer_text_is_cut_for_the_row_and_whole_in_history(length: int) -> None:
    text = ErrorText.of("x" * length)
    assert text.short == "x" * 997 + "..."
    assert text.full == "x" * length


def test_history_keeps_the_head_and_the_tail_of_a_very_long_text() -> None:
    text = ErrorText.of("head" + "x" * 8185 + "tail")
    assert len(text.full) <= FULL
    assert text.full.startswith("head")
    assert text.full.endswith("tail")
    assert "characters left out" in text.full


def test_characters_are_counted_and_not_bytes() -> None:
    assert ErrorText.of("é" * 1000).short == "é" * 1000
    assert len(ErrorText.of("😀" * 1001).short) == SHORT


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "None"),
        (5, "5"),
        (b"x", "b'x'"),
        ({"code": 7}, "{'code': 7}"),
        (ValueError("no"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (KeyError("key"), "KeyError: 'key'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (OSError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
    ],
    ids=repr,
)
def test_anything_has_a_text(error: object, said: str) -> None:
    assert ErrorText.of(error).short == said


def test_the_frames_go_to_history_without_the_values_of_variables() -> None:
    password = "a value that stays here"  # noqa: F841
    text = ErrorText.of(raised(ValueError("no"), depth=3))
    assert text.short == "ValueError: no"
    assert text.full.startswith("ValueError: no\n")
    assert text.full.count("in raised") == 3
    assert "a value that stays here" not in text.full


def as_the_batch_calls(handler: Any) -> str:
    """What is kept of the error that it raises, called from where handlers are called."""
    caller = str(Path(error_text.__file__).parents[1] / "batch" / "call.py")
    names: dict[str, Any] = {"handler": handler}
    exec(compile("def call():\n    handler('no')", caller, "exec"), names)
    with pytest.raises(ValueError) as caught:
        names["call"]()
    error = caught.value.with_traceback(caught.tb.tb_next)  # without this function
    return ErrorText.of(error).full


def test_how_the_handler_was_called_is_left_out() -> None:
    def handler(_: object) -> None:
        raise ValueError("no")

    kept = as_the_batch_calls(handler)
    assert ", in handler" in kept
    assert ", in call" not in kept


def test_where_nobody_else_has_a_frame_ours_are_kept() -> None:
    assert ", in call" in as_the_batch_calls(int)


def test_of_a_deep_fall_the_frame_that_raised_is_kept() -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        fall(depth - 1)

    with pytest.raises(ValueError, match="at the bottom") as caught:
        fall(100)
    text = ErrorText.of(caught.value).full
    assert 'raise ValueError("at the bottom")' in text
    assert text.count(", in fall") == FRAMES


@pytest.mark.parametrize("broken", [ValueError("broken"), RecursionError(), MemoryError(), StopIteration()], ids=repr)
def test_a_text_that_cannot_be_had_is_no_reason_to_fail(broken: BaseException) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise broken

    text = ErrorText.of(raised(Silent()))
    assert "Silent" in text.short
    assert type(broken).__name__ in text.short


@pytest.mark.parametrize("broken", [SystemExit(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_text_that_would_end_the_program_does_not(broken: BaseException) -> None:
    class Deadly(Exception):
        def __str__(self) -> str:
            raise broken

    try:
        text = ErrorText.of(Deadly())
    except BaseException as escaped:
        pytest.fail(f"{escaped!r} escaped")  # and not itself: it would end the test run, too
    assert "Deadly" in text.short


@pytest.mark.parametrize("returned", [None, 5])
def test_a_text_that_is_none_is_no_reason_to_fail(returned: object) -> None:
    class Strange:
        def __str__(self) -> str:
            return returned  # type: ignore[return-value]

    assert "TypeError" in ErrorText.of(Strange()).short


def test_an_error_that_knows_itself_is_said_once() -> None:
    circle = ValueError("round")
    circle.__cause__ = circle.__context__ = circle
    assert ErrorText.of(circle).short == "ValueError: round"


def test_the_members_of_a_group_are_named() -> None:
    group = ExceptionGroup("two things", [ValueError("one"), ExceptionGroup("inner", [KeyError("x")])])
    text = ErrorText.of(raised(group)).short
    assert text.startswith("ExceptionGroup: two things (2 sub-exceptions): ValueError: one; ExceptionGroup: inner")
    assert "KeyError: 'x'" in text


def test_a_large_group_is_cut() -> None:
    group = ExceptionGroup("many", [ValueError("x" * 100) for _ in range(5000)])
    assert len(ErrorText.of(group).short) == SHORT


def test_a_deep_group_is_no_reason_to_fail() -> None:
    group: Exception = ValueError("at the bottom")
    for _ in range(5000):
        group = ExceptionGroup("around", [group])
    assert ErrorText.of(group).short.startswith("ExceptionGroup: around")


def test_of_a_deep_and_wide_group_only_so_many_are_asked() -> None:
    class Counted(ExceptionGroup):
        asked = 0

        def __str__(self) -> str:
            Counted.asked += 1
            return "around"

    group: Exception = ValueError("at the bottom")
    for _ in range(5):
        group = Counted("around", [group] * 10)
    assert ErrorText.of(group).short.startswith("Counted: around: Counted: around: ")
    assert Counted.asked <= MEMBERS


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b", "a\\x00b"),
        ("a\ud800b", "a\\ud800b"),
        ("\ud83d\ude00", "\\ud83d\\ude00"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\rb", "a\\rb"),
        ("\u202eevil", "\\u202eevil"),
        ("a\n\tb é 漢 😀", "a\n\tb é 漢 😀"),
    ],
    ids=ascii,
)
def test_what_postgres_cannot_store_or_a_terminal_should_not_see_is_escaped(text: str, kept: str) -> None:
    assert ErrorText.of(text) == ErrorText(kept, kept)
    assert ErrorText.of(ValueError(text)).short == f"ValueError: {kept}"


@given(st.text(st.characters(), max_size=50), st.integers(1, 300))
def test_any_text_can_be_stored(text: str, times: int) -> None:
    kept = ErrorText.of(text * times)
    assert len(kept.short) <= SHORT
    assert len(kept.full) <= FULL
    for part in (kept.short, kept.full):
        assert "\x00" not in part
        part.encode()


def test_a_secret_leaves_neither_in_the_message_nor_in_the_frames() -> None:
    def connect() -> None:
        raise ConnectionError("postgresql://app:hunter22@db/orders: refused")  # password="hunter22"

    with pytest.raises(ConnectionError) as caught:
        connect()
    text = ErrorText.of(caught.value)
    assert "hunter22" not in text.short + text.full
    assert "db/orders" in text.short


def test_a_secret_at_the_edge_of_what_is_kept_does_not_leave_in_part() -> None:
    one = "at postgresql://app:hunter22@db "
    for before in range(len(one)):  # wherever a cut is made, it is made in each place of a secret
        text = ErrorText.of("." * before + one * 2500)
        assert "hunt" not in text.short
        assert "hunt" not in text.full


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each text was that something went through, character by character."""
    lengths: list[int] = []

    def counted(name: str) -> None:
        original = getattr(error_text, name)

        def through(text: str, *rest: Any) -> Any:
            lengths.append(len(text))
            return original(text, *rest)

        monkeypatch.setattr(error_text, name, through)

    counted("redact")
    counted("_storable")
    return lengths


@pytest.mark.parametrize(
    "pattern",
    ["x", "word word\n", "é", "a\x00b", "token=abc ", "{'password': 'x', 'a': 1}, ", "😀"],
    ids=ascii,
)
def test_of_a_huge_text_only_the_ends_are_looked_at(pattern: str, looked_at: list[int]) -> None:
    huge = pattern * (10_000_000 // len(pattern))
    for error in (huge, ValueError(huge), ExceptionGroup(huge, [ValueError(huge)] * 100)):
        looked_at.clear()
        text = ErrorText.of(error)
        assert len(text.short) <= SHORT
        assert len(text.full) <= FULL
        assert text.full.endswith(ErrorText.of(huge[-1000:]).full[-500:])
        assert looked_at
        assert max(looked_at) <= 4 * FULL


def test_how_much_was_left_out_is_told() -> None:
    text = ErrorText.of("x" * 10_000_000).full
    left_out = int(text.split("... ")[1].split()[0])
    assert left_out + text.count("x") - "characters left out".count("x") == 10_000_000


def test_a_source_that_cannot_be_had_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(error_text.traceback, "extract_tb", broken)
    assert ErrorText.of(raised(ValueError("no"))).short == "ValueError: no"
