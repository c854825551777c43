"""Resources, what is around calls, what comes after runs: on a real daemon, started, reloaded, hurried, stopped."""

from __future__ import annotations

import json
import signal
from typing import Any

import asyncpg
import pytest

from support.database import eventually
from support.impatient import IMPATIENT
from support.rows import ask, events, look, nothing_claimed, until
from support.sources import USUAL_IMPORTS

pytestmark = pytest.mark.slow

RESOURCES = """
import structlog
log = structlog.get_logger()


@lifespan
async def vault():
    log.info("vault_opened")
    yield "key"
    log.info("vault_closed")


@lifespan
async def bank():
    log.info("bank_opened", key=vault.value)
    yield {"calls": 0}
    log.info("bank_closed")


@processor("charge", concurrency=3)
async def charge(action):
    bank.value["calls"] += 1
    count = bank.value["calls"]
    action.log.info("begun")
    await asyncio.sleep(action.data.get("takes", 0))
    return count


@processor("charge_in_thread")
def charge_in_thread(action):
    return vault.value


@batch_processor("charges")
async def charges(batch):
    for action in batch:
        action.complete(vault.value)
"""


def said(daemon: Any, *names: str) -> list[str]:
    """The lines of these names, in order."""
    return [line["event"] for line in list(daemon.lines) if line["event"] in names]


VAULT_AND_BANK = ("vault_opened", "bank_opened", "vault_closed", "bank_closed")


async def test_opened_once_before_the_first_claim_and_closed_in_reverse_after_the_last_call(
    db, conn, start, processor_file
) -> None:
    ids = await ask(conn, "charge", {}, {}, {})
    threads, batches = await ask(conn, "charge_in_thread", {}), await ask(conn, "charges", {}, {})
    daemon = await start(db.dsn, processor_file(RESOURCES)).ready()
    rows = await until(conn, ids, "completed")
    assert sorted(row["result"] for row in rows) == ["1", "2", "3"]  # one bank for all
    for row in await until(conn, threads + batches, "completed"):
        assert row["result"] == '"key"'
    running = await ask(conn, "charge", {"takes": 0.3})
    await daemon.says("begun", times=4)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert said(daemon, *VAULT_AND_BANK) == ["vault_opened", "bank_opened", "bank_closed", "vault_closed"]
    order = said(daemon, "resource_opened", "daemon_registered", "daemon_ready", "daemon_stopping", "resource_closed")
    assert (
        order
        == ["resource_opened"] * 2 + ["daemon_registered", "daemon_ready", "daemon_stopping"] + ["resource_closed"] * 2
    )
    assert (await look(conn, running))[0]["result"] == "4"


async def test_told_twice_to_stop_it_closes_them_all_the_same(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(RESOURCES), env={"ACTIOND_DRAIN_S": "60"}).ready()
    ids = await ask(conn, "charge", {"takes": 600})
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    await daemon.says("drain_started")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert said(daemon, *VAULT_AND_BANK)[2:] == ["bank_closed", "vault_closed"]
    assert (await look(conn, ids))[0]["status"] == "pending"


async def test_a_handler_left_behind_does_not_keep_them_open(db, conn, start, processor_file) -> None:
    stubborn = """
@processor("stubborn")
def stubborn(action):
    action.log.info("begun")
    time.sleep(600)
"""
    source = processor_file(IMPATIENT + RESOURCES + stubborn)
    daemon = await start(db.dsn, source, env={"ACTIOND_DRAIN_S": "0.2"}).ready()
    await ask(conn, "stubborn", {})
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 75
    assert said(daemon, *VAULT_AND_BANK)[2:] == ["bank_closed", "vault_closed"]


BROKEN = """
@lifespan
async def broken():
    raise ConnectionError("nobody at 127.0.0.1:1")
    yield
"""


async def test_one_that_cannot_be_opened_is_one_line_at_the_start(db, conn, start, processor_file) -> None:
    ids = await ask(conn, "charge", {})
    daemon = start(db.dsn, processor_file(RESOURCES + BROKEN))
    assert await daemon.ends() == 1
    [line] = [line["text"] for line in daemon.lines if line["event"] is None]
    assert line.startswith("actiond: This resource cannot be opened: 'broken' at ")
    assert line.endswith("ConnectionError: nobody at 127.0.0.1:1")
    assert said(daemon, *VAULT_AND_BANK) == ["vault_opened", "bank_opened", "bank_closed", "vault_closed"]
    assert (await look(conn, ids))[0]["attempts"] == 0
    assert await conn.fetchval("select count(*) from actiond.daemon") == 0


