"""What `actiond top` shows, and what its keys do."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from actiond.cli.keys import names
from actiond.cli.top_screen import SORTS, View, frame
from actiond.postgres.read import Status

EACH: dict[str, Any] = {
    "registered": True, "enabled": True, "due": 0, "oldest_due_s": None, "scheduled": 0, "running": 0, "failed": 0,
    "completed_5min": 0, "failed_5min": 0, "retried_5min": 0, "live_daemons": 1, "breaker": None, "token_in_s": None,
    "flag_on": True, "opens_in_s": None,
}  # fmt: skip
DAEMON = {"id": 1, "host": "here", "alive": True, "seen_s": 0.1}


def status(*processors: dict[str, Any], problems: tuple[str, ...] = ()) -> Status:
    return Status([EACH | each for each in processors], [DAEMON], {}, list(problems))


def named(*names_: str, **columns: Any) -> list[dict[str, Any]]:
    return [{"processor": name, **columns} for name in names_]


def drawn(view: View, seen: Status, failures: Any = (), height: int = 30, color: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=color, color_system="standard" if color else None)
    console.print(frame(view, seen, list(failures), height))
    return out.getvalue().splitlines()


def test_a_line_for_each_processor_and_the_sums_above() -> None:
    one = {"processor": "a", "due": 7, "oldest_due_s": 61.0, "running": 2, "completed_5min": 10, "live_daemons": 3}
    two = {"processor": "b", "due": 10_000, "failed_5min": 4, "retried_5min": 1, "failed": 12}
    lines = drawn(View(), status(one, two))
    assert lines[0] == "actiond   1 daemon   10,007+ due   2 running   2.0 done/min   1.0 failing/min"
    assert lines[3].split() == ["a", "7", "1", "min", "1", "s", "0", "2", "2.0", "0.0", "0", "3"]
    assert lines[4].split() == ["b", "10,000+", "0", "0", "0.0", "1.0", "12", "1"]
    assert "no problems" in lines
    assert lines[-1].startswith("q quit")


@pytest.mark.parametrize(
    "something",
    [
        {"due": 1},
        {"scheduled": 1},
        {"running": 1},
        {"failed": 1},
        {"failed_5min": 1},
        {"retried_5min": 1},
        {"enabled": False},
        {"breaker": "open"},
    ],
    ids=lambda something: next(iter(something)),
)
def test_what_comes_with_every_daemon_has_a_line_when_there_is_something_to_see(something: dict[str, Any]) -> None:
    view, ours = View(), {"processor": "actiond.verb", "completed_5min": 3}
    drawn(view, status(*named("a", "b"), ours))
    assert view.shown == ["a", "b"]
    drawn(view, status(*named("a", "b"), ours | something))
    assert view.shown == ["a", "actiond.verb", "b"]
    everything = View(everything=True)
    drawn(everything, status(*named("a", "b"), ours))
    assert everything.shown == ["a", "actiond.verb", "b"]


def test_with_nothing_but_what_comes_with_every_daemon_it_says_how_to_see_that() -> None:
    assert "no processor but those of actiond itself (--all)" in drawn(View(), status(*named("actiond.plan")))


def test_problems_stand_below_and_the_rest_is_counted() -> None:
    lines = drawn(View(), status(problems=tuple(f"problem {n}" for n in range(7))))
    assert [line for line in lines if line.startswith("! ")] == [f"! problem {n}" for n in range(5)]
    assert "  and 2 more: actiond status" in lines
    assert "no processor is known yet" in lines


@pytest.mark.parametrize("by", list(SORTS))
def test_the_most_comes_first(by: str) -> None:
    column = {"due": "due", "oldest": "oldest_due_s", "running": "running", "done/min": "completed_5min",
              "failing/min": "retried_5min", "failed": "failed", "processor": "due"}[by]  # fmt: skip
    view = View(sort=by)
    lines = drawn(view, status(*named("a", "b"), {"processor": "c", column: 5}))
    assert view.shown == (["a", "b", "c"] if by == "processor" else ["c", "a", "b"])
    assert (f"{by} ▼" in lines[2]) == (by != "processor")


def test_keys_sort_select_open_and_quit() -> None:
    view = View()
    seen = status(*named("a", "b", "c"))
    drawn(view, seen)
    for key, selected in (("j", "b"), ("down", "c"), ("down", "c"), ("up", "b"), ("k", "a"), ("k", "a"), ("x", "a")):
        view.press(key)
        assert view.selected == selected
    view.press("s")
    assert view.sort == "due"
    for _ in range(len(SORTS) - 1):
        view.press("s")
    assert view.sort == "processor"
    for key, inside in (("enter", True), ("escape", False), ("enter", True), ("enter", False), ("escape", False)):
        view.press(key)
        assert view.inside is inside
    assert not view.quit
    view.press("q")
    assert view.quit


def test_without_processors_there_is_nothing_to_select_or_open() -> None:
    view = View()
    drawn(view, status())
    for key in ("j", "k", "enter"):
        view.press(key)
    assert (view.selected, view.inside) == (None, False)


def test_the_selection_stays_with_its_processor_and_moves_on_when_that_goes() -> None:
    view = View(sort="due")
    drawn(view, status(*named("a", "b")))
    drawn(view, status({"processor": "b", "due": 9}, *named("a")))
    assert view.selected == "b"  # nobody has moved it
    drawn(view, status(*named("a", "b")))
    view.press("j")
    drawn(view, status({"processor": "b", "due": 9}, *named("a")))
    assert (view.shown, view.selected) == (["b", "a"], "b")
    drawn(view, status(*named("a")))
    assert view.selected == "a"


@pytest.mark.parametrize("height", [8, 12, 24])
def test_the_selected_line_is_on_the_screen_however_many_there_are(height: int) -> None:
    view = View()
    seen = status(*named(*(f"p{n:02}" for n in range(50))))
    drawn(view, seen)
    for _ in range(60):
        lines = drawn(view, seen, height=height)
        assert any(line.startswith(view.selected or "?") for line in lines)
        assert len(lines) <= max(height, 12)
        view.press("j")
    assert view.selected == "p49"


def test_the_failures_of_the_selected_processor() -> None:
    view = View()
    drawn(view, status(*named("a", "b")))
    view.press("enter")
    row = {"ref": "A-00000007", "finished_at": datetime(2030, 1, 1, tzinfo=UTC), "attempts": 3, "error": "no\nframes"}
    lines = drawn(view, status(*named("a", "b")), [row] * 50, height=20)
    assert lines[2] == "failures of a, the latest first"
    assert lines[4].split()[0] == "A-00000007"
    assert lines[4].split()[-2:] == ["3", "no"]
    assert len(lines) <= 20
    assert "none in the last 7 days" in drawn(view, status(*named("a")))


def test_nothing_that_somebody_wrote_steers_the_terminal() -> None:
    evil = "\x1b[31mred\x07"
    view = View()
    seen = status({"processor": evil}, problems=(evil,))
    row = {"ref": "A-1", "finished_at": None, "attempts": 1, "error": evil}
    for _ in range(2):
        assert all("\x1b" not in line and "\x07" not in line for line in drawn(view, seen, [row]))
        view.press("enter")


def test_what_is_wrong_has_a_color() -> None:
    view = View()
    waits = {"processor": "b", "due": 1, "live_daemons": 0}
    lines = drawn(view, status(*named("a"), waits, {"processor": "c", "failed_5min": 1}), color=True)
    assert [code for line in lines[3:6] for code in ("\x1b[7m", "\x1b[33m", "\x1b[31m") if code in line] == [
        "\x1b[7m", "\x1b[33m", "\x1b[31m",
    ]  # fmt: skip


def test_what_holds_a_processor_back_stands_behind_its_name() -> None:
    lines = drawn(
        View(),
        status(
            {"processor": "a", "breaker": "open", "enabled": False},
            {"processor": "b", "breaker": "open", "due": 2},
            {"processor": "c", "breaker": "closed", "due": 2, "token_in_s": 0.5},
            {"processor": "e", "flag_on": False, "opens_in_s": 90.0, "breaker": "open"},
            {"processor": "f", "opens_in_s": 90.0, "breaker": "open"},
            {"processor": "d", "token_in_s": 0.5},
        ),
    )
    said = (line.split("  ")[0] for line in lines[3:9])
    assert sorted(said) == [
        "a (disabled)", "b (breaker open)", "c (rate reached)", "d", "e (flag off)", "f (window closed)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"q", ["q"]),
        (b"jjk", ["j", "j", "k"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b", ["escape"]),
        (b"\r\n", ["enter", "enter"]),
        (b"\x03", ["q"]),
        ("ö".encode(), []),
        (b"", []),
    ],
)
def test_keys_have_names(typed: bytes, keys: list[str]) -> None:
    assert names(typed) == keys
