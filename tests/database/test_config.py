"""Configuration as a file, against a real database: what is exported, and what an import does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from actiond.cli import config_read, config_write
from actiond.postgres import config_apply, config_store, schedule_edit
from actiond.postgres.config_kinds import KINDS, PLANS, PROCESSORS, SCHEDULES
from actiond.postgres.config_store import Found
from actiond.postgres.connection import Connection, connect
from actiond.rules.config_diff import Difference
from actiond.rules.config_kind import State
from actiond.words.errors import OperatorError
from support.database import Database, eventually
from support.roles import Peopled
from support.schedules import row, schedule

#: What daemons, runs and triggers write: never in a file.
LEFT_BEHIND = {
    "schedule": {"since", "next_at", "last_at", "last_action", "fired", "missed_slots", "overlapped", "error"},
    "plan": {"last_run", "last_run_at", "last_run_clean"},
}
BOOKS = {"edition", "updated_at", "updated_by"}

EVERYTHING = """\
insert into actiond.processor (name, declared, redact) values
  ('welcome', '{"batch_size": 100, "timeout": "30 s"}', '{token}'), ('report', '{}', '{}'), ('still', '{}', '{}');
insert into actiond.processor (name, uses, config, retries)
values ('shipped', 'http', '{"url": "https://shop.example.org", "headers": {"A": {"secret": "s"}}}', 0);
update actiond.processor
   set batch_size = 50, retry_interval = '90 min', enabled = false, breaker = 0.5, rate = '100/min'
 where name = 'welcome';
insert into actiond.schedule (name, processor, cron, timezone, data, related, priority, missed, grace, overlap,
                              environments, starts_at)
values ('nightly', 'report', '30 2 * * *', 'Europe/Berlin',
        '{"day": "{slot}", "at": "22:00", "no": "no", "n": null}', '{slot}',
        1, 'all', '2 days', 'allow', '{production,no}', '2026-03-28 12:00+00');
insert into actiond.schedule (name, processor, every, starts_at)
values ('often', 'unknown', '15 min', '2026-03-28 12:00:00.5+00');
insert into actiond.schedule (name, processor, every, enabled, starts_at)
values ('nightly', 'still', '1 day 1 hour', false, '2026-03-28 12:00:00.5+00');
insert into actiond.schedule (name, processor, cron, data, starts_at)
values ('null', 'report', '@daily', 'null', '2026-03-28 12:00:00.5+00');
update actiond.schedule set name_enabled = false where name = 'often';
insert into actiond.plan (name, description, source, key, processor, mapping, page, overlap, abort_percent, then_plan,
                          then_on, notify, notify_processor, enabled)
values ('spring letter', 'once', E'select id,\\n\\temail \\n  from public.customer\\n', 'id', 'welcome',
        '{"to": "email", "kind": {"const": 1}}', 100, 'allow', 0.1, 'after', 'success', 'rows', 'report', false),
       ('after', null, 'public.customer', null, 'report', null, 5000, 'skip', null, null, 'always', 'never', null,
        true);