async def test_a_stop_does_not_wait_for_one_that_does_not_open(db, start, processor_file) -> None:
    hangs = """
@lifespan
async def hangs():
    log.info("waiting")
    await asyncio.sleep(600)
    yield
"""
    daemon = start(db.dsn, processor_file(RESOURCES + hangs))
    await daemon.says("waiting")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert said(daemon, *VAULT_AND_BANK)[2:] == ["bank_closed", "vault_closed"]


async def test_one_that_ends_by_itself_stops_the_daemon(db, conn, start, processor_file) -> None:
    fragile = """
@lifespan
async def fragile():
    async with anyio.create_task_group() as tasks:
        fall = anyio.Event()
        async def falls():
            await fall.wait()
            raise ConnectionError("it fell")
        tasks.start_soon(falls)
        yield fall

@processor("push")
async def push(action):
    fragile.value.set()
"""
    daemon = await start(db.dsn, processor_file(RESOURCES + fragile)).ready()
    await ask(conn, "push", {})
    assert await daemon.ends() == 1
    assert "it fell" in (await daemon.says("resource_failed", resource="fragile"))["error"]
    await daemon.says("daemon_stopped", exit_code=1, reason="resource 'fragile' ended by itself")
    assert said(daemon, *VAULT_AND_BANK)[2:] == ["bank_closed", "vault_closed"]
    assert await nothing_claimed(conn)


async def test_a_reload_opens_what_is_new_and_closes_what_is_old_after_its_last_call(
    db, conn, start, processor_file, tmp_path
) -> None:
    go = tmp_path / "go"
    waits = """
@processor("waits", concurrency=2)
async def waits(action):
    action.log.info("begun", calls=bank.value["calls"])
    while not os.path.exists(action.data):
        await asyncio.sleep(0.01)
    return vault.value
"""
    path = processor_file(RESOURCES + waits)
    daemon = await start(db.dsn, path).ready()
    old = await ask(conn, "waits", str(go))
    await daemon.says("begun")
    path.write_text(path.read_text().replace('yield "key"', 'yield "new key"'))
    daemon.signal(signal.SIGHUP)
    await daemon.says("daemon_reloaded")
    assert said(daemon, *VAULT_AND_BANK) == ["vault_opened", "bank_opened"] * 2
    [new] = await ask(conn, "charges", {})
    assert [row["result"] for row in await until(conn, [new], "completed")] == ['"new key"']
    assert said(daemon, "bank_closed", "vault_closed") == []  # a call still holds the old ones
    go.touch()
    assert [row["result"] for row in await until(conn, old, "completed")] == ['"key"']
    await daemon.says("vault_closed")
    assert said(daemon, "bank_closed", "vault_closed") == ["bank_closed", "vault_closed"]
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert said(daemon, "bank_closed", "vault_closed") == ["bank_closed", "vault_closed"] * 2


async def test_a_reload_whose_resource_does_not_open_leaves_everything_as_it_was(
    db, conn, start, processor_file
) -> None:
    path = processor_file(RESOURCES)
    daemon = await start(db.dsn, path).ready()
    path.write_text(path.read_text().replace('yield "key"', 'yield "new key"') + BROKEN)
    daemon.signal(signal.SIGHUP)
    failed = await daemon.says("processor_reload_failed")
    assert "'broken' at" in failed["error"]
    assert failed["error"].endswith("ConnectionError: nobody at 127.0.0.1:1")
    assert said(daemon, *VAULT_AND_BANK)[2:] == ["vault_opened", "bank_opened", "bank_closed", "vault_closed"]
    [row] = await until(conn, await ask(conn, "charges", {}), "completed")
    assert row["result"] == '"key"'
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0


async def test_a_resource_that_nobody_imported_by_name_is_named_in_the_failure(
    db, conn, start, processor_file, tmp_path
) -> None:
    (tmp_path / "shared_things.py").write_text(USUAL_IMPORTS + RESOURCES)
    source = "import shared_things\n@processor('p', retries=0)\nasync def p(action):\n    shared_things.bank.value\n"
    daemon = await start(db.dsn, processor_file(source)).ready()
    [row] = await until(conn, await ask(conn, "p", {}), "failed")
    assert row["error"].startswith("ResourceNotOpen: This resource is not open here: the module that declares the")
    assert "'bank' at" in row["error"]
    assert daemon.process.poll() is None


