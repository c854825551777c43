"""Flags and windows of real daemons: rows wait, are never lost, and are claimed the moment they may be.

The safety poll of these daemons comes every ten minutes: what happens at once was told, or is a timer of the loop.
"""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg
import pytest

from support.clock import CLOCK, set_now
from support.command import actiond
from support.database import eventually
from support.rows import ask, events, look, until

pytestmark = pytest.mark.slow

WORK = """
@processor("welcome", flag="new_checkout")
async def welcome(action):
    return "welcome"


@batch_processor("letters", flag="new_checkout", batch_size=50)
async def letters(batch):
    batch.complete()


@processor("nightly", window="22:00-06:00 UTC")
async def nightly(action):
    return "done"


@processor("slow", concurrency=1, batch_size=10)
async def slow(action):
    while not await anyio.Path(action.data).exists():
        await anyio.sleep(0.01)


@processor("other")
async def other(action):
    pass
"""
LONG_LEASE = {"ACTIOND_LEASE_S": "600"}  # the clock of the database is put forward


async def others_are_done(conn: asyncpg.Connection) -> None:
    """A daemon that claims others has had every occasion to claim these."""
    await until(conn, await ask(conn, "other", *[{}] * 5), "completed")


async def explained(db, id_: int) -> list[dict]:
    return json.loads((await actiond("explain", str(id_), "--json", dsn=db.dsn)).out)["reasons"]


async def said(db, *words: str, code: int = 0) -> str:
    done = await actiond(*words, dsn=db.dsn)
    assert done.code == code, (words, done.out, done.err)
    return done.out


async def runs_on_from(conn: asyncpg.Connection, time: str) -> None:
    """It is this time, and the clock goes on."""
    await conn.execute(CLOCK.format(f"timestamptz '{time}' + (clock_timestamp() - timestamptz '{await _real(conn)}')"))


async def _real(conn: asyncpg.Connection) -> str:
    at: str = await conn.fetchval("select clock_timestamp()::text")
    return at


async def one_runs_and_four_wait_to_start(conn: asyncpg.Connection, gate: Path) -> list[int]:
    """All five are claimed: what is quick is claimed ahead."""
    await until(conn, await ask(conn, "slow", *["/"] * 50), "completed")
    ids = await ask(conn, "slow", *[str(gate)] * 5)
    await until(conn, ids, "running")
    return ids


async def test_rows_wait_while_a_flag_is_off_and_are_done_at_once_when_it_is_on(
    db, conn, start, processor_file
) -> None:
    source = processor_file(WORK)
    both = [await start(db.dsn, source).ready() for _ in range(2)]
    ids = await ask(conn, "welcome", *[{}] * 20) + await ask(conn, "letters", *[{}] * 20)
    await others_are_done(conn)
    assert {(row["status"], row["attempts"], row["error"]) for row in await look(conn, ids)} == {("pending", 0, None)}
    (first, *_) = await explained(db, ids[0])
    assert (first["name"], first["remedy"]) == ("flag_off", "switch it on: `actiond flag on new_checkout`")
    status = await said(db, "status")
    assert "welcome (flag off)" in status
    assert (
        "20 rows wait for 'letters', whose flag 'new_checkout' is off, as nobody has ever set it: is its name right?"
        in status
    )
    doctor = json.loads((await actiond("doctor", "--json", dsn=db.dsn)).out)
    found = {each["name"]: each["what"] for each in doctor["findings"]}
    assert found["flag_unknown"].startswith("processor letters, processor welcome ask for flag 'new_checkout'")

    on = await said(db, "flag", "on", "new_checkout", "--reason", "release 12")
    assert on.splitlines() == ["flag new_checkout: not set -> on", "undo: actiond flag rm new_checkout"]
    rows = await until(conn, ids, "completed", within_s=30)
    assert {row["attempts"] for row in rows} == {1}

    await said(db, "flag", "off", "new_checkout")
    for each in both:
        await each.says("flag_switched", flag="new_checkout", enabled=False, processors=["letters", "welcome"])
    late = await ask(conn, "welcome", *[{}] * 5)
    await others_are_done(conn)
    assert {row["attempts"] for row in await look(conn, late)} == {0}
    await said(db, "set", "welcome", "flag", "none")  # what an operator says counts more
    await until(conn, late, "completed", within_s=30)
    told = json.loads(await said(db, "flag", "list", "--json"))
    assert [(row["flag"], row["on"], row["set"], row["asked_by"]) for row in told] == [
        ("new_checkout", False, True, ["processor letters"])
    ]


