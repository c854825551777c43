"""The examples of docs/coming-from-salesforce.md, as they stand there, on one daemon: each does what it promises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from house.source import ROOT
from support.daemon import Daemon, daemons
from support.database import Database, Server, eventually
from support.pages import blocks_of
from support.rows import ask, events, until

pytestmark = pytest.mark.slow

PAGE = "docs/coming-from-salesforce.md"
TABLES = """
create table public.account (id int primary key, rating text check (rating in ('hot', 'cold')),
                             last_seen timestamptz not null default now());
create table public.lead (id int primary key, converted boolean not null default false);
"""
#: What the page takes for granted.
THEIRS = """
from actiond import Action, Batch, batch_processor, processor


@processor("charge_card", retries=0)
async def charge_card(action: Action) -> str:
    if action.data.get("declined"):
        raise RuntimeError("the card was declined")
    return "charged"


@processor("tell_owner")
async def tell_owner(action: Action) -> str:
    return f"told about {action.data['about']}"


@processor("send_reminder", retries=0)
async def send_reminder(action: Action) -> str:
    if not action.data["to"]:
        raise ValueError("no address")
    return f"{action.data['kind']} to {action.data['to']}"
"""


def written_in(language: str) -> list[str]:
    blocks = blocks_of((ROOT / PAGE).read_text(), PAGE)
    return [block.text for block in blocks if block.language == language]


def example(word: str) -> str:
    """The SQL of the page in which that stands."""
    (found,) = [text for text in written_in("sql") if word in text]
    return found


@pytest.fixture(scope="module")
def db(server: Server, template: str) -> Iterator[Database]:
    with server.kept(template) as database:
        asyncio.run(_tables(database))
        yield database


async def _tables(database: Database) -> None:
    connection = await database.connect()
    await connection.execute(TABLES)
    await connection.close()


@pytest.fixture(scope="module")
def daemon(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Serves what the page shows, block by block."""
    folder = tmp_path_factory.mktemp("page")
    files: list[Path] = []
    for number, text in enumerate([THEIRS, *(text for text in written_in("python") if "actiond.testing" not in text)]):
        files.append(folder / f"block_{number}.py")
        files[-1].write_text(text)
    with daemons() as start:
        daemon = start(db.dsn, *files)
        asyncio.run(daemon.ready())
        yield daemon


async def test_an_outcome_for_each_action_and_not_for_the_batch(daemon: Daemon, conn: asyncpg.Connection) -> None:
    await conn.execute(example("account_followup', '001xx"))
    unknown = await ask(conn, "account_followup", {})
    known = [row["id"] for row in await conn.fetch("select id from actiond.action where related like '001xx%'")]
    assert len(await until(conn, known, "completed")) == 2
    [failed] = await until(conn, unknown, "failed")
    assert failed["error"] == "no such account"
    assert failed["retries_left"] is None, "SUDDEN_DEATH has cost none"


async def test_one_action_a_call(daemon: Daemon, conn: asyncpg.Connection) -> None:
    [called] = await until(conn, await ask(conn, "call_back", {}, related="001xx"), "completed")
    assert json.loads(called["result"]) == "called 001xx"
    await until(conn, await ask(conn, "call_back", {}), "failed")


async def test_what_the_database_refuses_fails_alone(daemon: Daemon, conn: asyncpg.Connection) -> None:
    await conn.execute("insert into public.account (id) select generate_series(1, 20)")
    asked = [{"account": n, "rating": "hot" if n != 7 else "lukewarm"} for n in range(1, 21)]
    ids = await ask(conn, "rate_accounts", *asked)
    rows = await until(conn, ids, "completed", "failed")
    [bad] = [row for row in rows if row["status"] == "failed"]
    assert bad["id"] == ids[6]
    assert "account_rating_check" in bad["error"]
    assert await conn.fetchval("select count(*) from public.account where rating = 'hot'") == 19


async def test_a_job_of_the_asyncjob_framework(daemon: Daemon, conn: asyncpg.Connection) -> None:
    space: dict[str, object] = {}
    (text,) = [text for text in written_in("python") if "JobBuilder" in text]
    exec(compile(text, PAGE, "exec"), space)
    id_ = await space["ask"](conn)  # type: ignore[operator]
    [row] = await until(conn, [id_], "completed")
    shown = await conn.fetchrow("select * from actiond.job_list where id = $1", id_)
    assert shown["status"] == "Completed"
    assert "file 7" in row["result"]
    [fatal] = await until(conn, await ask(conn, "import_file", {"file": -1}), "failed")
    assert fatal["error"] == "no such file"
    assert fatal["attempts"] == 1, "FATAL_ERROR is tried no more"


