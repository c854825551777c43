"""Run what is due, once, on a real database: the claim, the calls, the outcomes and the releases of the daemon.

It is a daemon without the waiting: registered like one, with its liveness lock, so that it can run beside others; and
gone when the work is done. What a daemon does by the clock it leaves out: it listens to nothing, fires no schedules and
rescues nobody's rows; handlers with executor="process" run in this process. Being asked to run counts as the wake that
`run_on_insert = false` waits for, and nothing is held back for `start_delay` or for what bounds claims over all
daemons: a limit, a rate, a breaker, nor for a window. The resources of the processors are open meanwhile, their
finalizers have ended when it ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actiond.batch.crew import Crew
from actiond.batch.lifespans import Lifespans, lifespans
from actiond.batch.shared import Shared
from actiond.batch.suspects import Suspects
from actiond.batch.workers import Workers
from actiond.batch.write_back import WriteBack
from actiond.contract import home
from actiond.contract.policy import Policy
from actiond.contract.processor import Processor
from actiond.contract.resource import Opened, Resource
from actiond.loops.bell import Bell
from actiond.loops.release_loop import ReleaseLoop
from actiond.postgres import role
from actiond.postgres.action_store import ActionStore, Answer, Claim
from actiond.postgres.connection import Connection, Pool, close_pool, first_connect, handler_pool, work_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.family_store import FamilyStore
from actiond.postgres.migrate import check
from actiond.postgres.processor_store import ProcessorStore, Standing
from actiond.postgres.statements import Statements
from actiond.rules import flags, gate, pace
from actiond.rules.watermark import Watermark
from actiond.testing.batches import alone
from actiond.testing.stored import StoredAction, look

LEASE_S = 600.0  # nothing beats here: longer than any test runs a handler
THREADS = 40  # for handlers that are not async, as the daemon has them
CONNECTIONS = 5  # for handlers, likewise

_sql = Statements()


@dataclass(frozen=True, slots=True)
class _Hands:
    """What a daemon has."""

    store: ActionStore
    processors: ProcessorStore
    handlers: Pool
    release: ReleaseLoop
    suspects: Suspects
    lifespans: Lifespans
    tasks: TaskGroup


async def run_once(
    dsn: str, *processors: Processor, resources: Mapping[Resource[Any], Any] | None = None
) -> list[StoredAction]:
    """Claim what is due of these processors and run it; gives those actions as they stand then, in claim order.

    One processor after the other, as they are given: what the first asks of the second runs, too. An action runs once:
    one that is due again at once, after a retry or a deferral, waits for the next run_once. What an operator has
    overridden, paused, disabled or switched off by a flag in this database holds. Resources of the processors' modules
    are opened and closed, but for those in `resources`: {bank: something else}. SchemaMissing, SchemaOutdated,
    DatabaseUnreachable, ResourceBroken, RoleRefused.
    """
    connection = await first_connect(dsn, "actiond presence")
    try:
        await check(connection)
        ids: list[int] = []
        async with _hands(connection, dsn, [processor.name for processor in processors], resources) as hands:
            await hands.lifespans.open(home.resources(processors))
            await role.check(hands.handlers, processors)
            for processor in processors:
                ids += await _run(hands, processor)
                await hands.release.step()
        return await look(connection, list(dict.fromkeys(ids)))
    except ExceptionGroup as group:
        raise alone(group) from None
    finally:
        await connection.close(timeout=2)


@asynccontextmanager
async def _hands(connection: Connection, dsn: str, names: list[str], given: Opened | None) -> AsyncIterator[_Hands]:
    """A daemon that lives as long as this connection."""
    pool, handlers = await work_pool(dsn, 2), await handler_pool(dsn, CONNECTIONS)
    try:
        store = ActionStore(pool, _sql)
        me = (socket.gethostname(), os.getpid(), "testing", names, LEASE_S, True)
        row = await connection.fetchrow(_sql["register_daemon"], *me)
        assert row is not None
        store.daemon = row["id"]
        release = ReleaseLoop(FamilyStore(pool, _sql))
        async with anyio.create_task_group() as tasks, lifespans(tasks, given=given) as living:
            yield _Hands(store, ProcessorStore(pool, _sql), handlers, release, Suspects(), living, tasks)
        await DaemonStore(pool, _sql).end(store.daemon, "stopped")
    finally:
        await close_pool(handlers)
        await close_pool(pool)


async def _run(hands: _Hands, processor: Processor) -> list[int]:
    """One processor, from its claims to its saved outcomes; gives the ids it ran."""
    await hands.processors.declare([(processor.name, *processor.stored())])
    poll = await hands.processors.poll()
    standing = poll.processors.get(processor.name) or Standing({})
    policy = processor.policy.overridden(standing.overrides)
    flag_on = flags.on(policy.flag, poll.flags)
    if gate.shut(gate.Circumstances(paused=poll.paused, enabled=policy.enabled, flag_on=flag_on)):
        return []
    writer = WriteBack(hands.store, processor.name, lambda _, outcomes: hands.release.landed(outcomes))
    with hands.suspects.asking() as suspects:
        answers = await _claims(writer, processor.name, policy, suspects)
    await _work(hands, processor, policy, writer, answers)
    return [row.id for answer in answers for row in answer.rows]


async def _claims(writer: WriteBack, name: str, policy: Policy, suspects: bool) -> list[Answer]:
    """Everything that is due, in claims of the usual size, before anything runs: so nothing runs twice."""
    answers: list[Answer] = []
    while True:
        times, ids, _ = Watermark().begin(0.0)
        # Rows that daemons died on come alone, one claim of them at a time.
        claim = Claim(name, policy.most_rows, pace.LEVELS, times, ids, None, suspects and not answers)
        answer = await writer.send(claim)
        if not answer.rows:
            return answers
        answers.append(answer)


async def _work(hands: _Hands, processor: Processor, policy: Policy, writer: WriteBack, answers: list[Answer]) -> None:
    """Until every call has ended. One that ignores its cancellation is waited for: a test has nobody to kill it."""
    bell = Bell()
    crew = Crew(processor.in_this_process(), policy, hands.store, writer, _shared(hands), bell.ring)
    for answer in answers:
        crew.add(answer.run_id, answer.rows)
    while crew.in_hand or writer.waiting:
        if writer.waiting and crew.in_hand == crew.finalizers.in_hand:  # all calls have ended: save what they came to
            await writer.send(None)
        else:
            await bell.wait()


def _shared(hands: _Hands) -> Shared:
    return Shared(
        tasks=hands.tasks,
        calls=None,
        threads=anyio.CapacityLimiter(THREADS),
        workers=Workers(1, 0, "info"),  # nothing is lent: it all runs in this process
        suspects=hands.suspects,
        handler_pool=hands.handlers,
        runaway=lambda: None,
        left=[],
        landed=lambda _, outcomes: hands.release.landed(outcomes),
        lifespans=hands.lifespans,
    )
