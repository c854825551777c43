"""`actiond schedule` as people use it: real commands, what they print, what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.clock import set_now
from support.command import Said, actiond
from support.schedules import inserted, row, schedule

pytestmark = pytest.mark.slow


async def said(dsn: str, *arguments: str, **more: Any) -> Said:
    done = await actiond("schedule", *arguments, dsn=dsn, **more)
    assert "Traceback" not in done.err
    return done


async def answer(dsn: str, *arguments: str) -> Any:
    done = await said(dsn, *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


async def test_a_schedule_from_its_first_to_its_last_day(db, conn) -> None:
    await set_now(conn, "2026-05-05 12:00+00")
    await conn.execute("insert into actiond.processor (name) values ('report')")
    options = ["--timezone", "Europe/Berlin", "--data", '{"day": "{slot}"}', "--missed", "all", "--grace", "2 d"]
    added = await said(db.dsn, "add", "nightly", "report", "--cron", "30 2 * * *", *options)
    assert added.out == (
        "added: nightly inserts an action for report: At 02:30 every day (Europe/Berlin); "
        "next 2026-05-06 02:30:00+02:00\n"
    )
    assert added.err == ""
    again = await said(db.dsn, "add", "nightly", "report", "--cron", "@daily")
    assert "there is a schedule 'nightly' for processor 'report' already" in again.line
    other = await said(db.dsn, "add", "nightly", "clean", "--every", "15 min")
    assert other.line == "no processor 'clean' is known yet: is the name right?"
    rows = await answer(db.dsn, "ls")
    assert [(each["processor"], each["says"]) for each in rows] == [
        ("clean", "Every 15 min"),
        ("report", "At 02:30 every day (Europe/Berlin)"),
    ]
    assert rows[1]["data"] == {"day": "{slot}"}
    table = (await said(db.dsn, "ls")).out
    assert "2026-05-06 02:30:00+02:00" in table
    assert "no such processor is known" in table
    assert (
        "several processors: say which with --processor (clean, report)"
        in (await said(db.dsn, "set", "nightly", "--cron", "@daily")).line
    )
    changed = await said(db.dsn, "set", "nightly", "--processor", "report", "--every", "1 h", "--grace", "")
    assert "Every 1 h; next 2026-05-05 15:00:00+02:00" in changed.out
    stored = await row(conn, "nightly", "report")
    assert (stored["cron"], stored["grace"], stored["missed"]) == (None, None, "all")
    assert (await answer(db.dsn, "rm", "nightly", "--processor", "clean", "--dry-run"))["would_remove"] == ["clean"]
    assert (await said(db.dsn, "rm", "nightly", stdin="n\n")).code == 130
    assert await conn.fetchval("select count(*) from actiond.schedule") == 2
    assert (await said(db.dsn, "rm", "nightly", "--processor", "clean", stdin="y\n")).out == (
        "removed: schedule nightly for clean\n"
    )
    assert (await answer(db.dsn, "rm", "nightly", "--yes"))["removed"] == ["report"]
    assert (await said(db.dsn, "ls")).out.startswith("no schedule yet")


async def test_both_switches(db, conn) -> None:
    for processor in ("p", "q"):
        await schedule(conn, "s", processor, cron="@hourly")
    await said(db.dsn, "disable", "s", "--processor", "q")
    off = await said(db.dsn, "disable", "s")
    assert off.out.splitlines() == [
        "s for p: the whole name is off",
        "s for q: this row is off and the whole name is off",
    ]
    on = await answer(db.dsn, "enable", "s")
    assert [(each["enabled"], each["name_enabled"]) for each in on] == [(True, True), (False, True)]
    assert "there is no schedule 't'" in (await said(db.dsn, "enable", "t")).line


async def test_explain_shows_ten_slots_and_both_changes_of_the_clocks(db, conn) -> None:
    await set_now(conn, "2026-10-20 12:00+00")
    await schedule(conn, cron="30 2 * * *", timezone="Europe/Berlin", data="{}")
    shown = (await said(db.dsn, "explain", "s")).out
    assert shown.startswith("At 02:30 every day (Europe/Berlin)\n  inserts an action for p\n")
    slots = [line for line in shown.splitlines() if line.startswith("20")]
    assert len(slots) == 10
    assert slots[4].startswith("2026-10-25 02:30:00+02:00  Sun")
    assert slots[5].startswith("2026-10-26 02:30:00+01:00  Mon")
    assert "the clocks are set at 2026-10-25T03:00:00+02:00: then it is 2026-10-25T02:00:00+01:00" in shown
    assert "the clocks are set at 2027-03-28T02:00:00+01:00: then it is 2027-03-28T03:00:00+02:00" in shown
    assert shown.rstrip().endswith("2027-03-28T03:00:00+02:00")


async def test_explain_needs_no_row_and_with_a_time_no_database() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    cron = ["--cron", "0 */6 * * ?", "--timezone", "America/New_York", "--from", "2026-10-31"]
    told = await answer(nowhere, "explain", *cron)
    assert told["fires"][3:7] == [
        "2026-11-01T00:00:00-04:00",
        "2026-11-01T06:00:00-05:00",
        "2026-11-01T12:00:00-05:00",
        "2026-11-01T18:00:00-05:00",
    ]
    assert [change["after"] for change in told["clock_changes"]] == [
        "2026-11-01T01:00:00-05:00",
        "2027-03-14T03:00:00-04:00",
    ]
    assert (await said(nowhere, "explain", "--cron", "@daily")).code == 3


async def test_run_now_does_what_the_next_slot_would_and_leaves_the_slots(db, conn) -> None:
    await set_now(conn, "2026-05-05 12:00+00")
    await schedule(conn, cron="@hourly", data='{"at": "{slot}"}', enabled=False)
    await schedule(conn, "s", "q", cron="@hourly")
    assert await answer(db.dsn, "run-now", "s", "--processor", "p") == [{"processor": "p", "action": 1}]
    assert json.loads((await inserted(conn))[0]) == {"at": "2026-05-05T12:00:00+00:00"}
    open_ = await said(db.dsn, "run-now", "s")
    assert open_.line == "actiond: action 1 of schedule 's' is still open: --force inserts another one"
    forced = await said(db.dsn, "run-now", "s", "--force")
    assert forced.out == "p: action 2\nq: woken\n"
    assert (await row(conn))["next_at"] is None
    assert (await row(conn))["last_action"] == 2


async def test_a_schedule_that_is_not_there(db) -> None:
    for arguments in (["explain", "x"], ["set", "x", "--cron", "@daily"], ["rm", "x", "--yes"], ["run-now", "x"]):
        refused = await said(db.dsn, *arguments)
        assert refused.code == 1
        assert refused.line == "actiond: there is no schedule 'x'; `actiond schedule ls` lists them all"


async def test_status_tells_of_schedules_that_do_not_fire(db, conn) -> None:
    await set_now(conn, "2026-05-05 12:00+00")
    await schedule(conn, "late", cron="@hourly")
    await conn.execute("update actiond.schedule set next_at = timestamptz '2026-05-05 11:00+00'")
    await schedule(conn, "wrong", cron="x")
    await conn.execute("update actiond.schedule set error = 'cron x' where name = 'wrong'")
    await schedule(conn, "fine", cron="@hourly")
    problems = json.loads((await actiond("status", "--json", dsn=db.dsn)).out)["problems"]
    assert "schedule 'late' for 'p' has been due for 1 h: is a daemon running?" in problems
    assert "schedule 'wrong' for 'p' cannot fire: cron x" in problems
    assert not any("fine" in problem for problem in problems)
