"""A bell, not a message.

Ringing twice wakes once: a ring says "look again", never "do this". A lost ring costs one safety poll, a flood
costs one look; the queue of rings has length one by construction.
"""

from __future__ import annotations

import anyio


class Bell:
    """One slot. `wait` empties it before it returns, so the look that follows sees everything rung before it."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Look again."""
        self._rung.set()

    def clear(self) -> None:
        """A look begins, and sees everything rung before it."""
        if self._rung.is_set():
            self._rung = anyio.Event()

    async def wait(self, at_most_s: float | None = None) -> bool:
        """Until it rings or the time is over; True if it rang."""
        with anyio.move_on_after(at_most_s):
            await self._rung.wait()
        rung = self._rung.is_set()
        self.clear()
        return rung
