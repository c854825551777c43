"""What was claimed and must go back before it starts: suspects out of turn, what a breaker stops, all at the end.

The loop gives back at each look, a daemon that stops at once: whoever takes the works of a run returns them, or leaves
them here for the next who comes. Until then they are in hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from actiond.batch.run import Work
from actiond.batch.suspects import Suspects

#: Gives the rows of these works of a run back to the database; how many that were.
Return = Callable[[int, Sequence[Work]], Awaitable[int]]


class GoingBack:
    """Of one crew."""

    def __init__(self, give_back: Return, suspects: Suspects) -> None:
        self._give_back = give_back
        self._suspects = suspects
        self._works: dict[int, list[Work]] = {}  # by run
        self._out_of_turn: set[int] = set()  # runs of suspects that others wait for
        self._under_way = 0

    @property
    def in_hand(self) -> int:
        """Works that the database has not confirmed."""
        return sum(map(len, self._works.values())) + self._under_way

    def put(self, run_id: int, works: Sequence[Work], out_of_turn: bool = False) -> None:
        """These go back next time."""
        self._works.setdefault(run_id, []).extend(works)
        if out_of_turn:
            self._out_of_turn.add(run_id)

    async def give_back(self) -> int:
        """All of them; how many rows that were. An error of the connection leaves the rest for the next time."""
        returned = 0
        while self._works:
            run_id, works = self._works.popitem()
            self._under_way += len(works)
            confirmed = False
            try:
                returned += await self._give_back(run_id, works)
                confirmed = True
            finally:
                self._under_way -= len(works)
                if not confirmed:
                    self.put(run_id, works)
            if run_id in self._out_of_turn:
                self._out_of_turn.remove(run_id)
                self._suspects.gone()
        return returned

    def forget(self) -> None:
        """The claims were lost."""
        self._works.clear()
        for _ in self._out_of_turn:
            self._suspects.gone()
        self._out_of_turn.clear()
