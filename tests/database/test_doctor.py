"""`doctor`: every finding, provoked on a real server, named rightly; and nothing found where nothing is wrong."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.doctor import Practice, examine
from actiond.postgres.migrate import files_of, migrate
from actiond.postgres.statements import Statements
from actiond.rules.diagnosis import Limits
from actiond.rules.drift import functions_in
from actiond.words.errors import DatabaseUnreachable
from actiond.words.findings import CATALOG, Finding, Severity
from schema import FILE, written
from support.clock import move_now
from support.database import Database, eventually, memory
from support.pooler import running_pooler
from support.work import claim, insert, register, store_of

pytestmark = pytest.mark.slow

#: What holds on every server that tests run on: they forget at a crash, and one connects as postgres.
USUAL = {"not_durable", "forgotten_transactions", "superuser"}


@dataclass
class Ward:
    """A database with a daemon that lives, and who examines it."""

    db: Database
    conn: asyncpg.Connection
    practice: Practice
    sessions: list[asyncpg.Connection] = field(default_factory=list)

    async def session(self, application: str = "somebody", dsn: str | None = None) -> asyncpg.Connection:
        connection = await asyncpg.connect(dsn or self.db.dsn, server_settings={"application_name": application})
        self.sessions.append(connection)
        return connection

    def limit(self, **limits: Any) -> None:
        self.practice = replace(self.practice, limits=replace(self.practice.limits, **limits))

    async def findings(self) -> list[Finding]:
        return [each for each in await examine(self.practice) if each.name not in USUAL]

    async def finding(self) -> Finding:
        """The only one."""
        (found,) = await self.findings()
        return found


def practice_of(dsn: str) -> Practice:
    return Practice(dsn, dsn, True, 9)


@pytest.fixture
async def ward(db, conn) -> AsyncIterator[Ward]:
    """Daemon 1 lives as long as `conn`; nobody beats for it, so it may be silent for a while."""
    await register(conn, "p")
    await conn.execute("insert into actiond.processor (name, built_in) values ('p', '{\"timeout\": \"1 s\"}')")
    ward = Ward(db, conn, practice_of(db.dsn))
    ward.limit(silence_s=60)
    yield ward
    for each in ward.sessions:
        each.terminate()


async def test_where_nothing_is_wrong_nothing_is_found(ward: Ward) -> None:
    assert {each.name for each in await examine(ward.practice)} == USUAL


# One by one. Each gives what the finding must say.


def by_sql(sql: str, said: str) -> Callable[[Ward], Awaitable[str]]:
    async def provoke(ward: Ward) -> str:
        await ward.conn.execute(sql)
        return said

    return provoke


async def index_invalid(ward: Ward) -> str:
    await insert(ward.conn, 2)
    with pytest.raises(asyncpg.UniqueViolationError):
        await ward.conn.execute("create unique index concurrently broken on actiond.action (processor)")
    return "actiond.broken, which is not actiond's, was not finished"


async def notification_queue(ward: Ward) -> str:
    ward.limit(queue=0.0)
    listener = await ward.session()
    await listener.execute("listen something")
    await listener.execute("begin; select 1")
    await ward.conn.execute("select pg_notify('something', repeat('x', 7000) || i) from generate_series(1, 100) i")
    return "some session listens inside a long transaction"


async def connection_budget(ward: Ward) -> str:
    ward.practice = replace(ward.practice, connections=1000)
    return "1 daemon may open 1000 connections each"


async def long_transaction(ward: Ward) -> str:
    ward.limit(transaction_s=0.0)
    session = await ward.session("a report")
    await session.execute("begin; select 1")
    return f"pid {session.get_server_pid()}, user postgres, application 'a report', idle in transaction: in a transac"


async def session_blocked(ward: Ward) -> str:
    ward.limit(blocked_s=0.0)
    (id_,) = await insert(ward.conn)
    holder, waiter = await ward.session("a migration"), await ward.session("actiond work")
    await holder.execute("begin")
    await holder.execute("update actiond.action set related = 'x' where id = $1", id_)
    waiting = asyncio.create_task(waiter.execute("update actiond.action set related = 'y' where id = $1", id_))
    waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    await eventually(lambda: ward.conn.fetchval("select exists (select from pg_locks where not granted)"))
    return f"of pid {holder.get_server_pid()}, user postgres, application 'a migration'"


async def dead_rows(ward: Ward) -> str:
    ward.limit(dead_rows=100)
    await insert(ward.conn, 1000)
    await ward.conn.execute("delete from actiond.action")
    await ward.conn.execute("select pg_stat_force_next_flush()")
    await eventually(
        lambda: ward.conn.fetchval(
            "select n_dead_tup >= 1000 from pg_stat_user_tables where relid = 'actiond.action'::regclass"
        )
    )
    return "1,000 of 1,000 rows of actiond.action are dead; the last vacuum was never"


async def listen_off(ward: Ward) -> str:
    ward.practice = replace(ward.practice, listen=False)
    return "ACTIOND_LISTEN is off"


async def listen_elsewhere(ward: Ward) -> str:
    elsewhere = re.sub(rf"/{ward.db.name}\b", "/postgres", ward.db.dsn)
    ward.practice = replace(ward.practice, listen_dsn=elsewhere)
    return "leads to postgres, server started "


async def daemon_silent(ward: Ward) -> str:
    ward.limit(silence_s=5)
    await ward.conn.execute("update actiond.daemon set seen_at = actiond.now() - interval '20 s'")
    return "daemon 1 on here, pid 1, was last seen 2"


async def run_abandoned(ward: Ward) -> str:
    ward.limit(abandoned_s=0.0)
    await insert(ward.conn, 3)
    pool = await asyncpg.create_pool(ward.db.dsn, min_size=0, max_size=1)
    await claim(store_of(pool, 99))
    await pool.close()
    return "run 1 of 'p' with 3 rows on daemon 99, which does not live"


async def run_overdue(ward: Ward) -> str:
    await insert(ward.conn, 3)
    pool = await asyncpg.create_pool(ward.db.dsn, min_size=0, max_size=1)
    await claim(store_of(pool, 1))
    await pool.close()
    await ward.conn.execute("update actiond.run set started_at = actiond.now() - interval '1 hour'")
    return "run 1 of 'p' with 3 rows on daemon 1 is open for 1 h"


async def not_checked(ward: Ward) -> str:
    session = await ward.session()
    await session.execute("begin; lock table actiond.setting in access exclusive mode")
    return "daemons and rows: LockNotAvailableError"


DATABASE = "do $$ begin execute format('alter database %I set {}', current_database()); end $$"

PROVOKED: dict[str, Callable[[Ward], Awaitable[str]]] = {
    "schema_outdated": by_sql(
        "update actiond.migration set sha256 = '' where version = 0", "the schema lacks functions"
    ),
    "schema_newer": by_sql(
        "insert into actiond.migration (version, name, sha256) values (999, '0999_later', '')", "migration 0999_later"
    ),
    "migration_edited": by_sql("update actiond.migration set sha256 = '' where version = 1", "was edited after"),
    "table_changed": by_sql(
        "alter table actiond.action alter column created_at drop not null",
        "column action.created_at is: timestamp with time zone default actiond.now()",
    ),
    "function_changed": by_sql(
        "create or replace function actiond.ring(processor text) returns void language sql as 'select null::void'",
        "actiond.ring is not what this version made",
    ),
    "trigger_missing": by_sql(
        "alter table actiond.action disable trigger action_inserted", "action.action_inserted is switched off"
    ),
    "index_missing": by_sql("drop index actiond.action_related", "actiond.action_related is missing"),
    "index_invalid": index_invalid,
    "index_added": by_sql("create index slow on actiond.action (created_at)", "actiond.slow is not actiond's"),
    "claim_plan": by_sql("drop index actiond.action_due", "the claim looks for rows by "),
    "read_only": by_sql(DATABASE.format("default_transaction_read_only = on"), "default_transaction_read_only is on"),
    "synchronous_commit_off": by_sql(DATABASE.format("synchronous_commit = off"), "synchronous_commit is off"),
    "isolation": by_sql(
        DATABASE.format("default_transaction_isolation = serializable"), "default_transaction_isolation is serializable"
    ),
    "autovacuum_off": by_sql(
        "alter table actiond.run set (autovacuum_enabled = off)", "autovacuum is off for actiond.run"
    ),
    "notification_queue": notification_queue,
    "connection_budget": connection_budget,
    "long_transaction": long_transaction,
    "session_blocked": session_blocked,
    "dead_rows": dead_rows,
    "listen_off": listen_off,
    "listen_elsewhere": listen_elsewhere,
    "no_daemon": by_sql(
        "update actiond.daemon set ended_at = actiond.now(), ended = 'stopped'", "no daemon is running"
    ),
    "daemon_silent": daemon_silent,
    "run_abandoned": run_abandoned,
    "run_overdue": run_overdue,
    "paused": by_sql("insert into actiond.setting (name, value) values ('paused', 'true')", "everything is paused"),
    "processor_disabled": by_sql(
        "update actiond.processor set enabled = false; insert into actiond.action (processor) values ('p')",
        "'p' is disabled, and 1 row waits",
    ),
    "flag_off": by_sql(
        "update actiond.processor set flag = 'new'; insert into actiond.setting (name, value)"
        " values ('flag:new', 'false'); insert into actiond.action (processor) values ('p')",
        "the flag 'new' of 'p' is off, and 1 row waits",
    ),
    "flag_unknown": by_sql(
        "update actiond.processor set flag = 'new'", "processor p asks for flag 'new', which nobody has set"
    ),
    "processor_unserved": by_sql(
        "insert into actiond.processor (name) values ('q'); insert into actiond.action (processor) values ('q'), ('q')",
        "2 rows wait for 'q', and no daemon that lives has it",
    ),
    "orphans": by_sql(
        "insert into actiond.action (processor) values ('typo')",
        "1 row waits for 'typo', which no daemon ever declared",
    ),
    "not_checked": not_checked,
}
#: These need a server, a schema or a way there of their own, or hold on every server of these tests; see below.
APART = {
    *USUAL, "schema_missing", "standby", "clock_skew", "prepared_transaction", "listen_silent",
}  # fmt: skip


def test_every_finding_is_provoked() -> None:
    assert PROVOKED.keys() | APART == CATALOG.keys()
    assert not PROVOKED.keys() & APART


@pytest.mark.parametrize("name", list(PROVOKED))
async def test_a_finding_is_named_rightly(ward: Ward, name: str) -> None:
    said = await PROVOKED[name](ward)
    found = await ward.findings()
    if name == "claim_plan":
        assert [each.name for each in found] == ["index_missing", "claim_plan"]
        found = found[1:]
    assert {each.name for each in found} == {name}
    assert any(said in each.what for each in found)
    assert found[0].remedy


ANOTHER_TRIGGER = (
    "create or replace trigger action_inserted before insert on actiond.action execute function actiond.inserted()"
)


@pytest.mark.parametrize(
    ("sql", "name", "said"),
    [
        ("alter table actiond.action drop constraint status_is_known", "table_changed", "status_is_known is missing"),
        ("alter table actiond.action add mine text", "table_changed", "column action.mine is not actiond's"),
        ("alter table actiond.action set (fillfactor = 90)", "table_changed", "action.fillfactor is: 90"),
        ("alter function actiond.changed_by_hand() reset search_path", "function_changed", "changed_by_hand is not"),
        ("alter function actiond.changed_by_hand() security invoker", "function_changed", "changed_by_hand is not"),
        ("drop function actiond.enqueue", "function_changed", "actiond.enqueue is missing"),
        ("drop trigger action_inserted on actiond.action", "trigger_missing", "action.action_inserted is missing"),
        (
            ANOTHER_TRIGGER,
            "trigger_missing",
            "action.action_inserted is another one",
        ),
        (
            "drop index actiond.action_failed; create index action_failed on actiond.action (processor)",
            "index_missing",
            "actiond.action_failed is another index",
        ),
        (
            "update pg_index set indisvalid = false where indexrelid = 'actiond.action_related'::regclass",
            "index_invalid",
            "actiond.action_related was not finished",
        ),
    ],
    ids=lambda value: value if " " not in value else "",
)
async def test_what_was_changed_by_hand_is_named_rightly(ward: Ward, sql: str, name: str, said: str) -> None:
    await ward.conn.execute(sql)
    found = await ward.finding()
    assert found.name == name
    assert said in found.what


async def test_what_the_doctor_says_about_an_index_and_functions_helps(ward: Ward) -> None:
    await ward.conn.execute("drop index actiond.action_due; drop trigger action_inserted on actiond.action")
    await ward.conn.execute("drop function actiond.enqueue")
    for each in await ward.findings():
        for command in re.findall(r"`([^`]+)`", each.remedy):
            if command == "actiond migrate":
                await migrate(ward.db.dsn)
            elif each.name != "claim_plan":
                await ward.conn.execute(command)
    assert await ward.findings() == []


# What needs more


async def test_a_database_without_a_schema(bare_db) -> None:
    (found,) = await examine(practice_of(bare_db.dsn))
    assert (found.name, found.remedy) == ("schema_missing", "`actiond migrate`")


async def test_a_clock_that_is_wrong(ward: Ward) -> None:
    await move_now(ward.conn, "-1 hour")
    found = {each.name: each for each in await ward.findings()}
    assert found.keys() == {"clock_skew", "function_changed"}  # the clock of these tests is a function
    assert re.fullmatch(r"the server's clock is (1 h|59 min)( \d+ s)? behind this host's", found["clock_skew"].what)


async def test_a_pooler_in_transaction_mode_is_suspected(ward: Ward) -> None:
    async with running_pooler(ward.db) as pooler:
        ward.practice = replace(ward.practice, listen_dsn=pooler.dsn)
        found = await ward.finding()
    assert found.name == "listen_silent"
    assert "is this a pooler in transaction mode?" in found.what
    assert "ACTIOND_LISTEN_DSN" in found.remedy


async def test_a_server_that_is_gone_is_no_finding() -> None:
    with pytest.raises(DatabaseUnreachable):
        await examine(practice_of("postgresql://nobody@127.0.0.1:1/nowhere"))


async def test_findings_of_one_name_are_few(ward: Ward) -> None:
    await ward.conn.execute("insert into actiond.action (processor) select 'typo_' || i from generate_series(1, 20) i")
    assert [each.name for each in await ward.findings()] == ["orphans"] * Limits().each


async def test_a_reader_without_other_rights_can_ask(ward: Ward, a_role: str) -> None:
    await ward.conn.execute(
        f"alter role {a_role} login password 'x'; grant usage on schema actiond to {a_role};"
        f" grant select on all tables in schema actiond to {a_role}"
    )
    dsn = ward.db.dsn.replace("//postgres@", f"//{a_role}:x@").replace("//postgres:", f"//{a_role}:")
    found = {each.name: each for each in await examine(practice_of(dsn))}
    assert found.keys() == USUAL - {"superuser"} | {"not_checked"}
    assert found["not_checked"].what.startswith("plan of the claim: InsufficientPrivilegeError")


@pytest.mark.slow
async def test_a_durable_server_with_a_transaction_left_prepared() -> None:
    settings = {"max_prepared_transactions": "5", "autovacuum": "off", "idle_in_transaction_session_timeout": "60000"}
    with PrivatePostgres(temporary_in=memory(), durable=True, settings=settings) as server:
        await migrate(server.dsn("postgres"))
        connection = await asyncpg.connect(server.dsn("postgres"))
        await connection.execute("begin; create table public.t (); prepare transaction 'forgotten'")
        practice = replace(practice_of(server.dsn("postgres")), limits=Limits(transaction_s=0.0))
        found = {each.name: each for each in await examine(practice)}
        assert found.keys() == {"prepared_transaction", "autovacuum_off", "no_daemon", "superuser"}
        assert found["prepared_transaction"].what.startswith("'forgotten' of postgres is prepared for ")
        await connection.execute(re.findall(r"`(.*?)`", found["prepared_transaction"].remedy)[0])
        assert "prepared_transaction" not in {each.name for each in await examine(practice)}
        await connection.close()


@pytest.mark.slow
async def test_a_standby() -> None:
    with PrivatePostgres(temporary_in=memory()) as server:
        await migrate(server.dsn("postgres"))
        data = server.root / "data"
        signal = data / "standby.signal"
        signal.touch()
        owner = data.stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        server.restart()
        found = {each.name: each for each in await examine(practice_of(server.dsn("postgres")))}
        assert {"standby", "not_checked"} <= found.keys()
        assert found["standby"].severity is Severity.ERROR


# What the schema should be


async def test_the_file_of_the_schema_is_what_migrate_makes(conn) -> None:
    assert FILE.read_text() == await written(conn), "run `make schema`"


async def test_every_function_of_the_schema_is_compared(conn) -> None:
    made = next(each for each in files_of() if not each.version)
    found = await conn.fetch("select distinct proname from pg_proc where pronamespace = 'actiond'::regnamespace")
    assert {each.name for each in functions_in(made.text)} == {row["proname"] for row in found}


def test_every_statement_of_the_doctor_reads_only() -> None:
    for name in [path.stem for path in FILE.parent.glob("doctor_*.sql")]:
        assert not re.search(r"\b(insert|update|delete|truncate|alter|create|drop)\b", _body(name)), name


def _body(name: str) -> str:
    return re.sub(r"--.*", "", Statements()[name])