# Around.

AROUNDS = """
import structlog
log = structlog.get_logger()


@around
async def of_the_module(batch):
    log.info("entered", by="module", actions=len(batch))
    yield
    log.info("left", by="module")


async def own(batch):
    log.info("entered", by="own")
    yield
    log.info("left", by="own")


async def broken(batch):
    raise RuntimeError("not today")
    yield


@processor("p", around=own, retries=0)
async def p(action):
    action.log.info("called")
    if action.data:
        raise ValueError("its own")


@batch_processor("q", around=[broken, own])
async def q(batch):
    for action in batch:
        action.complete("done")
"""
OF_THE_DAEMON = """
import structlog
log = structlog.get_logger()

async def everything(batch):
    log.info("entered", by="daemon", processor=batch.processor)
    yield
    log.info("left", by="daemon")
"""


async def test_daemon_module_and_processor_from_outside_to_inside(
    db, conn, start, processor_file, tmp_path, monkeypatch
) -> None:
    (tmp_path / "of_the_daemon.py").write_text(OF_THE_DAEMON)
    env = {"ACTIOND_AROUND": "of_the_daemon:everything", "PYTHONPATH": str(tmp_path)}
    daemon = await start(db.dsn, processor_file(AROUNDS), env=env).ready()
    [id_] = await ask(conn, "p", None)
    await until(conn, [id_], "completed")
    lines = [line for line in daemon.lines if line["event"] in ("entered", "left", "called")]
    assert [(line["event"], line.get("by")) for line in lines] == [
        ("entered", "daemon"), ("entered", "module"), ("entered", "own"), ("called", None),
        ("left", "own"), ("left", "module"), ("left", "daemon"),
    ]  # fmt: skip
    assert {line["action_id"] for line in lines} == {id_}


async def test_one_that_breaks_is_logged_and_changes_nothing(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(AROUNDS)).ready()
    rows = await until(conn, await ask(conn, "q", 1, 2), "completed")
    assert {row["result"] for row in rows} == {'"done"'}
    failed = await daemon.says("around_failed")
    assert (failed["processor"], failed["around"], failed["error"]) == ("q", "broken", "RuntimeError: not today")
    [row] = await until(conn, await ask(conn, "p", 1), "failed")
    assert row["error"] == "ValueError: its own"
    assert daemon.heard("entered", by="own", processor="p")


@pytest.mark.parametrize(
    ("named", "why"), [("json:nothing", "has no attribute"), ("nonsense", "module:callable"), ("os:sep", "called")]
)
async def test_a_setting_that_names_nothing_is_a_line_and_exit_code_2(db, start, processor_file, named, why) -> None:
    daemon = start(db.dsn, processor_file(AROUNDS), env={"ACTIOND_AROUND": named})
    assert await daemon.ends() == 2
    [line] = [line["text"] for line in daemon.lines if line["event"] is None]
    assert line.startswith("actiond: ACTIOND_AROUND: ")
    assert why in line


# Finalizers.

FINALIZERS = """
import asyncpg, json, structlog
log = structlog.get_logger()


async def saved(run):
    conn = await asyncpg.connect(os.environ["ACTIOND_DSN"])
    ids = [action.id for action in run.actions]
    rows = await conn.fetch("select status, claimed_by from actiond.action where id = any($1)", ids)
    ended = await conn.fetchval("select finished_at is not null from actiond.run where id = $1", run.run_id)
    await conn.close()
    log.info("finalized", run=run.run_id, name=run.processor, error=run.error, ended=ended,
             outcomes=[action.outcome for action in sorted(run.actions)], errors=[a.error for a in sorted(run.actions)],
             rows=[tuple(row) for row in rows], completed=run.count("completed"))


def in_thread(run):
    log.info("finalized", run=run.run_id, name=run.processor)


async def breaks(run):
    raise RuntimeError("no report today")


async def hangs(run):
    log.info("hanging")
    await asyncio.sleep(600)


async def slowly(run):
    await asyncio.sleep(0.5)
    await saved(run)


MARKS = {"completed": lambda a: a.complete(1), "failed": lambda a: a.fail("no", SUDDEN_DEATH),
         "retried": lambda a: a.fail("no"), "deferred": lambda a: a.defer("1 h"), "canceled": lambda a: a.cancel("no")}


@batch_processor("marks", finalize=saved, retry_interval="1 h")
async def marks(batch):
    for action in batch:
        if action.data == "raises":
            raise ValueError("half way")
        MARKS[action.data](action)


@batch_processor("in_transaction", finalize=saved)
async def in_transaction(batch):
    async with batch.transaction():
        batch[0].complete()
    batch[-1].complete()


@processor("single", finalize=saved, retries=0, concurrency=2)
async def single(action):
    if action.data:
        raise ValueError("no")


@processor("threaded", finalize=in_thread)
def threaded(action): ...


@processor("breaking", finalize=breaks)
async def breaking(action): ...


@processor("hanging", finalize=hangs, timeout="0.3 s")
async def hanging(action): ...


@processor("hanging_long", finalize=hangs)
async def hanging_long(action): ...


@batch_processor("waits", finalize=slowly)
async def waits(batch):
    batch[0].log.info("begun")
    while not batch[0].withdrawn:
        await asyncio.sleep(0.01)
    batch.complete()
"""


