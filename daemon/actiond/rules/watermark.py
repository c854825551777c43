"""From where a claim looks: behind what was claimed already, so that it does not wade through rows that are done.

Such rows stay in the index until vacuum may remove them, which one old snapshot anywhere forbids. The watermark is only
a hint: rows that committed late, were rescued or released lie behind it. So a claim that came back short is followed by
a look from the beginning before anybody sleeps, and one comes by itself every second or so.

Where such looks are much slower than those from the mark, dead rows lie there. Then they get 1/200 of the time, and
the poll, which asks from the beginning who has rows due while claims go on, is asked to find what lies behind the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from actiond.rules.pace import LEVELS
from actiond.words.claimed import ClaimedRow

Mark = tuple[datetime, int]  # next_eligible_at, id

BEGINNING: Mark = (datetime(2000, 1, 1, tzinfo=UTC), 0)  # the constraint on next_eligible_at allows nothing earlier
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT_MOST_EVERY_S = 1.0  # a look from the beginning that nobody asked for
SHARE, SLOW_SHARE = 10, 200  # one that took t is repeated after so many t; one that is slow, even if somebody asks
SLOWER, SLOWER_S = 4, 0.01  # slow: takes longer than so many looks from the mark and so much more
_ROW_S = 0.0005  # that each row and each outcome may cost


class Watermark:
    """The last (next_eligible_at, id) claimed on each priority level."""

    def __init__(self) -> None:
        self._marks = [BEGINNING] * len(LEVELS)
        self._reached = [BEGINNING] * len(LEVELS)  # by any claim so far
        self._owed = True  # a look from the beginning
        self._not_before_s = 0.0  # that look, because they are slow
        self._by_itself_s = 0.0
        self._began_s, self._whole = 0.0, True
        self._usual_s: float | None = None  # a look from the mark

    def forget(self, *, at_once: bool = False) -> None:
        """A look from the beginning is due, even if they are slow if `at_once`: rows do lie there."""
        self._owed = True
        if at_once:
            self._not_before_s = 0.0

    @property
    def reached(self) -> Sequence[Mark]:
        """The furthest of each level that was claimed."""
        return self._reached

    def due(self, firsts: Sequence[Mark | None], reached: Sequence[Mark]) -> None:
        """The first row of each level that is due, None = none, and what was reached before somebody looked for it.

        If it lay behind that, it is looked for at once.
        """
        if any(first is not None and first < mark for first, mark in zip(firsts, reached, strict=True)):
            self.forget(at_once=True)

    def owed_in_s(self, now_s: float) -> float | None:
        """Until the look from the beginning that is due; None: none is."""
        return max(0.0, self._not_before_s - now_s) if self._owed else None

    def begin(self, now_s: float) -> tuple[list[datetime], list[int], bool]:
        """Times and ids to claim from, and whether that is the beginning."""
        if self.owed_in_s(now_s) == 0 or now_s >= self._by_itself_s:
            self._marks = [BEGINNING] * len(LEVELS)
        self._began_s, self._whole = now_s, all(mark == BEGINNING for mark in self._marks)
        return [at for at, _ in self._marks], [row_id for _, row_id in self._marks], self._whole

    def claimed(self, rows: Sequence[ClaimedRow], now_s: float, *, short: bool, outcomes: int = 0) -> None:
        """Move on past these rows (in claim order); `short`: no more were due. So many `outcomes` were written, too."""
        took_s = now_s - self._began_s
        if self._whole:
            self._looked(took_s, now_s, took_s - _ROW_S * (len(rows) + outcomes))
        elif short:
            self._usual_s = took_s if self._usual_s is None else 0.8 * self._usual_s + 0.2 * took_s
        level = -1
        for row in reversed(rows):
            if row.priority != level:
                level = row.priority
                self._marks[level] = max(self._marks[level], (_EPOCH + timedelta(seconds=row.due_s), row.id))
        self._reached = list(map(max, self._reached, self._marks))
        if short:  # and what lies before the furthest was seen
            self._marks = list(self._reached)

    def _looked(self, took_s: float, now_s: float, for_looking_s: float) -> None:
        slow = self._usual_s is not None and for_looking_s > SLOWER * self._usual_s + SLOWER_S
        self._owed = False
        self._not_before_s = now_s + SLOW_SHARE * took_s if slow else 0.0
        self._by_itself_s = max(self._not_before_s, now_s + max(AT_MOST_EVERY_S, SHARE * took_s))
