"""JobBuilder: an action, put together the way the AsyncJob framework does.

job = JobBuilder("import").params({"file": 7}).retry_every("10 min").max_executions(3).build()
await job.insert(connection)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from actiond.contract import lineage
from actiond.contract.job import RETRY_EVERY
from actiond.postgres.enqueue import Executes
from actiond.postgres.statements import Statements
from actiond.words import duration, json_text
from actiond.words.outcome import Duration

_sql = Statements()


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it will be inserted."""

    name: str
    params: Any = None
    at: datetime | None = None  # None = now
    retry_every_s: float | None = None  # None = the processor's
    max_executions: int | None = None  # None = the processor's
    parent: int | None = None  # None = the action whose handler we are in
    recursive: bool = False

    async def insert(self, connection: Executes) -> int:
        """In the caller's transaction; gives its id."""
        repeat_s = (self.retry_every_s or duration.seconds(RETRY_EVERY)) if self.recursive else None
        state = None if self.retry_every_s is None else {"retry_every": duration.exactly(self.retry_every_s)}
        id_: int = await connection.fetchval(
            _sql["insert_job"],
            self.name,
            json_text.dumps({} if self.params is None else self.params),
            self.at,
            None if state is None else json_text.dumps(state),
            None if self.max_executions is None else self.max_executions - 1,
            lineage.parent() if self.parent is None else self.parent or None,
            repeat_s,
        )
        return id_


class JobBuilder:
    """Each method gives the builder back; `build` gives the job, which is not inserted yet."""

    def __init__(self, name: str) -> None:
        self._job = Job(name)

    def params(self, params: Any) -> JobBuilder:
        """The payload."""
        return self._but(params=params)

    def at(self, when: datetime) -> JobBuilder:
        """The first time it runs."""
        return self._but(at=when)

    def retry_every(self, interval: Duration) -> JobBuilder:
        """Between two tries; of a recursive job also between two executions."""
        return self._but(retry_every_s=duration.seconds(interval))

    def max_executions(self, count: int) -> JobBuilder:
        """How often it may run before it has failed. ValueError below 1."""
        if count < 1:
            raise ValueError("a job is executed at least once")
        return self._but(max_executions=count)

    def parent(self, action_id: int) -> JobBuilder:
        """Whose child it is; 0 = nobody's."""
        return self._but(parent=action_id)

    def recursive(self) -> JobBuilder:
        """It runs again and again, until it answers COMPLETED or FATAL_ERROR."""
        return self._but(recursive=True)

    def build(self) -> Job:
        """The job so far."""
        return self._job

    def _but(self, **fields: Any) -> JobBuilder:
        self._job = replace(self._job, **fields)
        return self
