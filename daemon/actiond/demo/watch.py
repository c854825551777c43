"""What the demo sees: how far it is, until every row has its outcome; and whether each is the expected one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread

from actiond.demo.files import ATTEMPTS_BEFORE_IT_COMES, Asked
from actiond.demo.stage import Stage
from actiond.postgres.connection import Connection, first_connect, for_people
from actiond.postgres.statements import Statements

LOOK_S = 0.1
STUCK_S = 60.0  # without a single outcome
HASHED_AGAIN = 50
_LATEST = 6

_sql = Statements()


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at the table."""

    inserted: int = 0
    waiting: int = 0
    retrying: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        """Rows that have their outcome."""
        return self.completed + self.failed

    @property
    def per_second(self) -> float:
        """Outcomes, from the first row to the last outcome."""
        return self.ended / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Latest:
    """An outcome of the last moment."""

    file: str
    error: str | None
    result: dict[str, Any] | None


#: Shows a look.
Draw = Callable[[Progress, list[Latest]], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of everything."""

    progress: Progress
    outcomes: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    hashed_again: int
    unexpected: list[str]


class _Connected:
    """A connection whose errors are told as trouble of the demo; other errors pass as they are."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def __aenter__(self) -> Connection:
        self._connection = await first_connect(self._stage.dsn, "actiond demo")
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.terminate()
        said = for_people(error) if isinstance(error, Exception) else None
        if said is not None:
            raise self._stage.trouble(str(said)) from None


async def watch(stage: Stage, draw: Draw) -> Verdict:
    """Until every row has its outcome."""
    async with _Connected(stage) as connection:
        asked: Asked | None = None
        progress, ended, moved_s = Progress(), 0, anyio.current_time()
        while asked is None or progress.ended < progress.inserted:
            await anyio.sleep(LOOK_S)
            stage.check()
            asked = asked or stage.asked()
            row = await connection.fetchrow(_sql["demo_progress"])
            assert row is not None
            progress = Progress(**row)
            draw(progress, await _latest(connection))
            if progress.ended != ended:
                ended, moved_s = progress.ended, anyio.current_time()
            if anyio.current_time() - moved_s > STUCK_S:
                raise stage.trouble(f"no outcome for {STUCK_S:g} s; {progress.inserted - ended:,} rows wait")
        return await _verdict(connection, asked, progress)


async def _latest(connection: Connection) -> list[Latest]:
    rows = await connection.fetch(_sql["demo_latest"], _LATEST)
    return [Latest(row["related"], row["error"], json.loads(row["result"] or "null")) for row in rows]


async def _verdict(connection: Connection, asked: Asked, progress: Progress) -> Verdict:
    failures = await _rows(connection, "demo_failed")
    unexpected = []
    if progress.inserted != asked.inserted:
        unexpected.append(f"{asked.inserted:,} rows were inserted, but there are {progress.inserted:,}")
    failed, meant = {row["id"]: row for row in failures}, {*asked.missing, asked.directory}
    unexpected += [f"{failed[id_]['file']} failed: {failed[id_]['reason']}" for id_ in failed.keys() - meant]
    unexpected += [f"action {id_} completed, but cannot have" for id_ in meant - failed.keys()]
    late = await connection.fetchrow(_sql["demo_action"], asked.late)
    if late is None or late["attempts"] <= ATTEMPTS_BEFORE_IT_COMES:
        unexpected.append("the late file completed before it was there")
    sample = await connection.fetch(_sql["demo_sample"], HASHED_AGAIN)
    for row in sample:
        said, found = json.loads(row["result"]), await anyio.to_thread.run_sync(_fingerprint, Path(row["path"]))
        if said != found:
            unexpected.append(f"{row['path']} is stored as {said}, but is {found}")
    return Verdict(progress, await _rows(connection, "demo_outcomes"), failures, len(sample), unexpected)


async def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(_sql[statement])]


def _fingerprint(path: Path) -> dict[str, Any] | str:
    """Made again, in another way than the processor does."""
    try:
        content = path.read_bytes()
    except OSError as gone:
        return str(gone)
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "lines": content.count(b"\n")}