async def test_a_flag_that_goes_off_lets_what_runs_end_and_takes_back_what_has_not_begun(
    db, conn, start, processor_file, tmp_path: Path
) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    await said(db, "flag", "on", "night_shift")
    await said(db, "set", "slow", "flag", "night_shift")
    ids = await one_runs_and_four_wait_to_start(conn, tmp_path / "go")
    await said(db, "flag", "off", "night_shift")
    await until(conn, ids[1:], "pending")
    (first,) = await look(conn, ids[:1])
    assert first["status"] == "running"
    (tmp_path / "go").touch()
    await until(conn, ids[:1], "completed")
    await others_are_done(conn)
    waiting = await look(conn, ids[1:])
    assert {(row["status"], row["attempts"], row["retries_left"]) for row in waiting} == {("pending", 0, None)}
    await said(db, "flag", "on", "night_shift")
    await until(conn, ids, "completed", within_s=30)


async def test_a_loop_sleeps_until_its_window_opens_and_claims_then(db, conn, start, processor_file) -> None:
    await set_now(conn, "2030-01-01 21:52+00")
    await start(db.dsn, processor_file(WORK), env=LONG_LEASE).ready()
    ids = await ask(conn, "nightly", *[{}] * 5)
    await others_are_done(conn)
    assert {row["attempts"] for row in await look(conn, ids)} == {0}
    (first, *_) = await explained(db, ids[0])
    assert (first["name"], first["said"]) == (
        "window_closed",
        "'nightly' runs only 22:00-06:00 UTC; that begins in 8 min, at 2030-01-01 22:00 UTC",
    )
    assert "nightly (window closed)" in await said(db, "status")
    assert "nightly (window closed)" in (await actiond("top", "--once", dsn=db.dsn, env={"COLUMNS": "200"})).out
    await runs_on_from(conn, "2030-01-01 21:59:57+00")
    await conn.execute("notify actiond_policy")  # the daemon hears what time it is, and of nothing else from now on
    await until(conn, ids, "completed")
    began = await conn.fetchval("select min(started_at) from actiond.action where processor = 'nightly'")
    assert (began.hour, began.minute) == (22, 0)


async def test_when_a_window_closes_what_runs_ends_and_what_has_not_begun_waits(
    db, conn, start, processor_file, tmp_path: Path
) -> None:
    await set_now(conn, "2030-01-01 13:52+00")
    daemon = await start(db.dsn, processor_file(WORK), env=LONG_LEASE).ready()
    await said(db, "set", "slow", "window", "mon-sun 9:00-14:00")
    await daemon.says("processor_policy_changed", knob="window", after="Mon-Sun 09:00-14:00 UTC")
    ids = await one_runs_and_four_wait_to_start(conn, tmp_path / "go")
    await runs_on_from(conn, "2030-01-01 13:59:58+00")
    await conn.execute("notify actiond_policy")
    await until(conn, ids[1:], "pending")
    assert (await look(conn, ids[:1]))[0]["status"] == "running"
    (tmp_path / "go").touch()
    await until(conn, ids[:1], "completed")
    await others_are_done(conn)
    assert {(row["status"], row["attempts"]) for row in await look(conn, ids[1:])} == {("pending", 0)}
    assert (await explained(db, ids[1]))[0]["name"] == "window_closed"
    await said(db, "set", "slow", "window", "none")
    await until(conn, ids, "completed", within_s=30)


async def test_hours_of_a_zone_that_the_host_does_not_know_shut_one_processor_and_no_daemon(
    db, conn, start, processor_file
) -> None:
    hours = """alter table actiond.processor disable trigger processor_window_checked;
               insert into actiond.processor (name, "window") values ('welcome', '22:00-06:00 Mars/Olympus')"""
    await conn.execute(hours)  # the server may know a zone that the host of a daemon lacks
    await said(db, "flag", "on", "new_checkout")
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    told = await daemon.says("processor_policy_refused", processor="welcome")
    assert told["error"].startswith("there is no time zone 'Mars/Olympus'")
    ids = await ask(conn, "welcome")
    await others_are_done(conn)
    assert {row["attempts"] for row in await look(conn, ids)} == {0}
    await said(db, "set", "welcome", "window", "--unset")
    await until(conn, ids, "completed", within_s=30)


