"""The one who remembers: inserts, and keeps outside of the database what was acknowledged.

After COMMIT has answered, the ids go to the file of acknowledged ones. When the connection dies in COMMIT nobody
knows, so the chunk's tag goes to the file of unknown ones: its rows may be there, all or none, and both is right.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from actiond.postgres.connection import connect
from actiond.postgres.enqueue import insert_texts

PROCESSORS = ("torture_batch", "torture_each")
PARENT, PARENTS_MAX = "torture_parent", 7  # each makes rows of its own
_PARENT_SHARE = 0.1


async def produce(
    dsn: str, rows: int, per_s: float, folder: Path, rng: random.Random, tell: Callable[[int], None]
) -> None:
    """Insert `rows` rows at this rate, through every fault, and give their acknowledged number to `tell`."""
    acknowledged, began_s, connection = 0, time.monotonic(), None
    with (folder / "acknowledged").open("a") as known, (folder / "unknown").open("a") as unknown:
        try:
            while acknowledged < rows:
                await anyio.sleep(max(0.0, acknowledged / per_s - (time.monotonic() - began_s)))
                size = min(rng.choice((1, 1, 7, 40, 120)), rows - acknowledged)
                tag, processor = f"{acknowledged}-{rng.random()}", rng.choice(PROCESSORS)
                if rng.random() < _PARENT_SHARE:
                    processor, size = PARENT, min(size, PARENTS_MAX)
                committing = False
                try:
                    connection = connection or await connect(dsn, name="actiond torture producer")
                    async with connection.transaction():
                        ids = await insert_texts(connection, processor, [("{}", tag)] * size, 2, 0.0)
                        committing = True
                except BaseException as error:  # of a connection that is cut on purpose, or the time is over
                    if committing:
                        unknown.write(f"{tag} {size}\n")
                        unknown.flush()
                    if connection is not None:
                        connection.terminate()
                    connection = None
                    if not isinstance(error, Exception):
                        raise
                    await anyio.sleep(0.05)
                    continue
                known.writelines(f"{id_}\n" for id_ in ids)
                known.flush()
                acknowledged += size
                tell(acknowledged)
        finally:
            if connection is not None:
                connection.terminate()
