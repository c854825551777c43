"""The schema keeps its promises to the claim, to producers, and to ids of the far future; asked of the catalog."""

from __future__ import annotations

import json
import re
from typing import Any

import asyncpg
import pytest

from actiond.postgres.action_store import ActionStore, Claim, EndedRun, Parcel
from actiond.postgres.connection import close_pool, work_pool
from actiond.postgres.daemon_store import DaemonStore
from actiond.postgres.statements import Statements
from actiond.rules.pace import LEVELS
from actiond.rules.watermark import Watermark
from actiond.words.claimed import Settlement
from support.database import Database

#: A claim changes these, and must stay a HOT update.
CHANGED_BY_A_CLAIM = ("claimed_by", "run_id", "started_at", "attempts")
BEYOND_32_BITS = 3_000_000_000

INDEXES = """
select c.relname as name, pg_get_indexdef(i.indexrelid) as whole, pg_get_expr(i.indpred, i.indrelid) as predicate,
       pg_get_expr(i.indexprs, i.indrelid) as expressions,
       array(select a.attname from pg_attribute a
              where a.attrelid = i.indrelid and a.attnum = any(i.indkey::int2[])) as columns
  from pg_index i join pg_class c on c.oid = i.indexrelid
 where i.indrelid = 'actiond.action'::regclass
"""


async def mentions(conn: asyncpg.Connection) -> list[str]:
    """Indexes of actiond.action that a claim would have to change."""
    found = []
    for index in await conn.fetch(INDEXES):
        said = f"{index['whole']} {index['predicate']} {index['expressions']} {' '.join(index['columns'])}"
        found += [f"{index['name']}: {c}" for c in CHANGED_BY_A_CLAIM if re.search(rf"\b{c}\b", said)]
    return found


async def test_no_index_makes_a_claim_more_than_a_hot_update(conn: asyncpg.Connection) -> None:
    assert len(await conn.fetch(INDEXES)) >= 3
    assert await mentions(conn) == []


@pytest.mark.parametrize(
    "index",
    [
        "create index bad on actiond.action (attempts)",
        "create index bad on actiond.action (processor) include (run_id)",
        "create index bad on actiond.action (processor) where claimed_by = 0",
        "create index bad on actiond.action ((extract(epoch from started_at at time zone 'UTC')))",
    ],
)
async def test_an_index_that_would_is_found(conn: asyncpg.Connection, index: str) -> None:
    await conn.execute(index)
    assert await mentions(conn)


async def test_a_claim_is_a_hot_update(db: Database, conn: asyncpg.Connection) -> None:
    await conn.execute("insert into actiond.action (processor) select 'a' from generate_series(1, 20)")
    pool = await work_pool(db.dsn, 1)
    store = ActionStore(pool, Statements())
    store.daemon = 1
    answer = await store.step(Parcel(), a_claim("a", 20))
    await pool.fetchval("select pg_stat_force_next_flush()")
    await close_pool(pool)
    assert len(answer.rows) == 20
    updates = await conn.fetchrow(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'actiond.action'::regclass"
    )
    assert tuple(updates) == (20, 20)


async def test_the_hot_index_serves_one_level_after_the_other(conn: asyncpg.Connection) -> None:
    whole = await conn.fetchval("select pg_get_indexdef('actiond.action_due'::regclass)")
    assert "desc" not in whole.lower()
    assert "(processor, priority, next_eligible_at, id)" in whole


async def test_a_lease_belongs_to_a_daemon_and_never_to_a_row(conn: asyncpg.Connection) -> None:
    columns = await conn.fetch("select attname from pg_attribute where attrelid = 'actiond.action'::regclass")
    assert not {"lease_until", "lease", "max_concurrency", "group_id", "tenant", "cancel_requested"} & {
        row["attname"] for row in columns
    }


