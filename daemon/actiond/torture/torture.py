"""One run of torture: producer, daemons and faults beside each other, then the verdict."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres import schedule_edit
from actiond.postgres.statements import Statements
from actiond.torture.faults import Faults, Tally
from actiond.torture.ledger import Verdict, verdict
from actiond.torture.producer import produce
from actiond.torture.stage import COMMAND, Stage

DAEMONS = 3
SCHEDULE = "torture"
STALLED_S = 120.0  # after the last fault: so long without an action that ends, and none will
_FAULT_S = {
    "kill": 0.5,
    "freeze": 0.8,
    "kill_postgres": 2.0,
    "cut": 0.2,
    "by_hand": 0.1,
    "bulk": 0.1,
}  # pause after each, at most
_sql = Statements()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do."""

    rows: int = 50_000
    kills: int = 12
    freezes: int = 4
    pg_kills: int = 2
    minutes: float | None = None  # an upper bound; None: see at_most_s
    seed: int = 1

    @property
    def at_most_s(self) -> float:
        """The upper bound in seconds; without one of the user's, thrice what such a run takes on two cores."""
        if self.minutes is not None:
            return self.minutes * 60
        return 300 + self.rows / 400 + 6.0 * (self.kills + self.freezes + self.pg_kills)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it."""

    plan: Plan
    seconds: float
    tally: Tally
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {**asdict(self), "kept": self.verdict.kept}


async def torture(
    plan: Plan, tell: Callable[[str], None] = lambda line: None, command: tuple[str, ...] = COMMAND
) -> Report:
    """Run it. `command` starts a daemon: tests pass one that is broken on purpose."""
    rng, began_s = random.Random(plan.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="actiond-torture-") as name:
        folder, tally = Path(name), Tally()
        stage = Stage(PrivatePostgres(), folder, command)
        try:
            await stage.set(DAEMONS)
            faults = Faults(stage, rng, tally)
            await _plan_slots(stage)
            with anyio.move_on_after(plan.at_most_s) as bound:
                await _fire(plan, stage, faults, rng, folder, tell)
                await _quiet(stage, tell)
            codes = stage.stop_daemons()
            connection = await stage.connect()
            found = await verdict(connection, folder, tally)
            connection.terminate()
            if bound.cancelled_caught:
                found.complaints.append(f"not over within {plan.at_most_s / 60:.0f} minutes: give it more --minutes")
            if any(codes):
                found.complaints.append(f"daemons ended with {codes}")
        finally:
            stage.clear()
    return Report(plan, round(time.monotonic() - began_s, 1), tally, found)


async def _fire(
    plan: Plan, stage: Stage, faults: Faults, rng: random.Random, folder: Path, tell: Callable[[str], None]
) -> None:
    """Until every row is inserted and every fault is done."""
    steps = faults.schedule(plan.kills, plan.freezes, plan.pg_kills)
    expected_s = sum(_FAULT_S[step] + 0.4 for step in steps)
    per_s = max(200.0, plan.rows / max(expected_s, plan.rows / 2500))
    # Two sources of randomness: how long the producer takes must not change which faults come.
    producer_rng = random.Random(rng.random())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            produce,
            stage.dsn,
            plan.rows,
            per_s,
            folder,
            producer_rng,
            lambda n: tell(f"{n:,} of {plan.rows:,} inserted"),
        )
        await anyio.sleep(1.0)  # the daemons start
        for number, step in enumerate(steps):
            await faults.do(step, tasks)
            tell(f"fault {number + 1} of {len(steps)}: {step.replace('_', ' ')}")
            await anyio.sleep(_FAULT_S[step] * rng.uniform(0.5, 1.0))


async def _plan_slots(stage: Stage) -> None:
    """A schedule with a slot a second, of which none may be missed and none may fire twice."""
    connection = await stage.connect()
    every = {"every": timedelta(seconds=1), "data": '{"slot": "{slot}"}', "missed": "all", "overlap": "allow"}
    await schedule_edit.add(connection, SCHEDULE, "torture_each", every)
    connection.terminate()


async def _quiet(stage: Stage, tell: Callable[[str], None]) -> None:
    """No more faults: release what operators held, and wait until nothing is open, or nothing more ends."""
    fewest, fewer_s = math.inf, time.monotonic()
    while time.monotonic() - fewer_s < STALLED_S:
        try:
            connection = await stage.connect()
        except OSError:
            continue
        try:
            await schedule_edit.switch(connection, SCHEDULE, None, on=False)
            await connection.fetch(_sql["torture_operator"], ["held"], "pending", 100_000, 0)
            row = await connection.fetchrow(_sql["torture_open"])
        except OSError:
            continue
        finally:
            connection.terminate()
        assert row is not None
        if not row["open"] and not row["held"]:
            return
        if row["open"] < fewest:
            fewest, fewer_s = row["open"], time.monotonic()
        tell(f"{row['open']:,} rows are open")
        await anyio.sleep(0.2)