async def test_a_schedule_whose_flag_is_switched_on_fires_from_then_on(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    await said(db, "schedule", "add", "tick", "other", "--every", "1 s", "--data", "{}", "--flag", "ticking")
    await others_are_done(conn)
    (listed,) = json.loads(await said(db, "schedule", "ls", "--json"))
    assert (listed["fired"], listed["flag"], listed["flag_on"]) == (0, "ticking", False)
    assert "its flag 'ticking' is off" in await said(db, "schedule", "ls")
    await said(db, "flag", "on", "ticking")
    fired = "select fired >= 2 and missed_slots = 0 from actiond.schedule"
    await eventually(lambda: conn.fetchval(fired))


# Plans


async def made(conn: asyncpg.Connection, run: int) -> int:
    count: int = await conn.fetchval("select count(*) from actiond.action where parent_id = $1", run)
    return count


async def test_a_run_of_a_plan_stands_still_between_two_pages_while_its_flag_is_off(
    db, conn, start, processor_file
) -> None:
    rows = 2_000
    await conn.execute(f"create table public.person as select n as id from generate_series(1, {rows}) n")
    for _ in range(2):
        await start(db.dsn, processor_file(WORK)).ready()
    await said(db, "plan", "add", "all", "other", "--source", "public.person", "--key", "id", "--page", "2",
               "--flag", "campaign")  # fmt: skip
    refused = await actiond("plan", "run", "all", dsn=db.dsn)
    assert (refused.code, refused.line) == (
        1,
        "actiond: the flag 'campaign' of plan 'all' is off: `actiond flag on campaign`",
    )
    assert "its flag 'campaign' is off" in await said(db, "plan", "ls")
    (run,) = await ask(conn, "actiond.plan", {"plan": "all"})  # as a schedule, or a plan before it, asks for one
    waits = "select exists (select from actiond.plan_waits where run = $1)"
    await eventually(lambda: conn.fetchval(waits, run))
    assert [each["name"] for each in await explained(db, run)] == ["future", "flag_off"]
    assert (await explained(db, run))[1]["said"].startswith("the flag 'campaign' of plan 'all' is off")
    assert await made(conn, run) == 0

    await said(db, "flag", "on", "campaign")
    await eventually(lambda: conn.fetchval("select exists (select from actiond.action where parent_id = $1)", run))
    await said(db, "flag", "off", "campaign")
    await eventually(lambda: conn.fetchval(waits, run))
    so_far = await made(conn, run)
    assert 0 < so_far < rows
    await others_are_done(conn)
    assert await made(conn, run) == so_far
    assert "failed" not in await events(conn, run)

    await said(db, "flag", "on", "campaign")
    await until(conn, [run], "completed")
    assert await made(conn, run) == rows
    sources = "select count(distinct data ->> 'id') from actiond.action where parent_id = $1"
    assert await conn.fetchval(sources, run) == rows


async def test_of_two_runs_that_wait_for_one_flag_the_first_goes_on_and_the_other_is_not_needed(
    db, conn, start, processor_file
) -> None:
    await conn.execute("create table public.person as select n as id from generate_series(1, 10) n")
    await start(db.dsn, processor_file(WORK)).ready()
    await said(db, "plan", "add", "all", "other", "--source", "public.person", "--key", "id", "--flag", "campaign",
               "--overlap", "allow")  # fmt: skip
    runs = await ask(conn, "actiond.plan", *[{"plan": "all"}] * 2)
    await eventually(lambda: conn.fetchval("select count(*) = 2 from actiond.plan_waits"))
    await conn.execute("update actiond.plan set overlap = 'skip'")
    await said(db, "flag", "on", "campaign")
    first, second = await until(conn, runs, "completed", "canceled")
    assert (first["status"], second["status"]) == ("completed", "canceled")
    assert await made(conn, runs[0]) == 10


# What people type


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["flag", "on", "two words"], "a name of letters, digits, _ . -"),
        (["flag", "off", "none"], "'none' is the name of no flag"),
        (["flag", "rm", "never"], "nobody has set flag 'never'; `actiond flag list` shows all"),
        (["set", "welcome", "window", "at night"], "hours as '22:00-06:00 Europe/Berlin'"),
        (["set", "welcome", "window", "22:00-06:00 Europe/Berlinn"], "did you mean Europe/Berlin?"),
        (["set", "welcome", "flag", "two words"], "a name of letters, digits"),
        (["schedule", "add", "s", "p", "--every", "1 h", "--flag", "a b"], "a name of letters, digits"),
        (["plan", "add", "s", "p", "--source", "t", "--flag", "a b"], "a name of letters, digits"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_in_words(db, words: list[str], said: str) -> None:
    refused = await actiond(*words, dsn=db.dsn)
    assert refused.code in (1, 2)
    assert said in refused.err
    assert "Traceback" not in refused.err


async def test_the_commands_say_what_was_and_what_nobody_asks_for(db, conn) -> None:
    await conn.execute("insert into actiond.processor (name, flag) values ('p', 'new_checkout')")
    assert "no flag is set or asked for" not in await said(db, "flag", "list")
    on = await actiond("flag", "on", "new_chekout", dsn=db.dsn)
    assert on.out.splitlines() == ["flag new_chekout: not set -> on", "undo: actiond flag rm new_chekout"]
    assert on.line == "nothing asks for flag 'new_chekout' (did you mean new_checkout?)"
    again = json.loads(await said(db, "flag", "on", "new_chekout", "--json"))
    assert again == {"changed": [], "undo": ["actiond flag on new_chekout"]}
    assert (await said(db, "flag", "off", "new_chekout")).splitlines()[1] == "undo: actiond flag on new_chekout"
    assert (await said(db, "flag", "rm", "new_chekout")).splitlines()[0] == "flag new_chekout: off -> not set"
    lines = [line.split() for line in (await said(db, "flag", "ls")).splitlines()]
    assert lines[1] == ["new_checkout", "off", "(never", "set)", "processor", "p"]
