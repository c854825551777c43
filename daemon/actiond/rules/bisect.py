"""Halves until the bad one is alone.

The caller tries what `next()` gives and answers `accepted()` or `refused()`. k bad of n cost at most
k (2 log2(n/k) + 2) + 1 tries; order is kept. What was tried may also have decided some of itself: then the search
goes on among the others, and costs no more.
"""

from __future__ import annotations

from itertools import chain
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

    @property
    def undecided(self) -> list[T]:
        """What is neither accepted nor bad, in order."""
        return list(chain.from_iterable(reversed(self._open)))

    def accepted(self) -> None:
        """What `next` gave was good."""
        self._open.pop()

    def refused(self, among: list[T] | None = None) -> None:
        """What `next` gave holds at least one bad item; `among`: it is one of these, the others are decided.

        Only what was tried alone is bad: of several tried together, the last one left is tried once more.
        """
        part = self._open.pop()
        left = part if among is None else among
        if len(part) == 1:
            self.bad += left
            return
        middle = _middle(len(left))
        self._open += [half for half in (left[middle:], left[:middle]) if half]


def _middle(size: int) -> int:
    """About half; one of the two is a power of two, or some sizes would cost more tries than promised."""
    below = 1 << max(0, (size - 1).bit_length() - 1)  # the largest power of two that is less
    return below if size - below >= below // 2 else size - below // 2
