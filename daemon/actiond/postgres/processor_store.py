"""The processors: what the code declares, what an operator overrides, who has rows due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from actiond.postgres.connection import Pool
from actiond.postgres.statements import Statements
from actiond.rules import flags
from actiond.rules.pace import LEVELS
from actiond.rules.watermark import Mark
from actiond.words import json_text


@dataclass(frozen=True, slots=True)
class Standing:
    """One processor as the database has it."""

    overrides: dict[str, Any]  # knob -> value, None = as declared; durations in seconds
    uses: str | None = None  # a built-in this processor is made of
    woken_at: datetime | None = None
    due: Sequence[Mark | None] = (None,) * len(LEVELS)  # the first row of each level that is due
    breaker_left_s: float | None = None  # of the pause of an open breaker; None = closed


@dataclass(frozen=True, slots=True)
class Poll:
    """What one safety poll saw."""

    processors: dict[str, Standing] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    now: datetime | None = None  # what time it is there
    queue: float = 0.0  # of notifications, how full it is, 0 to 1

    @property
    def paused(self) -> bool:
        """The kill switch: setting `paused` is true."""
        return self.settings.get("paused") is True

    @property
    def notify_outcomes(self) -> bool:
        """Readers of the feed want to be told: setting `notify_outcomes` is true."""
        return self.settings.get("notify_outcomes") is True

    @property
    def flags(self) -> dict[str, bool]:
        """Feature flags that somebody has set, and whether they are on."""
        return flags.of_settings(self.settings)


class ProcessorStore:
    """Reads and writes actiond.processor."""

    def __init__(self, pool: Pool, statements: Statements) -> None:
        self._pool = pool
        self._sql = statements

    async def declare(self, processors: Iterable[tuple[str, str, str, str | None, Sequence[str]]]) -> None:
        """(name, declared, built-in, schema of payloads, fields not to show) each, the middle three as JSON.

        Overrides stay.
        """
        for processor in processors:
            await self._pool.execute(self._sql["declare_processor"], *processor)

    async def serve(self, daemon: int, names: Sequence[str]) -> None:
        """What this daemon runs, for all to see."""
        await self._pool.execute(self._sql["serve"], daemon, names)

    async def poll(self) -> Poll:
        """All policies, stored wakes, and who has rows due, in one statement."""
        rows = await self._pool.fetch(self._sql["poll"])
        settings = json_text.loads(rows[0]["settings"])
        standings = {row["name"]: _standing(row) for row in rows if row["name"] is not None}
        return Poll(standings, settings, rows[0]["now"], rows[0]["queue"])

    async def store_wake(self, names: Sequence[str]) -> None:
        """Keep a wake that came as a bare NOTIFY."""
        await self._pool.execute(self._sql["store_wake"], names)

    async def waiting_names(self) -> list[str]:
        """Every processor that has pending rows, registered or not."""
        return [row["name"] for row in await self._pool.fetch(self._sql["waiting_names"])]


def _standing(row: Any) -> Standing:
    overrides = dict(row)
    config = overrides.pop("config")
    for name in ("name", "uses", "woken_at", "due_times", "due_ids", "breaker_left_s", "settings", "now", "queue"):
        overrides.pop(name)
    overrides["config"] = json_text.loads_or_none(config)
    due = [None if at is None else (at, id_) for at, id_ in zip(row["due_times"], row["due_ids"], strict=True)]
    return Standing(overrides, row["uses"], row["woken_at"], due, row["breaker_left_s"])
