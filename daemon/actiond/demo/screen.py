"""What a person sees of the demo: a live view while it runs, tables when it is done.

Where there is no terminal there is no live view, only what is left at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actiond.demo.stage import Stage
from actiond.demo.watch import Latest, Progress, Verdict
from actiond.postgres.statements import Statements

_TRY = ("demo_try_longest", "demo_try_history", "demo_try_insert")
_LEVELS = " ▁▂▃▄▅▆▇█"
_LOOKS = 60  # kept for the curve


class Screen:
    """Draws on one console."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._live: Live | None = None
        self._ended: deque[int] = deque(maxlen=_LOOKS)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While something moves."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, transient=True, refresh_per_second=10) as self._live:
            yield

    def draw(self, progress: Progress, latest: list[Latest]) -> None:
        """One look."""
        self._ended.append(progress.ended)
        if self._live is not None:
            self._live.update(self.frame(progress, latest))

    def frame(self, progress: Progress, latest: list[Latest]) -> RenderableType:
        """The live view."""
        bars = Table.grid(padding=(0, 2))
        for name, number in (("inserted", progress.inserted), ("done", progress.ended)):
            bar = ProgressBar(self._total, number, width=50)
            bars.add_row(name, bar, Text(f"{number:,} of {self._total:,}"))
        counts = (
            (f"{progress.completed:,} completed", "green"),
            (f"{progress.running:,} running", "cyan"),
            (f"{progress.waiting:,} waiting", ""),
            (f"{progress.retrying:,} to be tried again", "yellow"),
            (f"{progress.failed:,} failed", "red"),
        )
        words = Text("  ").join(Text(text, style) for text, style in counts)
        curve = Text(f"{self._curve()}  {progress.per_second:,.0f} a second", "dim")
        return Group("", bars, "", words, curve, "", _outcomes(latest))

    def _curve(self) -> str:
        """How many outcomes each look found, newest last."""
        steps = [after - before for before, after in zip(self._ended, list(self._ended)[1:], strict=False)]
        top = max([*steps, 1])
        return "".join(_LEVELS[-(-step * (len(_LEVELS) - 1) // top)] for step in steps).rjust(_LOOKS - 1)

    def report(self, verdict: Verdict) -> None:
        """Everything, at the end."""
        progress = verdict.progress
        outcomes = _table("outcome", "attempts", "actions")
        for row in verdict.outcomes:
            outcomes.add_row(row["outcome"], f"{row['attempts']}", f"{row['actions']:,}")
        failures = _table("failed", "attempts", "reason")
        for row in verdict.failures:
            failures.add_row(Text(row["file"]), f"{row['attempts']}", Text(row["reason"]))
        self._console.print(outcomes, "", failures, "", sep="\n")
        self._console.print(
            f"{progress.ended:,} outcomes in {progress.seconds:.1f} s, {progress.per_second:,.0f} a second; "
            f"{progress.retried} attempts were followed by another one.",
            highlight=False,
        )
        again = "all as stored" if not verdict.unexpected else "see below"
        self._console.print(f"{verdict.hashed_again} random files hashed again: {again}.", highlight=False)

    def invite(self, stage: Stage, keep: bool) -> None:
        """Where it is, and what to try."""
        if keep:
            said = f"The daemon ({stage.daemon.pid}) and the server ({stage.server.pid}) run until Ctrl-C. To try:"
        else:
            said = "Now everything ends; `actiond demo --keep` leaves it running. To try then:"
        places = {"DSN": stage.dsn, "psql": stage.server.psql, "log": str(stage.log) if keep else None}
        self._print("", said, "", *(f"{name:<5} {place}" for name, place in places.items() if place))
        for name in _TRY:
            self._print("", f"{_without_header(Statements()[name])};")

    def _print(self, *lines: str) -> None:
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in ("attempts", "actions") else "left", overflow="fold")
    return table


def _outcomes(latest: list[Latest]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, width=44)
    table.add_column(no_wrap=True)
    for each in latest:
        said = Text(each.error or "", "red")
        if each.result is not None:
            said = Text(
                f"{each.result['sha256'][:12]}  {each.result['size']:>11,} bytes {each.result['lines']:>8,} lines"
            )
        table.add_row(Text(each.file, overflow="ellipsis"), said, style="dim")
    return table


def _without_header(statement: str) -> str:
    return "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