async def loose_definers(conn: asyncpg.Connection) -> list[str]:
    """Functions that run with their owner's rights and look up names wherever the caller says. Of pins only two kinds
    are safe: no schema at all, or those of Postgres and of actiond with pg_temp last (unnamed it would come first)."""
    rows = await conn.fetch(
        """select p.oid::regprocedure::text as name from pg_proc p
            where p.pronamespace = 'actiond'::regnamespace and p.prosecdef
              and not exists (select from unnest(p.proconfig) as c
                               where c in ('search_path=""', 'search_path=pg_catalog, pg_temp',
                                           'search_path=pg_catalog, actiond, pg_temp'))"""
    )
    return [row["name"] for row in rows]


async def test_a_function_with_its_owners_rights_pins_where_it_looks_up_names(conn: asyncpg.Connection) -> None:
    assert await conn.fetchval(
        "select count(*) from pg_proc where pronamespace = 'actiond'::regnamespace and prosecdef"
    )
    assert await loose_definers(conn) == []
    for pin in ("reset search_path", "set search_path = public", "set search_path = pg_catalog"):
        await conn.execute(f"alter function actiond.changed_by_hand() {pin}")
        assert await loose_definers(conn) == ["actiond.changed_by_hand()"]


async def test_every_constraint_has_a_name_that_says_what_it_wants(conn: asyncpg.Connection) -> None:
    rows = await conn.fetch(
        """select conrelid::regclass::text as of, conname as name from pg_constraint
            where connamespace = 'actiond'::regnamespace and contype = 'c'"""
    )
    assert len(rows) > 10
    made_up = re.compile(r".*_check\d*|.*_not_null\d*")  # what Postgres calls a constraint that nobody named
    assert [f"{row['of']}: {row['name']}" for row in rows if made_up.fullmatch(row["name"])] == []


# What a producer may ask for.


async def insert(conn: asyncpg.Connection, **columns: Any) -> None:
    names = ", ".join(columns)
    places = ", ".join(f"${place}" for place, _ in enumerate(columns, 1))
    await conn.execute(f"insert into actiond.action ({names}) values ({places})", *columns.values())