update actiond.schedule set fired = 7, missed_slots = 3, last_at = '2026-03-28', error = 'why';
update actiond.plan set last_run = 12, last_run_at = '2026-03-28', last_run_clean = true;
"""


#: What people see where something is hidden.
SHOWN = {"deep": [{"Token": "[hidden]"}], "user": "bob"}
MASKED = {"token": {"const": "[hidden]"}, "to": "mail"}


@pytest.fixture
async def c(db: Database) -> AsyncIterator[Connection]:
    """As a command has it."""
    connection = await connect(db.dsn)
    yield connection
    await connection.close()


async def exported(c: Connection) -> str:
    state = config_store.set_by_people((await config_store.found(c)).shown())
    return config_write.write(state, [kind.section for kind in KINDS])


async def seen(c: Connection, text: str, *, remove: bool = False) -> tuple[State, Found, Difference]:
    wanted = config_read.read(text, "f.yaml").state
    found = await config_store.found(c)
    return wanted, found, found.difference(wanted, remove=remove)


async def imported(c: Connection, text: str, *, remove: bool = False) -> int:
    """How many changes."""
    wanted, _, difference = await seen(c, text, remove=remove)
    await config_apply.apply(c, wanted, difference, remove=remove, reason="a test")
    return len(difference.changes)


async def everything(conn: asyncpg.Connection) -> dict[str, list[dict[str, Any]]]:
    """All columns of the three tables."""
    return {
        table: [dict(each) for each in await conn.fetch(f"select t.* from actiond.{table} t order by 1, 2")]
        for table in ("processor", "schedule", "plan")
    }


async def test_only_what_people_have_set_is_exported(conn, c) -> None:
    await conn.execute(EVERYTHING)
    text = await exported(c)
    assert config_read.read(text, "f").state == {
        "processors": {
            ("shipped",): {
                "uses": "http",
                "retries": 0,
                "config": {"url": "https://shop.example.org", "headers": {"A": {"secret": "s"}}},
            },
            ("welcome",): {
                "enabled": False,
                "batch_size": 50,
                "retry_interval": "1 h 30 min",
                "rate": "100/min",
                "breaker": 0.5,
            },
        },
        "schedules": {
            ("nightly", "report"): {
                "cron": "30 2 * * *",
                "timezone": "Europe/Berlin",
                "starts_at": "2026-03-28T12:00:00+00:00",
                "data": {"n": None, "at": "22:00", "no": "no", "day": "{slot}"},
                "related": "{slot}",
                "priority": 1,
                "missed": "all",
                "grace": "2 d",
                "overlap": "allow",
                "environments": ["production", "no"],
            },
            ("nightly", "still"): {"every": "1 d 1 h", "enabled": False},
            ("null", "report"): {"cron": "@daily", "data": None},
            ("often", "unknown"): {"every": "15 min", "name_enabled": False},
        },
        "plans": {
            ("after",): {"source": "public.customer", "processor": "report"},
            ("spring letter",): {
                "description": "once",
                "source": "select id,\n\temail \n  from public.customer\n",
                "key": "id",
                "processor": "welcome",
                "mapping": {"to": "email", "kind": {"const": 1}},
                "page": 100,
                "enabled": False,
                "overlap": "allow",
                "abort_percent": 0.1,
                "then_plan": "after",
                "then_on": "success",
                "notify": "rows",
                "notify_processor": "report",
            },
        },
    }
    assert text == await exported(c)


async def test_every_column_is_either_in_the_file_or_left_behind_by_what_runs(conn) -> None:
    """A new column has to be one or the other: what people set and a file does not know would get lost."""
    for table, kind in (("schedule", SCHEDULES), ("plan", PLANS)):
        columns = await conn.fetch(
            "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped",
            f"actiond.{table}",
        )
        fields = {each.name for each in kind.fields}
        assert {each["attname"] for each in columns} - LEFT_BEHIND[table] - BOOKS - set(kind.named_by) == fields
    await conn.execute("insert into actiond.processor (name) values ('p')")
    knobs = await conn.fetch("select knob from actiond.processor_policy where processor = 'p'")
    assert {each["knob"] for each in knobs} == {each.name for each in PROCESSORS.fields} - {"uses"}


async def test_to_export_and_import_changes_nothing_not_even_an_edition(conn, c) -> None:
    await conn.execute(EVERYTHING)
    before = await everything(conn)
    text = await exported(c)
    assert await imported(c, text) == 0
    assert await imported(c, text, remove=True) == 0
    assert await everything(conn) == before


async def test_another_database_gets_all_of_it_and_a_second_time_nothing(server, template, conn, c) -> None:
    await conn.execute(EVERYTHING)
    text = await exported(c)
    async with server.fresh(template) as other:
        there = await connect(other.dsn)
        await there.execute("insert into actiond.processor (name) values ('welcome'), ('report')")
        assert await imported(there, text) == 8
        assert await exported(there) == text
        assert await imported(there, text) == 0
        fresh = await row(there, "nightly", "report")
        assert (fresh["fired"], fresh["last_at"], fresh["error"], fresh["missed_slots"]) == (0, None, None, 0)
        assert await there.fetchval("select last_run from actiond.plan where name = 'spring letter'") is None
        assert await imported(there, "version: 1\nprocessors: {}\nschedules: {}\nplans: {}\n", remove=True) == 8
        assert await there.fetchval("select count(*) from actiond.schedule") == 0
        assert await there.fetchval("select count(*) from actiond.plan") == 0
        await there.close()


async def test_changes_go_the_way_of_the_single_commands(db, conn, c) -> None:
    """History names who and why, the daemons are told, what is due next is computed anew, a run that began notices."""
    await conn.execute(EVERYTHING)
    heard: list[str] = []
    await conn.add_listener("actiond_policy", lambda *said: heard.append(said[2]))
    text = (await exported(c)).replace("batch_size: 50", "batch_size: 60").replace("30 2 * * *", "30 3 * * *")
    text = text.replace("page: 100", "page: 200")
    before = await everything(conn)
    assert await imported(c, text) == 3
    entry = await conn.fetchrow("select * from actiond.history where processor = 'welcome' order by id desc")
    assert (entry["event"], entry["verb"], entry["reason"], entry["by"]) == (
        "set",
        "set",
        "a test",
        await conn.fetchval("select session_user"),
    )
    assert (entry["before"], entry["after"]) == ('{"batch_size": 50}', '{"batch_size": 60}')
    (old,) = [each for each in before["schedule"] if (each["name"], each["processor"]) == ("nightly", "report")]
    new = await row(conn, "nightly", "report")
    assert new["since"] > old["since"]
    assert (new["edition"], new["error"], new["fired"]) == (old["edition"] + 1, None, 7)
    editions = {each["name"]: each["edition"] for each in before["plan"]}
    assert await conn.fetchval("select edition from actiond.plan where name = 'after'") == editions["after"]
    assert (
        await conn.fetchval(
            "select edition - $1 from actiond.plan where name = 'spring letter'", editions["spring letter"]
        )
        == 1
    )
    await eventually(lambda: heard)


async def test_all_of_it_or_nothing(conn, c) -> None:
    await conn.execute(EVERYTHING)
    before = await everything(conn)
    text = (await exported(c)).replace("batch_size: 50", "batch_size: 60").replace("key: id", "key: ''")
    with pytest.raises(asyncpg.CheckViolationError, match="key_is_not_empty"):
        await imported(c, text)
    assert await everything(conn) == before


@pytest.mark.parametrize(
    "edit",
    [
        "update actiond.processor set batch_size = 51 where name = 'welcome'",
        "update actiond.processor set concurrency = 2 where name = 'welcome'",
        "update actiond.schedule set timezone = 'Asia/Tokyo' where name = 'nightly' and processor = 'report'",
        "update actiond.schedule set priority = 3 where name = 'nightly' and processor = 'report'",
        "update actiond.plan set description = 'twice' where name = 'spring letter'",
        "update actiond.plan set page = 7 where name = 'spring letter'",
        "delete from actiond.plan where name = 'spring letter'",
        "insert into actiond.plan (name, source, processor) values ('new', 'x', 'other')",
    ],
    ids=lambda edit: " ".join(edit.split()[:5]),
)
async def test_an_edit_between_the_look_and_the_import_is_not_overwritten(conn, c, edit: str) -> None:
    await conn.execute(EVERYTHING)
    text = (await exported(c)).replace("batch_size: 50", "batch_size: 60\n    concurrency: 3")
    text = text.replace("timezone: Europe/Berlin", "timezone: Europe/Paris").replace("priority: 1", "priority: 0")
    text = text.replace("description: once", "description: thrice").replace("page: 100", "page: 200")
    text += "  new:\n    source: x\n    processor: report\n"
    wanted, _, difference = await seen(c, text)
    await conn.execute(edit)
    after = await everything(conn)
    with pytest.raises(OperatorError, match="somebody has changed it meanwhile, so nothing was imported"):
        await config_apply.apply(c, wanted, difference, remove=False, reason=None)
    assert await everything(conn) == after


@pytest.mark.parametrize(
    "edit",
    [
        "update actiond.processor set batch_size = 51 where name = 'welcome'",
        "update actiond.schedule set timezone = 'Asia/Tokyo' where name = 'nightly' and processor = 'report'",
        "update actiond.plan set description = 'twice' where name = 'spring letter'",
    ],
    ids=lambda edit: edit.split()[1],
)
async def test_an_edit_that_is_under_way_is_waited_for_and_then_seen(conn, c, edit: str) -> None:
    """Without the lock the import would read what stood there before, and overwrite what commits a moment later."""
    await conn.execute(EVERYTHING)
    text = (
        (await exported(c))
        .replace("batch_size: 50", "batch_size: 60")
        .replace("description: once", "description: thrice")
    )
    text = text.replace("timezone: Europe/Berlin", "timezone: Europe/Paris")
    wanted, _, difference = await seen(c, text)
    transaction = conn.transaction()
    await transaction.start()
    await conn.execute(edit)
    importing = asyncio.create_task(config_apply.apply(c, wanted, difference, remove=False, reason=None))
    pid = c.get_server_pid()
    await eventually(lambda: conn.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid))
    await transaction.commit()
    with pytest.raises(OperatorError, match="somebody has changed it meanwhile"):
        await importing


async def test_what_daemons_write_meanwhile_is_no_edit(conn, c) -> None:
    await conn.execute(EVERYTHING)
    text = (await exported(c)).replace("timezone: Europe/Berlin", "timezone: Europe/Paris")
    wanted, _, difference = await seen(c, text)
    await conn.execute("update actiond.schedule set fired = fired + 1, next_at = '2026-04-01', last_action = 7")
    await conn.execute("update actiond.processor set declared = '{\"retries\": 1}', woken_at = now()")
    await config_apply.apply(c, wanted, difference, remove=False, reason=None)
    assert (await row(conn, "nightly", "report"))["timezone"] == "Europe/Paris"


async def test_an_interval_keeps_its_grid_where_nobody_has_set_one(conn, c) -> None:
    await schedule(conn, "often", "p", every="15 min", starts_at="2026-03-28 12:00:00.5+00")
    text = (await exported(c)).replace("every: 15 min", "every: 15 min\n      overlap: allow")
    assert "starts_at" not in text
    assert await imported(c, text) == 1
    assert str((await row(conn, "often", "p"))["starts_at"]) == "2026-03-28 12:00:00.500000+00:00"
    text = text.replace("overlap: allow", "starts_at: 2026-03-28T13:00:00+01:00")
    assert await imported(c, text) == 1
    assert str((await row(conn, "often", "p"))["starts_at"]) == "2026-03-28 12:00:00+00:00"
    assert "starts_at: '2026-03-28T12:00:00+00:00'" in await exported(c)
    assert await imported(c, text.replace("      starts_at: 2026-03-28T13:00:00+01:00\n", "")) == 1
    assert (await row(conn, "often", "p"))["starts_at"].year >= 2026
    assert "starts_at" not in await exported(c)


async def test_a_switch_of_a_whole_name_reaches_all_its_rows(conn, c) -> None:
    for processor in ("p", "q"):
        await schedule(conn, "s", processor, cron="@hourly")
    text = "version: 1\nschedules:\n  s:\n    p:\n      cron: '@daily'\n      name_enabled: false\n"
    assert await imported(c, text) == 2
    assert [each["name_enabled"] for each in await schedule_edit.schedules(c, "s")] == [False, False]
    text = "version: 1\nschedules:\n  s:\n    p:\n      cron: '@daily'\n    new:\n      cron: '@daily'\n"
    assert await imported(c, text) == 3
    assert [each["name_enabled"] for each in await schedule_edit.schedules(c, "s")] == [True, True, True]
    assert await imported(c, text) == 0


async def test_a_name_that_is_off_only_by_a_row_that_goes_is_not_off_for_one_that_comes(conn, c) -> None:
    await schedule(conn, "s", "p", cron="@hourly", name_enabled=False)
    text = "version: 1\nschedules:\n  s:\n    q:\n      cron: '@daily'\n"
    assert await imported(c, text, remove=True) == 2
    assert [(each["processor"], each["name_enabled"]) for each in await schedule_edit.schedules(c, "s")] == [
        ("q", True)
    ]


async def test_an_override_that_is_not_in_the_file_stays(conn, c) -> None:
    await conn.execute(EVERYTHING)
    text = "version: 1\nprocessors:\n  welcome:\n    batch_size: 60\n"
    assert await imported(c, text) == 1
    stored = await conn.fetchrow("select enabled, batch_size, rate from actiond.processor where name = 'welcome'")
    assert tuple(stored) == (False, 60, "100/min")
    assert await imported(c, text, remove=True) == 2  # and `shipped`
    stored = await conn.fetchrow("select enabled, batch_size, rate from actiond.processor where name = 'welcome'")
    assert tuple(stored) == (None, 60, None)
    assert await conn.fetchval("select uses is null and config is null from actiond.processor where name = 'shipped'")


async def test_an_override_of_a_processor_nobody_has_declared_is_refused(conn, c) -> None:
    await conn.execute("insert into actiond.processor (name) values ('known')")
    text = "version: 1\nprocessors:\n  known:\n    retries: 1\n  strange:\n    retries: 1\n"
    with pytest.raises(OperatorError, match="processor strange: no such processor is known here"):
        await imported(c, text)
    assert await conn.fetchval("select retries from actiond.processor where name = 'known'") is None


async def test_what_a_processor_hides_is_not_exported_and_comes_back_as_it_was(server, template, conn, c) -> None:
    await conn.execute("insert into actiond.processor (name, redact) values ('p', '{token}')")
    await schedule(conn, "s", "p", cron="@daily", data='{"user": "ada", "deep": [{"Token": "t0p"}]}')
    await conn.execute(
        "insert into actiond.plan (name, source, processor, mapping)"
        """ values ('l', 'x', 'p', '{"token": {"const": "t0p"}, "to": "email"}')"""
    )
    text = await exported(c)
    assert "t0p" not in text
    assert text.count("'[hidden]'") == 2
    assert await imported(c, text) == 0
    assert await imported(c, text.replace("ada", "bob").replace("email", "mail")) == 2
    assert (await row(conn))["data"] == '{"deep": [{"Token": "t0p"}], "user": "bob"}'
    assert "t0p" in await conn.fetchval("select mapping::text from actiond.plan")
    written = text.replace("'[hidden]'", "other")  # by hand
    _, found, difference = await seen(c, written)
    assert [(each.before, each.after) for each in found.masked(difference).changes] == [
        ({"data": SHOWN}, {"data": {**SHOWN, "user": "ada"}}),
        ({"mapping": MASKED}, {"mapping": {**MASKED, "to": "email"}}),
    ]
    assert await imported(c, written) == 2
    assert await imported(c, written) == 0
    assert await imported(c, text) == 0
    async with server.fresh(template) as other:
        there = await connect(other.dsn)
        with pytest.raises(OperatorError, match=r"schedule s for p: \[hidden\] stands for a value that is not shown"):
            await imported(there, text)
        assert await there.fetchval("select count(*) from actiond.schedule") == 0
        await there.close()


async def test_the_rights_are_those_of_who_imports(peopled: Peopled) -> None:
    """Operators edit schedules and knobs, and switch plans; the owner says what a plan reads and a built-in does."""
    async with peopled.connected("postgres") as admin:
        await admin.execute("insert into actiond.plan (name, source, processor) values ('l', 'public.x', 'p')")
        await admin.execute("update actiond.processor set retries = 3 where name = 'p'")
    try:
        for who, text, may in (
            ("operator", "processors:\n  p:\n    retries: 4\n", True),
            ("operator", "schedules:\n  s:\n    p:\n      cron: '@daily'\n", True),
            ("operator", "schedules:\n  s:\n    p:\n      cron: '@hourly'\n", True),
            ("operator", "plans:\n  l:\n    source: public.x\n    processor: p\n    enabled: false\n", True),
            ("operator", "plans:\n  l:\n    source: public.y\n    processor: p\n    enabled: false\n", False),
            ("operator", "plans:\n  m:\n    source: public.y\n    processor: p\n", False),
            ("operator", "processors:\n  p:\n    uses: command\n", False),
            ("operator", "processors:\n  p:\n    config: {a: 1}\n", False),
            ("owner", "processors:\n  p:\n    config: {a: 1}\n", True),
            ("owner", "plans:\n  m:\n    source: public.y\n    processor: p\n", True),
            ("reader", "schedules:\n  s:\n    p:\n      cron: '@weekly'\n", False),
            ("daemon", "processors:\n  p:\n    retries: 7\n", False),
        ):
            connection = await connect(peopled.dsn(who))
            try:
                if may:
                    assert await imported(connection, f"version: 1\n{text}") == 1, (who, text)
                else:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await imported(connection, f"version: 1\n{text}")
            finally:
                await connection.close()
        reader = await connect(peopled.dsn("reader"))
        assert "retries: 4" in await exported(reader)
        await reader.close()
        async with peopled.connected("postgres") as admin:
            by = await admin.fetchval(
                "select by from actiond.history where processor = 'p' and after ? 'retries' order by id desc"
            )
            assert by == "test_operator"
            assert await admin.fetchval("select updated_by from actiond.schedule where name = 's'") == "test_operator"
    finally:
        async with peopled.connected("postgres") as admin:
            await admin.execute(
                "delete from actiond.plan; delete from actiond.schedule;"
                " delete from actiond.history where processor = 'p'"
            )
            await admin.execute("update actiond.processor set retries = null, config = null where name = 'p'")
