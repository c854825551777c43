"""The producer of the demo, a process of its own: one row for each file of Python's standard library.

It also asks for paths that do not exist, for a directory, and for a file that it creates only after two
attempts of its row have failed. At the end it prints, as JSON, what it asked for. All it knows of actiond is
how to insert rows.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from actiond import Statements, enqueue, enqueue_many
from actiond.postgres.connection import Connection, first_connect

PROCESSOR = "fingerprint"
MISSING = 7  # paths that do not exist
ATTEMPTS_BEFORE_IT_COMES = 2
_NOT_ITS_OWN = {"site-packages", "dist-packages"}
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: how many rows, and the ids of those that are not simply files."""

    inserted: int
    missing: list[int]
    directory: int
    late: int


def library() -> Iterator[tuple[Path, list[Path]]]:
    """The folders of the standard library, and the readable files of each."""
    for folder, inside, names in os.walk(sysconfig.get_path("stdlib")):
        inside[:] = sorted(set(inside) - _NOT_ITS_OWN)
        files = [Path(folder, name) for name in sorted(names) if ".pyc." not in name]  # half written
        yield Path(folder), [file for file in files if file.is_file() and os.access(file, os.R_OK)]


def how_many() -> int:
    """Rows that `produce` is going to insert."""
    return sum(len(files) for _, files in library()) + MISSING + 2


async def produce(dsn: str, late: Path) -> Asked:
    """Insert everything; returns when the late file was needed and made."""
    root = Path(sysconfig.get_path("stdlib"))
    connection, watching = [await first_connect(dsn, "actiond demo producer") for _ in range(2)]
    absent = [root / f"no_such_module_{number}.py" for number in range(1, MISSING + 1)]
    missing = [await _ask(connection, path, root, retries=2) for path in absent]
    directory = await _ask(connection, root / "json", root)
    late_id = await _ask(connection, late, late.parent)
    inserted = MISSING + 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_bring, watching, late_id, late)
        for _, files in library():
            rows = [({"path": str(file)}, str(file.relative_to(root))) for file in files]
            inserted += len(await enqueue_many(connection, PROCESSOR, rows))
    for each in (connection, watching):
        await each.close(timeout=2)
    return Asked(inserted, missing, directory, late_id)


async def _ask(connection: Connection, path: Path, root: Path, retries: int | None = None) -> int:
    return await enqueue(
        connection, PROCESSOR, {"path": str(path)}, related=str(path.relative_to(root)), retries=retries
    )


async def _bring(connection: Connection, action: int, late: Path) -> None:
    """Create the file, whole at once, when enough attempts of its row have failed."""
    failed = 0
    while failed < ATTEMPTS_BEFORE_IT_COMES:
        await anyio.sleep(_LOOK_S)
        row = await connection.fetchrow(Statements()["demo_action"], action)
        failed = row["failed_attempts"] if row else 0
    unfinished = late.with_suffix(".unfinished")
    unfinished.write_text("better late than never\n")
    unfinished.rename(late)


if __name__ == "__main__":
    asked = anyio.run(produce, os.environ["ACTIOND_DSN"], Path(sys.argv[1]))
    sys.stdout.write(json.dumps(asdict(asked)) + "\n")
