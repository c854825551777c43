"""`actiond explain` as a command beside real daemons: what it says of them is so."""

from __future__ import annotations

import json
import signal

import pytest

from support.command import actiond
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

WORK = """
@processor("waits", concurrency=1, batch_size=1)
async def waits(action):
    while not os.path.exists(action.data):
        await asyncio.sleep(0.01)


@processor("nightly", run_on_insert=False)
async def nightly(action):
    pass


@processor("gathers", start_delay="1 h")
async def gathers(action):
    pass


@batch_processor("limited", concurrency=2, global_concurrency=1, batch_size=1)
async def limited(batch):
    for action in batch:
        while not os.path.exists(action.data):
            await asyncio.sleep(0.01)
        action.complete()
"""


async def reasons(dsn: str, id_: int) -> list[str]:
    """The names that the command prints as JSON."""
    said = await actiond("explain", str(id_), "--json", dsn=dsn)
    assert said.code == 0, said.err
    return [each["name"] for each in json.loads(said.out)["reasons"]]


async def test_what_a_daemon_does_not_run_is_explained(db, conn, start, processor_file, tmp_path) -> None:
    gate = tmp_path / "gate"
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    first, second, third = await ask(conn, "waits", *[str(gate)] * 3)
    await until(conn, [first], "running")
    assert await reasons(db.dsn, first) == ["running"]
    assert await reasons(db.dsn, third) == ["concurrency", "behind"]
    assert await reasons(db.dsn, second) == ["concurrency"]
    (one, other) = await ask(conn, "limited", *[str(gate)] * 2)
    await until(conn, [one], "running")
    assert await reasons(db.dsn, other) == ["global_limit"]
    (asleep,) = await ask(conn, "nightly")
    assert await reasons(db.dsn, asleep) == ["not_woken"]
    (gathered,) = await ask(conn, "gathers")
    assert await reasons(db.dsn, gathered) == ["start_delay"]
    gate.touch()
    assert (await actiond("wake", "nightly", dsn=db.dsn)).code == 0
    await until(conn, [first, second, third, one, other, asleep], "completed")
    assert await reasons(db.dsn, asleep) == ["completed"]
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert await reasons(db.dsn, gathered) == ["no_daemon", "start_delay"]


async def test_a_daemon_that_was_killed_is_said_to_be_dead(db, conn, start, processor_file, tmp_path) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    (id_, other) = await ask(conn, "waits", *[str(tmp_path / "gate")] * 2)
    await until(conn, [id_], "running")
    daemon.kill()

    async def dead() -> bool:
        return "seems dead" in (await actiond("explain", str(id_), dsn=db.dsn)).out

    await eventually(dead)
    assert (await reasons(db.dsn, other))[0] == "no_daemon"


async def test_a_processor_made_of_a_built_in_is_served(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    await conn.execute(
        "create function public.f(related text, data jsonb) returns jsonb language sql as $$ select $2 $$;"
        "insert into actiond.processor (name, uses, config)"
        " values ('made', 'sql_function', '{\"function\": \"public.f\"}')"
    )
    await eventually(lambda: conn.fetchval("select 'made' = any(processors) from actiond.daemon"))
    (id_,) = await ask(conn, "made")
    await until(conn, [id_], "completed")


async def test_a_name_that_is_nearly_right(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(WORK)).ready()
    (id_,) = await ask(conn, "nihgtly")
    said = await actiond("explain", f"A-{id_:08}", dsn=db.dsn)
    assert said.code == 0
    assert said.out.startswith(f"A-{id_:08}  nihgtly  pending\nno_daemon  daemon 1 on ")
    assert "no daemon ever declared 'nihgtly': did you mean 'nightly'?" in said.out
    assert f"-> correct it: `update actiond.action set processor = 'nightly' where id = {id_}`" in said.out


async def test_an_id_that_is_not_there(db) -> None:
    said = await actiond("explain", "12", dsn=db.dsn)
    assert (said.code, said.out.splitlines()[0]) == (1, "missing  there is no action 12")
    said = await actiond("explain", "12", "--json", dsn=db.dsn)
    assert (said.code, json.loads(said.out)["status"]) == (1, "missing")
    assert (await actiond("explain", "twelve", dsn=db.dsn)).code == 2
