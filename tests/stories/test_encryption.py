"""Encrypted fields on their whole way: asked for in Python and by the command, kept, run, failed, shown, logged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from support.command import actiond
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

CARD = "4111-2222-3333-4444"
WORK = """
from actiond import Encrypted

class Charge(BaseModel):
    amount: int
    card: Encrypted[str]

@processor("charge", retries=0, retry_interval="0.2 s", executor={executor!r})
def charge(action: Action[Charge]) -> str:
    action.log.warning("charging", card=action.data.card, text=f"now {{action.data.card}}")
    if action.data.amount > 100:
        raise ValueError(f"no bank gives {{action.data.amount}} to {{action.data.card}}")
    return action.data.card[-4:]

@processor("ask", executor="loop")
async def ask_for_it(action: Action) -> None:
    import actiond, asyncpg
    connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
    await actiond.enqueue(connection, charge, {{"amount": 1, "card": {card!r}}}, related="asked", validate=True)
    await actiond.enqueue(connection, "charge", {{"amount": 2, "card": {card!r}}}, related="asked", encrypt=True)
    await connection.close()
"""


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "payload_key").write_text(f"{Fernet.generate_key().decode()}\n")
    return folder


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_nobody_but_the_handler_sees_it(db, conn, start, processor_file, credentials, executor) -> None:
    env = {"CREDENTIALS_DIRECTORY": str(credentials)}
    (credentials / "dsn").write_text(db.dsn)
    daemon = await start(db.dsn, processor_file(WORK.format(executor=executor, card=CARD)), env=env).ready()
    good, bad = ({"amount": amount, "card": CARD} for amount in (7, 700))
    for payload in good, bad:
        said = await actiond("enqueue", "charge", "--data", json.dumps(payload), "--validate", dsn=db.dsn, env=env)
        assert said.code == 0, said.err
    await ask(conn, "ask")
    await eventually(lambda: conn.fetchval("select count(*) = 4 from actiond.action where processor = 'charge'"))
    ids = [
        row["id"] for row in await conn.fetch("select id from actiond.action where processor = 'charge' order by id")
    ]
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows].count("completed") == 3
    assert {row["result"] for row in rows if row["status"] == "completed"} == {f'"{CARD[-4:]}"'}
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["error"] == "ValueError: no bank gives 700 to [hidden]"
    await eventually(lambda: len(daemon.heard("charging")) == 4)
    assert {line["card"] for line in daemon.heard("charging")} == {"[hidden]"}

    kept = await conn.fetch("select a::text from actiond.action a union all select h::text from actiond.history h")
    shown = [await actiond("show", str(each), dsn=db.dsn) for each in ids]
    lists = [await actiond(*words, dsn=db.dsn) for words in (["failures"], ["errors"], ["history"], ["ls", "--json"])]
    everything = "\n".join(
        [*(row[0] for row in kept), *(s.out + s.err for s in [*shown, *lists]), *map(str, daemon.lines)]
    )
    assert CARD not in everything
    assert (credentials / "payload_key").read_text().strip() not in everything
    assert '"card": "[encrypted]"' in shown[0].out


async def test_without_its_key_a_row_waits_uncharged_and_says_why(db, conn, start, processor_file, credentials) -> None:
    file = processor_file(WORK.format(executor="thread", card=CARD))
    with_key = {"CREDENTIALS_DIRECTORY": str(credentials)}
    first = await start(db.dsn, file, env=with_key).ready()
    payload = json.dumps({"amount": 7, "card": CARD})
    refused = await actiond("enqueue", "charge", "--data", payload, dsn=db.dsn)
    assert refused.code == 1
    assert refused.line.startswith("actiond: the payload of 'charge' cannot be encrypted: there is no secret")
    assert await conn.fetchval("select count(*) from actiond.action") == 0
    first.kill()
    assert (await actiond("enqueue", "charge", "--data", payload, dsn=db.dsn, env=with_key)).code == 0

    without = {name: "" for name in os.environ if name.startswith("ACTIOND_SECRET_")}
    blind = await start(db.dsn, file, env=without).ready()
    waiting = await eventually(lambda: tried_twice(conn))
    assert (waiting["status"], waiting["retries_left"]) == ("pending", None)
    assert waiting["error"].startswith("The payload cannot be decrypted: there is no secret 'payload_key'")
    blind.kill()
    await start(db.dsn, file, env=with_key).ready()
    (row,) = await until(conn, [waiting["id"]], "completed")
    assert row["error"] is None


async def tried_twice(conn):
    row = await conn.fetchrow("select * from actiond.action")
    return row if row["attempts"] > 1 and row["error"] else None