async def test_steps_that_remember(daemon: Daemon, conn: asyncpg.Connection) -> None:
    [row] = await until(conn, await ask(conn, "nightly_walk", {}), "completed")
    assert json.loads(row["result"])["sum"] == sum(range(1, 2501))
    line = await daemon.says("walked")
    assert line["sum"] == sum(range(1, 2501))
    assert (await events(conn, row["id"])).count("deferred") == row["attempts"] - 1, "one step, or one chunk, a run"


async def test_start_execute_finish(daemon: Daemon, conn: asyncpg.Connection) -> None:
    await conn.execute(
        "insert into public.account (id, last_seen) "
        "select n, now() - interval '3 years' from generate_series(1001, 1450) n"
    )
    [job] = await until(conn, await ask(conn, "cleanup", {}), "completed")
    assert json.loads(job["result"]) == {"deleted": 450, "failed": []}
    assert await conn.fetchval("select count(*) from public.account where id > 1000") == 0


async def test_what_waits_for_the_end_of_another_runs_however_it_ended(
    daemon: Daemon, conn: asyncpg.Connection
) -> None:
    for data in ('{"order": 7}', '{"order": 7, "declined": true}'):
        told = await conn.fetchval(example("charge_card").replace('{"order": 7}', data))
        [row] = await until(conn, [told], "completed")
        assert json.loads(row["result"]).startswith("told about")
    statuses = await conn.fetch("select status from actiond.action where processor = 'charge_card' order by id")
    assert [row["status"] for row in statuses] == ["completed", "failed"]


async def test_schedules_fire_by_themselves(daemon: Daemon, conn: asyncpg.Connection) -> None:
    await conn.execute(example("'America/New_York'"))
    await conn.execute("update actiond.schedule set every = '1 s' where name = 'often'")
    await daemon.says("schedule_fired", schedule="often")
    nightly = "select next_at at time zone 'America/New_York' from actiond.schedule where name = 'nightly'"
    await eventually(lambda: conn.fetchval(f"select ({nightly}) is not null"))
    at = await conn.fetchval(nightly)
    assert (at.hour, at.minute) == (2, 0)
    assert at.isoweekday() <= 5
    await conn.execute("delete from actiond.schedule")


async def test_an_event_goes_to_all_who_subscribed_with_the_transaction(
    daemon: Daemon, conn: asyncpg.Connection
) -> None:
    await conn.execute(example("lead_converted', 'greet_customer"))
    await conn.execute("insert into public.lead (id) values (1), (2)")
    heard: list[str] = []
    await conn.add_listener("leads", lambda *told: heard.append(told[-1]))
    await until(conn, await ask(conn, "convert_leads", {"lead": 1}, {"lead": 2}), "completed")
    greeted = "select count(*) = 2 from actiond.action where processor = 'greet_customer' and status = 'completed'"
    await eventually(lambda: conn.fetchval(greeted))
    await eventually(lambda: len(heard) == 2)
    assert {text.split(": ")[1] for text in heard} == {"1", "2"}
    assert await conn.fetchval("select bool_and(converted) from public.lead")


async def test_a_mass_action_makes_an_action_of_every_row(daemon: Daemon, conn: asyncpg.Connection) -> None:
    await conn.execute(example("create schema billing"))
    await conn.execute(
        "insert into billing.invoice (id, email, amount, paid) "
        "select n, case when n <> 5 then n || '@example.org' end, n, n > 30 from generate_series(1, 50) n"
    )
    run = await conn.fetchval("select actiond.plan_run('reminders')")
    await until(conn, [run], "completed")
    rows = await conn.fetch("select status, related, data from actiond.action where parent_id = $1 order by id", run)
    assert len(rows) == 30
    assert [row["related"] for row in rows if row["status"] == "failed" or row["related"] == "5"] == ["5"]
    assert json.loads(rows[0]["data"]) == {"to": "1@example.org", "amount": 1, "kind": "first reminder"}
    log = await conn.fetchrow("select made, completed, failed from actiond.plan_log where run = $1", run)
    assert log["made"] == 30
    await conn.execute("delete from actiond.schedule")


async def test_its_test_is_green() -> None:
    (text,) = [text for text in written_in("python") if "actiond.testing" in text]
    space: dict[str, object] = {}
    exec(compile(text, PAGE, "exec"), space)
    await space["test_only_the_bad_one_fails"]()  # type: ignore[operator]