@pytest.fixture
async def daemon(db, start, processor_file) -> Any:
    source = processor_file(IMPATIENT + FINALIZERS)
    return await start(db.dsn, source, env={"ACTIOND_DRAIN_S": "0.5"}).ready()


def outcomes(daemon: Any, processor: str) -> list[str]:
    """All that finalizers were told."""
    return [each for line in daemon.heard("finalized", name=processor) for each in line["outcomes"]]


async def test_called_once_a_run_when_every_outcome_is_saved(conn, daemon) -> None:
    kinds = ["completed", "failed", "retried", "deferred", "canceled"]
    ids = await ask(conn, "marks", *kinds)
    line = await daemon.says("finalized", name="marks")
    assert line["outcomes"] == kinds
    assert (line["error"], line["ended"], line["completed"]) == (None, True, 1)
    assert line["errors"] == [None, "no", "no", None, "no"]
    assert [claimed for _, claimed in line["rows"]] == [0] * 5
    assert line["run"] == (await look(conn, ids))[0]["run_id"]
    assert len(daemon.heard("finalized")) == 1


async def test_called_also_when_the_handler_raised(conn, daemon) -> None:
    await ask(conn, "marks", "completed", "raises", "failed")
    line = await daemon.says("finalized", name="marks")
    assert line["outcomes"] == ["completed", "retried", "retried"]
    assert line["error"] == "ValueError: half way"


async def test_what_was_decided_in_a_transaction_is_in_it_too(conn, daemon) -> None:
    await ask(conn, "in_transaction", 1, 2)
    line = await daemon.says("finalized", name="in_transaction")
    assert line["outcomes"] == ["completed", "completed"]
    assert line["rows"] == [["completed", 0]] * 2


async def test_a_run_of_single_calls_is_one_run(conn, daemon) -> None:
    await ask(conn, "single", 0, 1, 0)
    await eventually(lambda: len(outcomes(daemon, "single")) == 3)
    assert sorted(outcomes(daemon, "single")) == ["completed", "completed", "failed"]
    runs = daemon.heard("finalized", name="single")
    assert len({line["run"] for line in runs}) == len(runs)
    assert {line["error"] for line in runs if "failed" in line["outcomes"]} == {"ValueError: no"}
    await ask(conn, "threaded", 1)
    await daemon.says("finalized", name="threaded")


async def test_what_somebody_canceled_meanwhile_is_not_in_it(conn, daemon) -> None:
    ids = await ask(conn, "waits", 1, 2)
    await daemon.says("begun")
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", ids[0])
    line = await daemon.says("finalized", name="waits")
    assert (line["outcomes"], line["rows"]) == (["completed"], [["completed", 0]])
    assert await events(conn, ids[0]) == ["canceled", "fenced"]


async def test_one_that_breaks_is_logged_and_changes_nothing_of_the_run(conn, daemon) -> None:
    rows = await until(conn, await ask(conn, "breaking", 1), "completed")
    failed = await daemon.says("finalizer_failed", processor="breaking")
    assert (failed["error"], failed["run_id"]) == ("RuntimeError: no report today", rows[0]["run_id"])
    rows = await until(conn, await ask(conn, "hanging", 1), "completed")
    failed = await daemon.says("finalizer_failed", processor="hanging")
    assert "timeout" in failed["error"]
    assert (await look(conn, [row["id"] for row in rows]))[0]["status"] == "completed"


