"""`actiond doctor` and `actiond check` as commands: what they print, and the exit codes that scripts rely on."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from actiond.host.private_postgres import PrivatePostgres
from actiond.postgres.migrate import migrate
from support.command import actiond
from support.database import memory
from support.sources import USUAL_IMPORTS

pytestmark = pytest.mark.slow

WORK = """
@processor("work")
async def work(action):
    pass
"""


async def test_the_exit_code_says_how_bad_the_worst_is(start, tmp_path) -> None:
    file = tmp_path / "processors.py"
    file.write_text(USUAL_IMPORTS + WORK)
    with PrivatePostgres(temporary_in=memory(), durable=True, settings={"max_connections": "50"}) as server:
        dsn = server.dsn("postgres")
        await migrate(dsn)
        said = await actiond("doctor", dsn=dsn)
        assert said.code == 1, said.out
        assert "warning  no_daemon: no daemon is running\n         nothing runs\n         -> `actiond run`" in said.out
        await start(dsn, file).ready()
        said = await actiond("doctor", dsn=dsn)
        assert said.code == 0, said.out
        assert "note     superuser: this role is a superuser" in said.out
        said = await actiond("doctor", "--json", dsn=dsn, env={"ACTIOND_HANDLER_CONNECTIONS": "100"})
        assert said.code == 1
        document = json.loads(said.out)
        assert document["worst"] == "warning"
        assert document["findings"][0].keys() == {"name", "severity", "what", "why", "remedy"}
        connection = await asyncpg.connect(dsn)
        await connection.execute("drop index actiond.action_due")
        await connection.close()
        said = await actiond("doctor", "--json", dsn=dsn)
        assert said.code == 2
        assert [each["name"] for each in json.loads(said.out)["findings"]][:2] == ["index_missing", "claim_plan"]


async def test_a_database_that_does_not_answer() -> None:
    said = await actiond("doctor", dsn="postgresql://nobody@127.0.0.1:1/nowhere")
    assert said.code == 3
    assert said.line.startswith("actiond: no answer from the database")


async def test_a_database_without_a_schema(bare_db) -> None:
    said = await actiond("doctor", dsn=bare_db.dsn)
    assert said.code == 2
    assert said.out.startswith("error    schema_missing: this database has no actiond schema yet.")


async def test_a_time_for_the_check_that_makes_no_sense(db) -> None:
    for wrong in ("soon", "8 d", "0.9 s"):
        said = await actiond("check", "--timeout", wrong, dsn=db.dsn)
        assert said.code == 2
        assert "Traceback" not in said.err


async def test_a_check_may_take_longer_than_other_statements(db, conn) -> None:
    await conn.execute(
        "alter table actiond.daemon rename to slow;"
        "create view actiond.daemon as select s.* from actiond.slow s where (select pg_sleep(9.5)) is not null;"
        "insert into actiond.slow (lease_until, ended_at, ended) values (now(), now(), 'died');"
        "insert into actiond.run (id, processor, daemon, actions, started_at) values (1, 'p', 1, '{}', now())"
    )
    quick, patient = await asyncio.gather(
        actiond("check", "--timeout", "1 s", dsn=db.dsn), actiond("check", "--json", dsn=db.dsn)
    )
    assert (quick.code, quick.line) == (
        1,
        "actiond: the check was not done within 1 s: it reads whole tables. Give it longer: --timeout '4 s'.",
    )
    assert patient.code == 1, patient.err
    assert {row["name"] for row in json.loads(patient.out) if row["broken"]} == {"runs_of_ended_daemons_are_closed"}


async def test_help_tells_the_exit_codes() -> None:
    said = await actiond("doctor", "--help")
    assert "0 nothing worse than a note, 1 a warning, 2 an error" in " ".join(said.out.split())
