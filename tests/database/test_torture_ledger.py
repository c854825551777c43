"""The ledger's verdict on families, slots and bulk verbs: it complains of exactly what is wrong."""

from __future__ import annotations

import asyncpg
import pytest

from actiond.torture.faults import Tally
from actiond.torture.ledger import verdict
from support.work import insert, register

FORGED = "set session_replication_role = replica;"


@pytest.fixture
async def right(conn: asyncpg.Connection, tmp_path) -> asyncpg.Connection:
    """A parent with three children, a schedule with three slots, a bulk verb that changed one action: all is right."""
    await register(conn, "torture_each")
    (parent,) = await insert(conn, processor="torture_parent", related="asked")
    await insert(conn, 3, processor="torture_each", parent_id=parent)
    await conn.execute(
        """insert into actiond.schedule (name, processor, every, data) values ('torture', 'torture_each', '1 s', '{}');
        insert into actiond.action (processor, data) select 'torture_each', jsonb_build_object('slot', t)
          from generate_series(timestamptz '2030-01-01', '2030-01-01 00:00:02', '1 s') t;"""
        + FORGED
        + """update actiond.schedule set fired = 3, last_at = '2030-01-01 00:00:02.5';
        insert into actiond.action (processor, status, finished_at, state)
               values ('actiond.verb', 'completed', now(), '{"changed": 1}');
        insert into actiond.history (action_id, event, verb_id)
               select min(id), 'released', max(id) from actiond.action;
        update actiond.action set status = 'completed', finished_at = now() - interval '1 min', attempts = 1,
               started_at = now() - interval '2 min', run_id = 7, result = '{"run": 7}'
         where processor = 'torture_each';
        update actiond.action set status = 'completed', finished_at = now(), attempts = 2, run_id = 8,
               started_at = now(), result = '{"run": 8}' where processor = 'torture_parent'"""
    )
    ids = [
        row["id"]
        for row in await conn.fetch("select id from actiond.action where processor <> 'actiond.verb' order by id")
    ]
    (tmp_path / "acknowledged").write_text("".join(f"{id_}\n" for id_ in ids[:1]))
    (tmp_path / "effects").write_text("".join(f"{id_} 7\n" for id_ in ids))
    return conn


async def complaints(conn: asyncpg.Connection, folder) -> list[str]:
    return (await verdict(conn, folder, Tally())).complaints


async def test_what_is_right_is_not_complained_of(right, tmp_path) -> None:
    found = await verdict(right, tmp_path, Tally())
    assert found.complaints == []
    assert (found.families, found.slots, found.by_bulk) == (1, 3, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("delete from actiond.action where id = 2", "1 parents made their children not once, for example [1]"),
        ("delete from actiond.action where parent_id = 1", "1 parents completed without children"),
        (
            "update actiond.action set finished_at = now() + interval '1 s' where id = 3",
            "1 parents ran again before their children had ended",
        ),
        ("delete from actiond.action where id = 6", "of 3 slots 3 fired: 2 actions for 2"),
        ('update actiond.action set data = \'{"slot": "2030-01-01 00:00:00+00"}\' where id = 6', "3 actions for 2;"),
        ("update actiond.schedule set last_at = last_at + interval '1 s'", "of 4 slots 3 fired"),
        (
            "insert into actiond.history (action_id, event, verb_id) table twice",
            "1 bulk verbs acted twice on an action",
        ),
        (
            "update actiond.action set state = '{\"changed\": 2}' where processor = 'actiond.verb'",
            "count what they did not do",
        ),
        (
            "update actiond.action set status = 'pending', finished_at = null where processor = 'actiond.verb'",
            "1 bulk verbs did not complete",
        ),
        ("update actiond.action set parent_id = null where id = 3", "1 actions are there that nobody asked for"),
    ],
)
async def test_what_is_wrong_is(right, tmp_path, wrong: str, said: str) -> None:
    twice = "select h.action_id, h.event, h.verb_id from actiond.history h"
    await right.execute(FORGED + wrong.replace("table twice", twice))
    found = await complaints(right, tmp_path)
    assert any(said in each for each in found), found
