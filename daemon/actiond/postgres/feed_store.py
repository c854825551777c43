"""What a daemon says of the feed: that there is something new in it."""

from __future__ import annotations

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements


class FeedStore:
    """For the readers that listen."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def tell(self) -> None:
        """Notify them."""
        await self._pool.execute(self._sql["notify_outcomes"])
