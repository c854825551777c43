"""Plans: rows of a query become actions of a processor; also when daemons die in the middle."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.command import actiond
from support.database import eventually
from support.rows import look, until

pytestmark = pytest.mark.slow

WORK = """
@batch_processor("letters", batch_size=500)
async def letters(batch):
    for action in batch:
        if action.data.get("to") == "nobody":
            action.fail("nobody lives there", SUDDEN_DEATH)
        else:
            action.complete()


@batch_processor("reports")
async def reports(batch):
    batch.complete()
"""


async def people(conn, count: int, nobody: int = 0) -> None:
    """`nobody`: every so many-eth of them fails."""
    await conn.execute(
        "create table public.person (id bigint primary key, name text, street text, keen smallint, since timestamptz)"
    )
    await conn.execute(
        "insert into public.person select n, case when $2 > 0 and n % $2 = 0 then 'nobody' else 'p' || n end,"
        " 'street ' || n, n % 4, now() from generate_series(1, $1::int) n",
        count,
        nobody,
    )


async def planned(db, *words: str, code: int = 0):
    said = await actiond("plan", *words, dsn=db.dsn)
    assert said.code == code, (words, said.out, said.err)
    return said


async def ran(db, conn, name: str, *ends: str) -> dict:
    """Run it, wait for its end; gives its row, with the result read."""
    id_ = json.loads((await planned(db, "run", name, "--json")).out)["run"]
    (row,) = await until(conn, [id_], *(ends or ("completed",)))
    return {**row, "result": json.loads(row["result"]) if row["result"] else None}


async def made_of(conn, run: int) -> list[dict]:
    rows = await conn.fetch("select * from actiond.action where parent_id = $1 order by id", run)
    return [{**row, "data": json.loads(row["data"])} for row in rows]


async def test_every_row_becomes_an_action_by_the_mapping_or_by_name(db, conn, start, processor_file) -> None:
    await people(conn, 30, nobody=10)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(
        db, "add", "mapped", "letters", "--source", "select * from public.person where id <= 20;", "--key", "ID",
        "--page", "7",
        "--map", "to=Name", "--map", "address.street=street", "--map", "related=id", "--map", "priority=keen",
        "--const", 'address.country="DE"', "--const", "retries_left=2",
    )  # fmt: skip
    preview = json.loads((await planned(db, "preview", "mapped", "--json")).out)
    assert (preview["rows"], preview["no_key"], len(preview["sample"])) == (20, 0, 5)
    assert preview["sample"][0]["data"] == {"to": "p1", "address": {"street": "street 1", "country": "DE"}}
    assert await conn.fetchval("select count(*) from actiond.action") == 0
    run = await ran(db, conn, "mapped")
    assert run["result"] == {
        "plan": "mapped", "run": run["id"], "clean": False, "total": 20, "completed": 18, "failed": 2, "canceled": 0,
        "success_percent": 90.0, "failed_ids": run["result"]["failed_ids"],
    }  # fmt: skip
    made = await made_of(conn, run["id"])
    assert [row["related"] for row in made] == [str(n) for n in range(1, 21)]
    assert {(row["priority"], row["retries_left"], row["processor"]) for row in made} == {
        (priority, 2, "letters") for priority in range(4)
    }
    assert made[4]["data"] == {"to": "p5", "address": {"street": "street 5", "country": "DE"}}
    assert run["result"]["failed_ids"] == [row["id"] for row in made if row["data"]["to"] == "nobody"]

    source = "select name as to, id as \"Related\", now() + interval '1 d' as due_at, 1.5 as size from public.person"
    await planned(db, "add", "by name", "letters", "--source", source)
    id_ = json.loads((await planned(db, "run", "by name", "--json")).out)["run"]
    await eventually(lambda: conn.fetchval("select waits_for is not null from actiond.action where id = $1", id_))
    made = await made_of(conn, id_)
    assert sorted(made[0]["data"]) == ["size", "to"]
    assert sorted(int(row["related"]) for row in made) == list(range(1, 31))
    assert round((made[0]["next_eligible_at"] - made[0]["created_at"]).total_seconds() / 86400) == 1
    (listed,) = json.loads((await planned(db, "ls", "by name", "--json")).out)
    assert listed["running"] == id_
    said = await planned(db, "run", "by name", code=1)
    assert (
        said.line
        == f"actiond: run {id_} of plan 'by name' is still open: `actiond plan runs 'by name'` shows how far it is"
    )


async def test_rows_of_one_key_are_never_parted(db, conn, start, processor_file) -> None:
    await people(conn, 100)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(db, "add", "ties", "letters", "--source", "select name as to, keen from public.person", "--key",
                  "keen", "--page", "3")  # fmt: skip
    run = await ran(db, conn, "ties")
    assert run["result"]["completed"] == 100
    assert len({row["data"]["to"] for row in await made_of(conn, run["id"])}) == 100


async def test_killed_in_the_middle_every_row_has_exactly_one_action(db, conn, start, processor_file) -> None:
    await people(conn, 8_000)
    file = processor_file(WORK)
    daemons = [await start(db.dsn, file).ready() for _ in range(2)]
    await planned(db, "add", "many", "letters", "--source", "public.person", "--key", "id", "--page", "40")
    id_ = json.loads((await planned(db, "run", "many", "--json")).out)["run"]
    for at_least in (400, 3000):

        async def so_far(wanted: int = at_least) -> bool:
            return (
                await conn.fetchval("select (state ->> 'made')::int from actiond.action where id = $1", id_) or 0
            ) >= wanted

        await eventually(so_far)
        victim = await conn.fetchval("select claimed_by from actiond.action where id = $1", id_)
        for daemon in list(daemons):
            if daemon.heard("daemon_ready", daemon_id=victim):
                daemon.kill()
                daemons.remove(daemon)
                daemons.append(await start(db.dsn, file).ready())
    (row,) = await until(conn, [id_], "completed")
    assert json.loads(row["result"])["completed"] == 8_000
    assert await conn.fetchrow(
        "select count(*) as n, count(distinct data -> 'id') as people from actiond.action where parent_id = $1", id_
    ) == (8_000, 8_000)


async def test_a_run_is_held_goes_on_and_another_is_canceled_with_all_it_made(db, conn, start, processor_file) -> None:
    await people(conn, 6_000)
    await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute("update actiond.processor set enabled = false where name = 'letters'")
    await planned(db, "add", "slow", "letters", "--source", "public.person", "--key", "id", "--page", "10")
    id_ = json.loads((await planned(db, "run", "slow", "--json")).out)["run"]
    count = "select count(*) from actiond.action where parent_id = $1"
    await eventually(lambda: conn.fetchval(f"select ({count}) > 100", id_))
    assert (await actiond("hold", str(id_), dsn=db.dsn)).code == 0
    await eventually(
        lambda: conn.fetchval("select status = 'held' and claimed_by = 0 from actiond.action where id = $1", id_)
    )
    there = await conn.fetchval(count, id_)
    assert there < 6_000
    assert (await actiond("release", str(id_), dsn=db.dsn)).code == 0
    await eventually(lambda: conn.fetchval(f"select ({count}) = 6000", id_))
    (logged,) = json.loads((await planned(db, "runs", "slow", "--json")).out)
    assert (logged["made"], logged["open"], logged["completed"]) == (6_000, 6_000, 0)
    assert await conn.fetchval("select actiond.cancel_family($1)", id_) == 6_001
    (logged,) = json.loads((await planned(db, "runs", "--json")).out)
    assert (logged["status"], logged["canceled"]) == ("canceled", 6_000)


async def test_too_many_failures_end_it(db, conn, start, processor_file) -> None:
    await people(conn, 4_000, nobody=2)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(db, "add", "bad", "letters", "--source", "select *, name as to from public.person", "--key", "id",
                  "--page", "50", "--abort-percent", "20", "--notify", "errors")  # fmt: skip
    heard: list[str] = []
    await conn.add_listener("actiond_events", lambda *news: heard.append(news[-1]))
    run = await ran(db, conn, "bad", "failed")
    assert run["error"].startswith("aborted: more than 20 % failed (")
    totals = await conn.fetchrow("select total, open, failed from actiond.progress($1)", run["id"])
    assert totals["open"] == 0
    assert totals["failed"] < 2_000
    await eventually(lambda: len(heard) == 1)
    assert json.loads(heard[0])["aborted"] == "more than 20 % failed"


async def test_what_follows_and_who_is_told(db, conn, start, processor_file) -> None:
    await people(conn, 10)
    await start(db.dsn, processor_file(WORK)).ready()
    source = ("--source", "select name as to from public.person")
    await planned(db, "add", "after", "letters", *source)
    await planned(db, "add", "first", "letters", *source, "--then", "after", "--then-on", "success", "--notify", "rows",
                  "--notify-processor", "reports")  # fmt: skip
    run = await ran(db, conn, "first")
    (followed,) = await until(conn, [run["result"]["followed_by"]], "completed")
    assert json.loads(followed["result"])["plan"] == "after"
    (told,) = await conn.fetch("select data from actiond.action where processor = 'reports'")
    assert json.loads(told["data"])["completed"] == 10
    await planned(db, "set", "first", "--then-on", "errors", "--notify", "never", "--notify-processor", "")
    assert "followed_by" not in (await ran(db, conn, "first"))["result"]
    assert await conn.fetchval("select count(*) from actiond.action where processor = 'reports'") == 1
    (row,) = json.loads((await planned(db, "ls", "first", "--json")).out)
    assert (row["last_run_clean"], row["notify_processor"]) == (True, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--source", "select * from public.nowhere"), 'relation "public.nowhere" does not exist'),
        (("--source", "selekt 1"), 'syntax error at or near "selekt"'),
        (("--source", "select 1 as a, 2 as a"), "the source has two columns of one name"),
        (("--source", "public.person", "--key", "nokey"), "the source has no column 'nokey' to page by"),
        (
            ("--source", "public.person", "--map", "to=nobody"),
            "the source has no column \"nobody\" for 'to'. It has id, name,",
        ),
        (("--source", "public.person", "--map", "a=id", "--map", "a.b=name"), "which has a value of its own"),
        (("--source", "public.person", "--map", "priority=name"), "invalid input syntax for type smallint"),
    ],
    ids=["table", "syntax", "twice", "key", "column", "within", "type"],
)
async def test_a_wrong_source_or_mapping_fails_before_the_first_row(
    db, conn, start, processor_file, options, said
) -> None:
    await people(conn, 10)
    await planned(db, "add", "wrong", "letters", *options)
    shown = await planned(db, "preview", "wrong", code=1)
    assert said in shown.line
    await start(db.dsn, processor_file(WORK)).ready()
    run = await ran(db, conn, "wrong", "failed")
    assert said in run["error"]
    assert run["attempts"] == 1
    assert await made_of(conn, run["id"]) == []


async def test_a_key_that_is_null_a_plan_that_is_off_and_one_that_changes(db, conn, start, processor_file) -> None:
    await people(conn, 3000)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(db, "add", "p", "letters", "--source", "select nullif(id, 7) as id from public.person", "--key", "id")
    shown = await planned(db, "preview", "p", code=1)
    assert "the key is NULL in 1 row" in shown.err
    run = await ran(db, conn, "p", "failed")
    assert "is NULL in some rows (1): they would never be read" in run["error"]
    await planned(db, "disable", "p")
    assert "is off" in (await planned(db, "run", "p", code=1)).line
    id_ = await conn.fetchval("select actiond.enqueue('actiond.plan', '{\"plan\": \"p\"}')")
    await until(conn, [id_], "canceled")
    await planned(db, "enable", "p")
    await planned(db, "set", "p", "--source", "public.person", "--page", "1")
    id_ = await conn.fetchval("select actiond.plan_run('p')")
    await eventually(lambda: conn.fetchval("select state is not null from actiond.action where id = $1", id_))
    await planned(db, "set", "p", "--page", "5000")
    await conn.execute("update actiond.action set status = 'held' where id = $1", id_)
    await conn.execute("update actiond.action set status = 'pending' where id = $1", id_)
    (row,) = await until(conn, [id_], "failed")
    assert "was changed after this run had begun" in row["error"]


async def test_commands_say_what_is_wrong(db) -> None:
    for words, said in (
        (("add", "x", "letters"), "say where the rows come from"),
        (("add", "x", "letters", "--source", "@/nowhere"), "cannot be read"),
        (("add", "x", "letters", "--source", "t", "--const", "a=b"), "is no JSON"),
        (("add", "x", "letters", "--source", "t", "--map", "a"), "write TARGET=COLUMN"),
        (("add", "x", "a b", "--source", "t"), "processor_is_1_to_255_characters"),
        (("set", "x", "--page", "7"), "there is no plan 'x'"),
        (("run", "x"), "there is no plan 'x'"),
        (("preview", "x"), "there is no plan 'x'"),
        (("runs", "x"), "there is no plan 'x'"),
        (("rm", "x", "--yes"), "there is no plan 'x'"),
    ):
        shown = await planned(db, *words, code=1)
        assert said in shown.line, words
    await planned(db, "add", "x", "letters", "--source", "t")
    assert "is a plan 'x' already" in (await planned(db, "add", "x", "letters", "--source", "t", code=1)).line
    assert "would remove" in (await planned(db, "rm", "x", "--dry-run")).out
    await planned(db, "rm", "x", "--yes")
    assert (await planned(db, "ls")).out == "no plan yet: `actiond plan add` makes one\n"


async def test_a_row_that_a_producer_inserts_brings_no_statement(db, conn, start, processor_file) -> None:
    await people(conn, 5)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(db, "add", "p", "letters", "--source", "public.person", "--key", "id")
    state = {"edition": 1, "made": 0, "last": "1'; drop table public.person; --", "first": "drop table public.person"}
    id_ = await conn.fetchval(
        "insert into actiond.action (processor, data, state)"
        " values ('actiond.plan', '{\"plan\": \"p\"}', $1) returning id",
        json.dumps(state),
    )
    (row,) = await until(conn, [id_], "failed")
    assert "invalid input syntax for type bigint" in row["error"]
    assert await conn.fetchval("select count(*) from public.person") == 5


async def test_waiting_for_a_run(db, conn, start, processor_file) -> None:
    await people(conn, 50, nobody=25)
    await start(db.dsn, processor_file(WORK)).ready()
    await planned(db, "add", "w", "letters", "--source", "select name as to from public.person")
    ended = json.loads((await planned(db, "run", "w", "--wait", "--json", code=1)).out)
    assert (ended["status"], ended["completed"], ended["failed"]) == ("completed", 48, 2)
    assert (await asyncio.gather(look(conn, [ended["run"]])))[0][0]["status"] == "completed"
