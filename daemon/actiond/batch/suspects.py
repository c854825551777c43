"""Rows that daemons died on come apart: one run of them at a time, and nothing of their kind claimed beside it.

So, should this daemon die as well, only rows that ran are to blame. A claim that was on its way when the suspects
of another processor arrived may bring more: those go back before the first ones start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Suspects:
    """Whose turn it is on this daemon."""

    def __init__(self) -> None:
        #: Of every crew: whoever looks while it is not its turn goes to sleep over its suspects.
        self.rings: list[Callable[[], None]] = []
        self._run: int | None = None
        self._start: Callable[[], None] | None = None  # once that run is alone
        self._others = 0  # claims under way that may bring suspects, and runs of them that go back

    @contextmanager
    def asking(self) -> Iterator[bool]:
        """Around a claim and the handing over of its rows: may it bring suspects?"""
        allowed = self._run is None
        self._others += allowed
        try:
            yield allowed
        finally:
            if allowed:
                self.gone()

    def take(self, run_id: int, start: Callable[[], None]) -> bool:
        """True: `start` is called as soon as this run is alone, maybe at once. False: it must go back, then `gone`."""
        if self._run is not None:
            self._others += 1
            return False
        self._run, self._start = run_id, start
        self._start_if_alone()
        return True

    def gone(self) -> None:
        """One of the others less."""
        self._others -= 1
        self._start_if_alone()

    def over(self, run_id: int) -> None:
        """This run has ended."""
        if self._run == run_id:
            self._run = self._start = None
            for ring in self.rings:
                ring()

    def _start_if_alone(self) -> None:
        if self._start is not None and self._others == 0:
            start, self._start = self._start, None
            start()
