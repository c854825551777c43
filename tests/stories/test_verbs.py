"""Verbs under fire: racing with outcomes, killed in the middle, called by people who mistype."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from typing import Any

import pytest

from actiond.postgres import read, verbs
from actiond.postgres.connection import connect
from actiond.words.status import Verb
from support.command import actiond
from support.daemon import COMMAND
from support.database import eventually
from support.rows import ask, events, look, nothing_claimed, until

pytestmark = pytest.mark.slow

WORK = """
from random import random


@batch_processor("mixed", batch_size=20, concurrency=2, history="all")
async def mixed(batch):
    await anyio.sleep(random() / 100)
    for action in batch:
        dice = random()
        if dice < 0.5:
            action.complete()
        elif dice < 0.7:
            action.fail("went wrong", SUDDEN_DEATH)
        elif dice < 0.9:
            action.defer("1 ms")
        else:
            action.fail("again", after="1 ms")


@processor("waits", history="all", concurrency=20)
async def waits(action):
    while not action.withdrawn:
        await anyio.sleep(0.01)


@processor("work", history="all", retries=0)
async def work(action):
    if action.data.get("bad") and action.attempt == 1:
        raise Failure("no route to mail.example.org:25")


@processor("nightly", history="all", run_on_insert=False)
async def nightly(action):
    pass
