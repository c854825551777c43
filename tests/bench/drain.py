"""Draining a backlog of no-op rows, until every outcome is stored.

One measurement, ours and the bare loop's alike: empty tables, a checkpoint, the process started and connected
but held back (ours by a disabled processor), the rows inserted, VACUUM ANALYZE, go. It ends when the last row
is final and no other one is open, looked for every few milliseconds by primary key and index. Where the ratio
may be close to its target, both sides take turns while there is time, and the median of the ratios counts.

HOT share: every action is updated twice, by its claim, which should be a HOT update, and by its outcome, which
never can be (status stands in the predicate of the claim's index). So the HOT updates of the table are claims,
and their share of all claims is n_tup_hot_upd / rows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.figure import Figure
from tests.bench.place import BARE, OURS, Place

LOOK_S = 0.005
ROUNDS = 4
WAITING = "at most, in one turn: for the disk and for others. Above 30 the ratios say little"
LONGEST_S = 90.0  # of one turn


@dataclass(frozen=True, slots=True)
class Contestant:
    """Whose turn it is. No processor: the bare loop."""

    name: str
    processor: str = ""
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn came to."""

    per_s: float
    wal: float  # bytes a row, from the claim to the outcome
    wal_insert: float  # bytes a row, for its INSERT
    hot: float  # HOT updates a row
    cpu: float  # microseconds a row, of the processes and their sessions


BARE_LOOP = Contestant("bare_loop")
ONE = Contestant("drain_one_process", "bench_500")
TWO = Contestant("drain_two_processes", "bench_500", 2)
DEFAULT = Contestant("drain_default_policy", "bench_default")
EACH = Contestant("drain_one_at_a_time", "bench_each")


async def measure(place: Place, rows: int, left_s: Callable[[], float], tell: Callable[[str], None]) -> list[Figure]:
    """All drains; after the first round only while enough time is left."""
    turns: dict[Contestant, list[Turn]] = {}

    async def take_turns(*contestants: Contestant) -> float:
        began_s = time.monotonic()
        for contestant in contestants:
            turn = await _turn(place, contestant, rows)
            turns.setdefault(contestant, []).append(turn)
            tell(f"{contestant.name}: {turn.per_s:,.0f} rows/s")
        return time.monotonic() - began_s

    await take_turns(EACH, DEFAULT)
    for _ in range(ROUNDS):
        took_s = await take_turns(BARE_LOOP, ONE, TWO)
        if left_s() < took_s:
            break
    return _figures(turns)


def _figures(turns: dict[Contestant, list[Turn]]) -> list[Figure]:
    speed = {contestant: median(turn.per_s for turn in each) for contestant, each in turns.items()}
    cpu = {contestant: median(turn.cpu for turn in each) for contestant, each in turns.items()}
    said = {
        contestant: f"{cpu[contestant]:.0f} us of CPU a row; rows/s: {', '.join(f'{turn.per_s:,.0f}' for turn in each)}"
        for contestant, each in turns.items()
    }
    ours = turns[ONE]

    def ratio(contestant: Contestant) -> float:
        """To the bare loop of the same round."""
        return median(us.per_s / bare.per_s for us, bare in zip(turns[contestant], turns[BARE_LOOP], strict=True))

    return [
        Figure("bare_loop", speed[BARE_LOOP], said[BARE_LOOP]),
        Figure("bare_loop_waiting", max(100 - turn.per_s * turn.cpu / 1e4 for turn in turns[BARE_LOOP]), WAITING),
        *(Figure(each.name, ratio(each), said[each]) for each in (ONE, TWO)),
        Figure(DEFAULT.name, speed[DEFAULT] / speed[BARE_LOOP], said[DEFAULT]),
        Figure(EACH.name, speed[EACH], said[EACH]),
        Figure("hot_share_of_claims", min(1.0, median(turn.hot for turn in ours))),
        Figure(
            "wal_per_action",
            median(turn.wal for turn in ours),
            f"claim and outcome, batch 500; bare loop {median(turn.wal for turn in turns[BARE_LOOP]):,.0f}",
        ),
        Figure("wal_per_insert", median(turn.wal_insert for turn in ours), "in bulk, indexes included"),
    ]


async def _turn(place: Place, contestant: Contestant, rows: int) -> Turn:
    async with asyncio.timeout(LONGEST_S):
        return await (_ours(place, contestant, rows) if contestant.processor else _bare(place, rows))


async def _ours(place: Place, contestant: Contestant, rows: int) -> Turn:
    await place.clear(contestant.processor, enabled=False)
    hot_before = await _hot_updates(place)
    async with place.daemons(contestant.processes) as daemons:
        empty = await place.wal_bytes()
        await place.fill(OURS, contestant.processor, rows)
        full = await place.wal_bytes()
        last = await place.connection.fetchval(f"select max(id) from {OURS}")
        cpu = await place.cpu(daemons)
        began_s = time.monotonic()
        await place.connection.execute(
            "update actiond.processor set enabled = true where name = $1", contestant.processor
        )
        await _until(place, f"select status <> 'pending' from {OURS} where id = {last}")
        await _until(
            place,
            f"select not exists (select from {OURS} where processor = '{contestant.processor}' "
            "and priority = 2 and status = 'pending')",
        )
        took_s = time.monotonic() - began_s
        wal = await place.wal_bytes()
        cpu = await place.cpu(daemons) - cpu
    await _all_completed(place, OURS, rows)
    # The counters of a session are complete once it has ended.
    await _until(place, "select not exists (select from pg_stat_activity where application_name like 'actiond%')")
    hot = await _hot_updates(place) - hot_before
    return Turn(rows / took_s, (wal - full) / rows, (full - empty) / rows, hot / rows, 1e6 * cpu.total() / rows)


async def _bare(place: Place, rows: int) -> Turn:
    await place.clear()
    async with place.bare_loop() as loop:
        empty = await place.wal_bytes()
        await place.fill(BARE, "bare", rows)
        full = await place.wal_bytes()
        last = await place.connection.fetchval(f"select max(id) from {BARE}")
        cpu = await place.cpu([loop])
        began_s = time.monotonic()
        loop.tell("go")
        await _until(place, f"select status = 'completed' from {BARE} where id = {last}")
        took_s = time.monotonic() - began_s
        wal = await place.wal_bytes()
        cpu = await place.cpu([loop]) - cpu
    await _all_completed(place, BARE, rows)
    return Turn(rows / took_s, (wal - full) / rows, (full - empty) / rows, 0.0, 1e6 * cpu.total() / rows)


async def _until(place: Place, question: str) -> None:
    while not await place.connection.fetchval(question):
        await asyncio.sleep(LOOK_S)


async def _all_completed(place: Place, table: str, rows: int) -> None:
    completed = await place.connection.fetchval(
        f"select count(*) from {table} where status = 'completed' and attempts = 1"
    )
    if completed != rows:
        raise RuntimeError(f"{completed} of {rows} rows of {table} were completed at their first attempt")


async def _hot_updates(place: Place) -> int:
    await place.connection.execute("select pg_stat_clear_snapshot()")
    return int(await place.connection.fetchval("select pg_stat_get_tuples_hot_updated($1::text::regclass)", OURS))
