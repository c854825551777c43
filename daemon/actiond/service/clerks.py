"""The loops that keep the books: nobody waits for them, and any daemon may do their work."""

from __future__ import annotations

from actiond.loops.fold_loop import FoldLoop
from actiond.loops.retention_loop import RetentionLoop
from actiond.postgres.connection import Pool
from actiond.postgres.retention_store import RetentionStore
from actiond.postgres.run_store import RunStore
from actiond.postgres.statements import Statements


def clerks(pool: Pool, statements: Statements) -> tuple[FoldLoop, RetentionLoop]:
    """One of each."""
    return FoldLoop(RunStore(pool, statements)), RetentionLoop(RetentionStore(pool, statements))