async def test_while_it_runs_it_is_work_in_hand(conn, daemon) -> None:
    """So slow finalizers do not pile up without a bound."""
    await conn.execute("insert into actiond.processor (name, concurrency, batch_size) values ('hanging_long', 1, 1)"
                       " on conflict (name) do update set concurrency = 1, batch_size = 1")  # fmt: skip
    await daemon.says("processor_policy_changed", processor="hanging_long", knob="batch_size")
    ids = await ask(conn, "hanging_long", *range(50))
    await daemon.says("hanging")
    await eventually(lambda: _quiet(conn))
    done = [row for row in await look(conn, ids) if row["status"] == "completed"]
    assert 1 <= len(done) < 50


async def _quiet(conn: asyncpg.Connection) -> bool:
    """Two polls in a row saw the same, and nothing is claimed."""
    count = "select count(*) from actiond.action where status = 'completed'"
    before = await conn.fetchval(count)
    await conn.fetchval("select pg_sleep(0.3)")
    return before == await conn.fetchval(count) and await nothing_claimed(conn)


async def test_a_daemon_that_stops_waits_for_it_for_a_while(conn, daemon) -> None:
    ids = await ask(conn, "hanging_long", 1)
    await daemon.says("hanging")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    assert "the daemon stopped while it ran" in (await daemon.says("finalizer_failed"))["error"]
    assert (await look(conn, ids))[0]["status"] == "completed"


async def test_what_is_saved_at_the_very_end_is_finalized_too(db, conn, start, processor_file) -> None:
    source = processor_file(IMPATIENT + FINALIZERS)
    daemon = await start(db.dsn, source, env={"ACTIOND_DRAIN_S": "0.2"}).ready()
    await ask(conn, "waits", 1)
    await daemon.says("begun")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=15) == 0
    line = await daemon.says("finalized", name="waits")
    assert (line["outcomes"], line["error"]) == (["retried"], "the daemon stopped while it ran")


# Roles and fields.


async def test_a_role_that_is_not_there_stops_the_start_with_a_line(db, conn, start, processor_file) -> None:
    source = '@batch_processor("p", run_as="nobody_at_all")\nasync def p(batch): ...\n'
    daemon = start(db.dsn, processor_file(source))
    assert await daemon.ends() == 1
    [line] = [line["text"] for line in daemon.lines if line["event"] is None]
    assert line == (
        "actiond: This processor cannot take its role: 'p' runs as 'nobody_at_all', but there is no role"
        " 'nobody_at_all' in this database: create it"
    )
    assert await conn.fetchval("select count(*) from actiond.daemon") == 0


CARDS = """
import logging


@processor("charge", redact=("card",), retries=0)
async def charge(action):
    action.log.info("charging", card=action.data["card"], amount=action.data["amount"])
    logging.getLogger("bank.client").warning("POST /charge %s", action.data["card"])
    raise ValueError(f"no bank knows {action.data['card']}, in {action.data}")


@batch_processor("charges", redact=("card",), retries=0)
async def charges(batch):
    for action in batch:
        action.fail(f"declined: {action.data['card']}")
        action.log.warning(f"declined {action.data['card']}")


@processor("open", retries=0)
async def open_(action):
    raise ValueError(action.data["card"])
"""


async def test_what_a_field_holds_is_in_no_log_and_no_error(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(CARDS)).ready()
    cards = ["4111-1111-1111-1111", 4222333344445555]
    ids = await ask(conn, "charge", *[{"card": card, "amount": 7} for card in cards])
    ids += await ask(conn, "charges", *[{"card": card} for card in cards])
    rows = await until(conn, ids, "failed")
    assert rows[0]["error"] == "ValueError: no bank knows [hidden], in {'card': [hidden], 'amount': 7}"
    assert rows[2]["error"] == "declined: [hidden]"
    await daemon.says("action_failed", times=4)
    assert [line["card"] for line in daemon.heard("charging")] == ["[hidden]"] * 2
    assert daemon.heard("charging", amount=7)
    assert daemon.heard("library_warned", message="POST /charge [hidden]")
    [shown] = await until(conn, await ask(conn, "open", {"card": cards[0]}), "failed")
    assert shown["error"] == f"ValueError: {cards[0]}"  # of another processor, which hides nothing
    kept = [tuple(row) for row in await conn.fetch("select error from actiond.action where processor <> 'open'")]
    kept += await conn.fetch("select detail from actiond.history h join actiond.action a on a.id = h.action_id"
                             " where a.processor <> 'open'")  # fmt: skip
    said_by_it = [line for line in daemon.lines if line.get("processor") != "open"]
    for text in (json.dumps(said_by_it), str(kept)):
        assert [card for card in cards if str(card) in text] == []
