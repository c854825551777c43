"""What a person sees of the demo: a live view while it runs, tables when it is done.

Where there is no terminal there is no live view, only what is left at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import ceil

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actiond.demo.files import ATTEMPTS_BEFORE_IT_COMES
from actiond.demo.stage import Stage
from actiond.demo.watch import Latest, Progress, Verdict
from actiond.postgres.statements import Statements

_TRY = ("demo_try_longest", "demo_try_history", "demo_try_insert")
_LEVELS = " ▁▂▃▄▅▆▇█"
_NAME = 36  # characters of a file name
_WIDTH = 50  # of bars and curve


class Screen:
    """Draws on one console."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._live: Live | None = None
        self._ended: deque[int] = deque(maxlen=_WIDTH + 1)

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
        rows = Table.grid(padding=(0, 2))
        for name, number in (("inserted", progress.inserted), ("done", progress.ended)):
            rows.add_row(
                name, ProgressBar(self._total, number, width=_WIDTH), Text(f"{number:,} of {self._total:,}", "bold")
            )
        rows.add_row("speed", Text(self._curve(), "cyan"), Text(f"{progress.per_second:,.0f} a second", "bold"))
        counts = (
            (f"{progress.completed:,} completed", "green"),
            (f"{progress.running:,} running", "cyan"),
            (f"{progress.waiting:,} waiting", ""),
            (f"{progress.retrying:,} to be tried again", "yellow"),
            (f"{progress.failed:,} failed", "red"),
        )
        words = Text("   ").join(Text(text, style) for text, style in counts)
        return Group("", rows, "", words, "", _outcomes(latest))

    def _curve(self) -> str:
        """How many outcomes each look found, newest last."""
        steps = [after - before for before, after in pairwise(self._ended)]
        top = max([*steps, 1])
        return "".join(_LEVELS[ceil(step * (len(_LEVELS) - 1) / top)] for step in steps).rjust(_WIDTH)

    def report(self, verdict: Verdict) -> None:
        """Everything, at the end."""
        progress = verdict.progress
        outcomes = _table("outcome", "attempts", "actions")
        for row in verdict.outcomes:
            outcomes.add_row(row["outcome"], f"{row['attempts']}", f"{row['actions']:,}")
        failures = _table("failed", "attempts", "reason")
        for row in verdict.failures:
            failures.add_row(Text(row["file"]), f"{row['attempts']}", Text(row["reason"]))
        self._console.print(outcomes, "", failures, sep="\n")
        again = "all as stored" if not verdict.unexpected else "see below"
        self._print(
            "",
            f"{progress.ended:,} outcomes in {progress.seconds:.1f} s, {progress.per_second:,.0f} a second; "
            f"{progress.retried} failed attempts were tried again.",
            f"One file was created only after {ATTEMPTS_BEFORE_IT_COMES} failed attempts: it completed all the same.",
            f"{verdict.hashed_again} random files hashed again: {again}.",
        )

    def invite(self, stage: Stage, keep: bool) -> None:
        """Where it is, and what to try."""
        if keep:
            said = f"The daemon ({stage.daemon.pid}) and the server ({stage.server.pid}) run until Ctrl-C. To try:"
        else:
            said = "Now everything ends. `actiond demo --keep` leaves it running, to try:"
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
    table.add_column(no_wrap=True, width=_NAME)
    table.add_column(no_wrap=True)
    for each in latest:
        said = Text(each.error or "", "red")
        if each.result is not None:
            size, lines = each.result["size"], each.result["lines"]
            said = Text(f"{each.result['sha256'][:8]}  {size:>9,} bytes  {lines:>6,} lines")
        name = each.file if len(each.file) <= _NAME else "…" + each.file[1 - _NAME :]
        table.add_row(Text(name), said, style="dim")
    return table


def _without_header(statement: str) -> str:
    return "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