"""


async def test_verbs_that_race_with_outcomes_thousands_of_times_break_nothing(db, conn, start, processor_file) -> None:
    daemons = [start(db.dsn, processor_file(WORK)) for _ in range(2)]
    for daemon in daemons:
        await daemon.ready()
    ids = await ask(conn, "mixed", *[{}] * 1_500)
    changed: dict[Verb, int] = dict.fromkeys(Verb, 0)

    async def operate(seed: int) -> None:
        dice, connection = random.Random(seed), await connect(db.dsn)
        for _ in range(150):
            verb = dice.choice(list(Verb))
            rows = await verbs.act(connection, verb, dice.sample(ids, 30), f"seed {seed}", dice.randrange(2))
            changed[verb] += sum(row["changed"] for row in rows)
        connection.terminate()

    await asyncio.gather(*(operate(seed) for seed in range(4)))
    assert min(changed.values()) > 50, changed
    assert sum(changed.values()) > 1_000, changed
    # Whatever operators have left aside goes on, and then every row ends.
    while left := [row["id"] for row in await look(conn, ids) if row["status"] in ("held", "canceled")]:
        await verbs.act(conn, Verb.RELEASE, left, "the end")
        await until(conn, ids, "completed", "failed", "canceled", "held")
    await until(conn, ids, "completed", "failed")
    await eventually(lambda: nothing_claimed(conn))
    assert [row["name"] for row in await read.invariants(conn, 60.0) if row["broken"]] == []
    noted = await conn.fetchval("select count(*) from actiond.history where verb is not null")
    assert noted >= sum(changed.values()) * 0.9  # run_now of what is next already leaves nothing to note
    assert all(daemon.process.poll() is None for daemon in daemons)


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.HOLD])
async def test_a_running_action_is_stopped_at_once_and_its_handler_sees_it(
    verb, db, conn, start, processor_file
) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "waits", {}, {}, {})
    await until(conn, ids, "running")
    said = await actiond(verb.value, *map(str, ids), "--reason", "enough", dsn=db.dsn)
    assert said.code == 0, said.err
    assert f"A-{ids[0]:08} of waits: running -> {'held' if verb is Verb.HOLD else 'canceled'}" in said.out
    assert f"undo: actiond release {' '.join(map(str, ids))}" in said.out
    await daemon.says("outcomes_fenced")
    assert {row["status"] for row in await look(conn, ids)} == {"held" if verb is Verb.HOLD else "canceled"}
    await eventually(lambda: nothing_claimed(conn))


ROWS = 30_000


async def released_once(conn, ids: range) -> bool:
    """Every one of these was released exactly once, and nothing else was."""
    counts = await conn.fetchrow(
        "select count(*) as n, count(distinct action_id) as ids, min(action_id) as low, max(action_id) as high"
        " from actiond.history where event = 'released' and verb = 'retry'"
    )
    return tuple(counts) == (len(ids), len(ids), ids[0], ids[-1])


async def test_a_retry_of_thirty_thousand_is_interrupted_and_killed_and_still_exact(
    db, conn, start, processor_file
) -> None:
    await conn.execute(
        f"""set session_replication_role = replica;
        insert into actiond.action (processor, status, finished_at, attempts, run_id, error, retries_left)
        select 'parked', 'failed', actiond.now(), 1, 5, 'the other side was down', 0 from generate_series(1, {ROWS});
        insert into actiond.action (processor, status, finished_at, attempts, run_id) select 'parked', 'completed',
               actiond.now(), 1, 5 from generate_series(1, 1000);
        set session_replication_role = origin"""
    )
    command = ["retry", "--processor", "parked", "--status", "failed", "--finished-since", "1 d"]

    async def changed() -> int:
        return (
            await conn.fetchval(
                "select (state ->> 'changed')::int from actiond.action where processor = 'actiond.verb'"
            )
            or 0
        )

    gone = (
        "select not exists (select from pg_stat_activity"
        " where application_name = 'actiond cli' and datname = current_database())"
    )

    async def interrupted(number: signal.Signals) -> tuple[int, str]:
        await eventually(lambda: conn.fetchval(gone))  # the server may yet commit what an ended command has sent
        before = await changed()
        process = subprocess.Popen(  # noqa: ASYNC220 - at once
            [*COMMAND, *command, "--yes"],
            env={**os.environ, "ACTIOND_DSN": db.dsn},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        await eventually(lambda: more_than(before))
        process.send_signal(number)
        _, err = await asyncio.to_thread(process.communicate)
        return process.returncode, err.decode()

    async def more_than(before: int) -> bool:
        return await changed() > before

    code, err = await interrupted(signal.SIGINT)
    id_ = await conn.fetchval("select id from actiond.action where processor = 'actiond.verb'")
    assert code == 130
    assert f"stopped; what was done so far stays. `actiond retry --continue {id_}` goes on" in err
    code, err = await interrupted(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert f"this was interrupted at action {err.split('action ')[1].split(' ')[0]}" in err
    assert await conn.fetchval("select status from actiond.action where id = $1", id_) == "held"
    assert 0 < await changed() < ROWS

    said = await actiond("release", str(id_), dsn=db.dsn)  # a daemon shall go on
    assert said.code == 0, said.err
    before = await changed()
    daemon = await start(db.dsn, processor_file("")).ready()
    await eventually(lambda: more_than(before))
    daemon.kill()
    assert await changed() < ROWS
    await start(db.dsn, processor_file("")).ready()
    (row,) = await until(conn, [id_], "completed", within_s=120)
    assert json.loads(row["result"]) == {"changed": ROWS}
    assert await released_once(conn, range(1, ROWS + 1))
    pending = "select count(*) from actiond.action where processor = 'parked' and status = 'pending' and error is null"
    assert await conn.fetchval(pending) == ROWS
    assert [row["name"] for row in await read.invariants(conn, 60.0) if row["broken"]] == []


# What people type, and what they are told


@pytest.fixture
async def failed(db, conn, start, processor_file) -> list[int]:
    """Five that failed and one that completed; the daemon lives."""
    await start(db.dsn, processor_file(WORK)).ready()
    ids = await ask(conn, "work", *[{"bad": True}] * 5, {})
    await until(conn, ids, "failed", "completed")
    return ids


async def test_ids_that_cannot_take_a_verb_are_told_with_their_status(db, failed) -> None:
    bad, done = failed[0], failed[-1]
    said = await actiond("retry", f"A-{bad:08}", str(done), "4711", "--reason", "mail is back", dsn=db.dsn)
    assert said.code == 1
    assert said.out.splitlines() == [
        f"A-{bad:08} of work: failed -> pending",
        f"undo: nothing makes an action failed again; `actiond hold {bad}` or `actiond cancel {bad}` stops it",
    ]
    assert said.err.splitlines() == [
        f"A-{done:08} is completed, and retry takes what is held or failed or canceled",
        "there is no action 4711",
    ]


async def test_a_filter_is_counted_shown_asked_about_and_worked_through(db, conn, failed) -> None:
    filter_ = ["--processor", "work", "--status", "failed", "--fingerprint", "no route to mail.example.org:<n>"]
    dry = await actiond("retry", *filter_, "--dry-run", dsn=db.dsn)
    assert dry.code == 0
    assert dry.out.startswith("5 to retry: processor work, status failed, fingerprint no route to mail.example.org:<n>")
    assert dry.out.endswith("nothing was changed (--dry-run)\n")
    no = await actiond("retry", *filter_, stdin="n\n", dsn=db.dsn)
    assert no.code == 130
    assert "retry 5? [y/N]:" in no.err
    assert {row["status"] for row in await look(conn, failed[:5])} == {"failed"}
    yes = await actiond("retry", *filter_, "--reason", "mail is back", stdin="y\n", dsn=db.dsn)
    assert yes.code == 0, yes.err
    id_ = await conn.fetchval("select id from actiond.action where processor = 'actiond.verb'")
    assert f"5 changed by retry {id_}\nundo: nothing makes them failed again; `actiond hold --changed-by" in yes.out
    await until(conn, [*failed, id_], "completed")
    assert await events(conn, failed[0]) == ["failed", "released", "completed"]
    none = await actiond("retry", *filter_, "--yes", dsn=db.dsn)
    assert (none.code, none.out.split(":")[0]) == (0, "nothing matches")


async def test_everything_wants_its_number_typed(db, conn, failed) -> None:
    wrong = await actiond("cancel", "--all", "--yes", stdin="4\n", dsn=db.dsn)
    assert wrong.code == 1
    assert "type their number to cancel all of them" in wrong.err
    assert wrong.err.endswith("actiond: '4' is not 5: nothing was changed\n")
    right = await actiond("cancel", "--all", "--json", stdin="5\n", dsn=db.dsn)
    assert right.code == 0, right.err
    told = json.loads(right.out)
    assert (told["verb"], told["changed"], told["over"]) == ("cancel", 5, True)
    assert {row["status"] for row in await look(conn, failed[:5])} == {"canceled"}


async def test_a_daemon_does_what_is_detached(db, conn, failed) -> None:
    said = await actiond("cancel", "--status", "failed", "--yes", "--detach", "--json", dsn=db.dsn)
    (row,) = await until(conn, [json.loads(said.out)["id"]], "completed")
    assert json.loads(row["result"]) == {"changed": 5}
    assert {row["status"] for row in await look(conn, failed[:5])} == {"canceled"}


async def test_a_daemon_refuses_what_makes_no_sense_once_and_for_good(db, conn, failed) -> None:
    ids = await ask(conn, "actiond.verb", {"verb": "explode"}, {}, {"verb": "hold", "filter": {"nonsense": 1}})
    rows = await until(conn, ids, "failed")
    assert [row["error"].split("\n")[0] for row in rows] == [
        "there is no verb 'explode'",
        "there is no verb NULL",
        "a filter has no 'nonsense'",
    ]


async def test_everything_can_be_stopped_cleared_and_started_again(db, conn, failed) -> None:
    """Verbs work while everything is paused: that is when they are needed."""
    assert (await actiond("pause", "--all", "--reason", "wrong deploy", dsn=db.dsn)).code == 0
    assert "everything is paused: `actiond resume --all` goes on" in (await actiond("status", dsn=db.dsn)).out
    waiting = await ask(conn, "work", *[{}] * 50)
    said = await actiond("cancel", "--processor", "work", "--status", "pending", "--yes", dsn=db.dsn)
    assert said.code == 0, said.err
    assert said.out.startswith("50 changed by cancel ")
    undo = said.out.split("undo: actiond ")[1].split("   (")[0].split()
    assert (await actiond(*undo, "--yes", dsn=db.dsn)).out.startswith("50 changed by release ")
    assert {row["status"] for row in await look(conn, waiting)} == {"pending"}
    assert (await actiond("resume", "--all", dsn=db.dsn)).out.splitlines() == [
        "daemons claim again",
        "undo: actiond pause --all",
    ]
    await until(conn, waiting, "completed")
    told = json.loads((await actiond("processors", "--history", "--json", dsn=db.dsn)).out)
    assert [(entry["event"], entry["reason"]) for entry in told] == [("paused", "wrong deploy"), ("resumed", None)]


async def test_a_processor_that_runs_when_woken_runs_what_is_run_now(db, conn, failed) -> None:
    (id_,) = await ask(conn, "nightly")
    assert (await actiond("run-now", str(id_), dsn=db.dsn)).out.startswith(f"A-{id_:08} of nightly: pending -> next\n")
    await until(conn, [id_], "completed")


async def test_a_knob_is_set_by_people(db, failed) -> None:
    said = await actiond("set", "work", "retry-interval", "1 min 30 s", "--reason", "gently", dsn=db.dsn)
    assert said.out.splitlines() == [
        "work: retry_interval as declared -> 90 s",
        "undo: actiond set work retry_interval --unset",
    ]
    assert (await actiond("set", "work", "enabled", "off", dsn=db.dsn)).out.startswith(
        "work: enabled as declared -> fal"
    )
    again = await actiond("set", "work", "retry_interval", "2 min", "--json", dsn=db.dsn)
    assert json.loads(again.out)["undo"] == ["actiond set work retry_interval '90 s'"]
    undone = await actiond("set", "work", "retry_interval", "90 s", dsn=db.dsn)
    assert undone.out.splitlines()[0] == "work: retry_interval 120 s -> 90 s"
    told = (await actiond("processors", "work", "--history", dsn=db.dsn)).out
    assert "gently" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retry"], "which actions? Give ids, or a filter (--processor, --status, ...), or --all."),
        (["retry", "1", "--status", "failed"], "ids, a filter, --all and --continue exclude each other"),
        (["hold", "abc"], "'abc' is no id (write 12 or A-00000012)"),
        (["hold", "--since", "soon"], "'soon' is no moment: write how long ago"),
        (["hold", "--status", "odd"], "'odd' is not one of"),
        (["hold", "--continue", "4711"], "action 4711 is no bulk verb"),
        (["pause"], "name processors, or say --all"),
        (["pause", "nobody"], "there is no processor 'nobody'. `actiond processors` lists them all."),
        (["set", "nobody", "retries", "1"], "there is no processor 'nobody'."),
        (["set", "nobody", "speed", "1"], "there is no knob 'speed' (there are: enabled, batch_size,"),
        (["set", "nobody", "retries", "many"], "a whole number from 0 to 2000000000, not 'many'"),
        (["set", "nobody", "timeout", "0 s"], "it cannot be nothing"),
        (["set", "nobody", "config", "{"], "Invalid value for config"),
        (["set", "nobody", "retries"], "give a value, or --unset"),
    ],
    ids=" ".join,
)
async def test_what_cannot_be_understood_is_told_and_changes_nothing(arguments, said, db) -> None:
    told: Any = await actiond(*arguments, dsn=db.dsn)
    assert told.code in (1, 2)
    assert said in told.err
    assert "Traceback" not in told.err
