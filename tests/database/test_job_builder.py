"""Jobs as rows, and the list of jobs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actiond import JobBuilder
from actiond.contract import lineage
from support.work import claim, insert, look, outcome, settle


async def test_a_job_is_an_action_with_everything_that_was_said(conn) -> None:
    (parent,) = await insert(conn)
    when = datetime(2030, 1, 1, tzinfo=UTC)
    builder = JobBuilder("import").params({"file": 7}).at(when).retry_every("10 min").max_executions(3)
    row = await look(conn, await builder.parent(parent).recursive().build().insert(conn))
    assert (row["processor"], row["data"], row["next_eligible_at"]) == ("import", '{"file": 7}', when)
    assert (row["retries_left"], row["state"], row["parent_id"]) == (2, '{"retry_every": "600 s"}', parent)
    assert row["repeat_every"].total_seconds() == 600


async def test_what_was_not_said_is_left_to_the_processor(conn) -> None:
    row = await look(conn, await JobBuilder("import").build().insert(conn))
    assert {row[name] for name in ("retries_left", "state", "parent_id", "repeat_every")} == {None}


async def test_a_job_built_in_a_handler_is_a_child(conn) -> None:
    (parent,) = await insert(conn)
    with lineage.running(parent):
        child = await JobBuilder("import").build().insert(conn)
        nobodys = await JobBuilder("import").parent(0).build().insert(conn)
    assert [(await look(conn, id_))["parent_id"] for id_ in (child, nobodys)] == [parent, None]


def test_a_job_is_executed_at_least_once() -> None:
    with pytest.raises(ValueError, match="at least once"):
        JobBuilder("import").max_executions(0)


async def test_the_list_of_jobs_speaks_their_language(conn, store) -> None:
    id_ = await JobBuilder("p").max_executions(3).build().insert(conn)

    async def listed() -> tuple[str, int, int]:
        row = await conn.fetchrow("select * from actiond.job_list where id = $1", id_)
        return row["status"].lower(), row["execution_count"], row["max_execution_count"]

    assert await listed() == ("queued", 0, 3)
    answer = await claim(store)
    assert await listed() == ("in progress", 1, 3)
    await settle(store, [outcome(id_, answer.run_id, "retried", retries_left=1)])
    assert await listed() == ("queued", 1, 3)
    await conn.execute("update actiond.action set status = 'held'")
    assert (await listed())[0] == "hold"
