"""Halves until the bad one is alone.

The caller tries what `next()` gives and answers `accepted()` or `refused()`. k bad of n cost at most about
2k log2(n) tries; order is kept.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Bisection(Generic[T]):
    """One search. Starts with everything, because most of the time everything is good."""

    def __init__(self, items: list[T]) -> None:
        self._open: list[list[T]] = [items] if items else []
        self.bad: list[T] = []

    def next(self) -> list[T] | None:
        """What to try now; None when all is decided."""
        return self._open[-1] if self._open else None

    def accepted(self) -> None:
        """What `next` gave was good."""
        self._open.pop()

    def refused(self) -> None:
        """What `next` gave holds at least one bad item."""
        part = self._open.pop()
        if len(part) == 1:
            self.bad += part
            return
        middle = len(part) // 2
        self._open += [part[middle:], part[:middle]]