def kilobytes(count: int) -> str:
    """JSON that does not compress."""
    return json.dumps({"text": "".join(chr(33 + (i * 7919 + i // 93) % 90) for i in range(count * 1000))})


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"processor": ""}, "processor_is_named"),
        ({"processor": "x" * 256}, "processor_is_named"),
        ({"data": kilobytes(300)}, "data_is_at_most_256_kib"),
        ({"priority": 7}, "priority_is_0_to_3"),
        ({"priority": -1}, "priority_is_0_to_3"),
        ({"status": "unheard_of"}, "status_is_known"),
        ({"status": "running"}, "status_is_known"),
        ({"status": "Pending"}, "status_is_known"),
        ({"retries_left": -1}, "retries_left_not_negative"),
        ({"related": "x" * 1001}, "related_is_at_most_1000_characters"),
    ],
)
async def test_a_refused_value_names_the_constraint(
    conn: asyncpg.Connection, columns: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(conn, **{"processor": "a", **columns})
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("at", ["infinity", "-infinity", "0044-03-15 12:00 BC", "1999-12-31", "2200-01-02"])
async def test_a_time_that_clients_cannot_read_is_refused(conn: asyncpg.Connection, at: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await conn.execute(
            "insert into actiond.action (processor, next_eligible_at) values ('a', $1::text::timestamptz)", at
        )
    assert refused.value.constraint_name == "next_eligible_at_is_between_2000_and_2200"


@pytest.mark.parametrize(
    "columns",
    [
        {"claimed_by": 1},
        {"run_id": 1},
        {"attempts": 1},
        {"crashes": 1},
        {"error": "x"},
        {"result": "{}"},
        {"status": "completed"},
        {"status": "failed"},
        {"status": "canceled"},
        {"created_by": "somebody_else"},
    ],
    ids=str,
)
async def test_a_column_that_only_a_daemon_writes_cannot_be_forged(
    conn: asyncpg.Connection, columns: dict[str, Any]
) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await insert(conn, processor="a", **columns)
    assert refused.value.sqlstate == "AC001"


@pytest.mark.parametrize("column", ["started_at", "finished_at"])
async def test_a_time_that_only_a_daemon_writes_cannot_be_forged(conn: asyncpg.Connection, column: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await conn.execute(f"insert into actiond.action (processor, {column}) values ('a', now())")
    assert refused.value.sqlstate == "AC001"


async def test_one_forged_row_among_good_ones_refuses_the_statement(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await conn.execute("insert into actiond.action (processor, attempts) values ('a', 0), ('a', 1), ('a', 0)")
    assert refused.value.sqlstate == "AC001"
    assert await conn.fetchval("select count(*) from actiond.action") == 0


# Ids beyond 32 bits.


def a_claim(processor: str, limit: int) -> Claim:
    times, ids, _ = Watermark().begin(0.0)
    return Claim(processor, limit, LEVELS, times, ids)


@pytest.fixture
async def far_future(conn: asyncpg.Connection) -> asyncpg.Connection:
    await conn.execute(
        f"""alter table actiond.action alter column id restart with {BEYOND_32_BITS};
            alter table actiond.history alter column id restart with {BEYOND_32_BITS};
            alter sequence actiond.run_id_seq restart with {BEYOND_32_BITS}"""
    )
    return conn


async def test_ids_beyond_32_bits_go_the_whole_way(db: Database, far_future: asyncpg.Connection) -> None:
    await far_future.execute("insert into actiond.action (processor) select 'a' from generate_series(1, 4)")
    pool = await work_pool(db.dsn, 1)
    store = ActionStore(pool, Statements())
    store.daemon = 1
    claimed = await store.step(Parcel(), a_claim("a", 4))
    run, ids = claimed.run_id, [row.id for row in claimed.rows]
    assert run >= BEYOND_32_BITS
    assert ids == [BEYOND_32_BITS + n for n in range(4)]
    await far_future.execute("update actiond.action set status = 'canceled' where id = $1", ids[3])
    assert await store.withdrawn([run]) == [(run, ids[3])]
    assert await store.give_back(run, [ids[2]]) == 1
    outcomes = [
        Settlement(ids[0], run, "completed", noted=True),
        Settlement(ids[1], run, "failed", error="no", noted=True),
        Settlement(ids[3], run, "completed"),
    ]
    answer = await store.step(Parcel(outcomes, [EndedRun(run, "{1}", "{1}")]), None)
    assert [s.id for s in answer.fenced] == [ids[3]]
    assert await store.note_fenced(answer.fenced) == [ids[3]]
    assert [row.id for row in await store.recover(await _claimed_without_answer(store))] == [ids[2]]
    await close_pool(pool)
    assert [r["status"] for r in await far_future.fetch("select status from actiond.action_list order by id")] == [
        "completed",
        "failed",
        "running",
        "canceled",
    ]
    assert await far_future.fetchval("select min(id) from actiond.history") == BEYOND_32_BITS


async def _claimed_without_answer(store: ActionStore) -> int:
    return (await store.step(Parcel(), a_claim("a", 1))).run_id


async def test_a_run_beyond_32_bits_is_rescued(db: Database, far_future: asyncpg.Connection) -> None:
    await far_future.execute("insert into actiond.action (processor) values ('a')")
    pool = await work_pool(db.dsn, 1)
    store, daemons = ActionStore(pool, Statements()), DaemonStore(pool, Statements())
    store.daemon = 1
    await store.step(Parcel(), a_claim("a", 1))
    (run,) = await daemons.open_runs(1)
    assert run.id >= BEYOND_32_BITS
    assert (await daemons.rescue(1, run.id, blame_suspects=False)).returned == [BEYOND_32_BITS]
    await close_pool(pool)
