"""The processor of the demo: SHA-256, size and number of lines of a file.

A whole batch is in hand at once, each file in a worker thread, and each action gets its own outcome: a file
that is missing is tried again, a directory never, and neither changes what becomes of the others.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from pydantic import BaseModel

from actiond import SUDDEN_DEATH, Action, Batch, batch_processor

_PIECE = 1 << 20  # bytes read at once


class File(BaseModel):
    path: Path


@batch_processor("fingerprint", batch_size=100, concurrency=2, retries=10, retry_interval="500 ms")
async def fingerprint(batch: Batch[File]) -> None:
    """Mark every action of the batch."""
    async with anyio.create_task_group() as files:
        for action in batch:
            files.start_soon(_mark, action)


async def _mark(action: Action[File]) -> None:
    try:
        action.complete(await anyio.to_thread.run_sync(_fingerprint, action.data.path))
    except FileNotFoundError:
        action.fail("there is no such file")  # yet: another attempt later, while there are retries
    except IsADirectoryError:
        action.fail("this is a directory", SUDDEN_DEATH)
    except OSError as error:
        action.fail(error)


def _fingerprint(path: Path) -> dict[str, Any]:
    sha256, size, lines = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            sha256.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
    return {"sha256": sha256.hexdigest(), "size": size, "lines": lines}
