"""A daemon that is looked at: metrics, health and readiness over real HTTP, by whom it may be and whatever happens."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actiond.words.metrics import Metric
from support.asking_http import connected, get
from support.command import actiond
from support.database import eventually
from support.impatient import IMPATIENT
from support.proxy import running_proxy
from support.rows import ask, until

pytestmark = pytest.mark.slow

HERE = {"ACTIOND_HTTP": "127.0.0.1:0"}
TOKEN = "t0ken-" + "x" * 32

WORK = """
@processor("one", retries=1, retry_interval="1 h", concurrency=4)
async def one(action):
    if action.data == "fail":
        raise Failure("no", SUDDEN_DEATH)
    if action.data == "again":
        raise ValueError("not yet")
    if action.data == "later":
        return action.defer("1 h")


@batch_processor("many", batch_size=10, timeout="0.2 s")
async def many(batch):
    batch.complete()
    if batch[0].data == "sleep":
        await asyncio.sleep(60)


@processor("long", concurrency=2)
async def long(action):
    action.log.info("begun")
    await asyncio.sleep(action.data)


@batch_processor("within")
async def within(batch):
    async with batch.transaction():
        batch.complete()


@processor("blocks")
async def blocks(action):
    action.log.info("begun")
    time.sleep(action.data)
"""


async def address_of(daemon) -> str:
    return (await daemon.says("http_started"))["at"]


async def test_metrics_say_what_was_done_and_what_waits(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    await ask(conn, "many", *["sleep"] * 10, status="held")
    done = await ask(conn, "one", *["ok"] * 20)
    done += await ask(conn, "many", *["ok"] * 30)
    await until(conn, done, "completed")
    failed = await ask(conn, "one", "fail", "fail")
    await until(conn, failed, "failed")
    again = await ask(conn, "one", "again", "later", "later")
    await eventually(lambda: len(daemon.heard("action_failed", action_id=again[0])) == 1)
    await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")

    async def seen():
        reply = await get(at, "/metrics")
        there = reply.value("actiond_scheduled", processor="one") == 3 and reply.value(
            "actiond_paused", processor="one"
        )
        return reply if there else None

    metrics = await eventually(seen)
    await ask(conn, "one", "ok", "ok")
    await eventually(lambda: waits(at))
    metrics = await get(at, "/metrics")
    outcomes = {
        outcome: metrics.value("actiond_actions_total", processor="one", outcome=outcome)
        for outcome in ("completed", "failed", "retried", "deferred", "canceled")
    }
    assert outcomes == {"completed": 20, "failed": 2, "retried": 1, "deferred": 2, "canceled": 0}
    assert metrics.value("actiond_actions_total", processor="many", outcome="completed") == 30
    assert metrics.value("actiond_claimed_actions_total", processor="one") == 25
    assert metrics.value("actiond_wait_seconds_count", processor="one") == 25
    assert metrics.value("actiond_handler_seconds_count", processor="one") == 25
    calls = metrics.value("actiond_handler_seconds_count", processor="many")
    assert calls == metrics.value("actiond_claims_total", processor="many")
    assert metrics.value("actiond_failed", processor="one") == 2
    assert metrics.value("actiond_waiting", processor="one") == 2
    assert 0 < metrics.value("actiond_oldest_waiting_seconds", processor="one") < 60
    assert metrics.value("actiond_ready") == 1
    assert metrics.value("process_resident_memory_bytes") > 1_000_000


async def waits(at: str) -> bool:
    return (await get(at, "/metrics")).value("actiond_waiting", processor="one") == 2


async def test_metrics_are_those_of_the_vocabulary_with_their_kinds_labels_and_help(db, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    reply = await get(at, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    ours = {name: family for name, family in families.items() if name.startswith("actiond_")}
    assert ours.keys() == {metric.removesuffix("_total") for metric in Metric}
    for metric in Metric:
        family = ours[metric.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.what)
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels), metric
        processors = {sample.labels["processor"] for sample in family.samples if "processor" in sample.labels}
        assert processors <= {"one", "many", "long", "within", "blocks", "actiond.plan", "actiond.verb"}
    assert (await get(at, "/metrics", Accept="application/openmetrics-text; version=1.0.0")).text.endswith("# EOF\n")


async def test_a_timeout_a_late_outcome_and_the_rows_of_the_dead_are_counted(db, conn, start, processor_file) -> None:
    file = processor_file(WORK)
    daemon = await start(db.dsn, file, env=HERE).ready()
    at = await address_of(daemon)
    await ask(conn, "many", "sleep")
    await daemon.says("handler_timed_out")
    (late,) = await ask(conn, "long", 0.5)
    await daemon.says("begun", action_id=late)
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", late)
    await daemon.says("outcomes_fenced")
    metrics = await get(at, "/metrics")
    assert metrics.value("actiond_handler_timeouts_total", processor="many") == 1
    assert metrics.value("actiond_fenced_total", processor="long") == 1
    assert metrics.value("actiond_actions_total", processor="long", outcome="completed") == 0
    await conn.execute("update actiond.processor set enabled = false")
    await eventually(lambda: paused(at, "long"))
    victim = await start(db.dsn, processor_file(WORK.replace('"long"', '"theirs"'))).ready()
    (row,) = await ask(conn, "theirs", 60)
    await victim.says("begun", action_id=row)
    victim.kill()
    await daemon.says("rows_rescued")
    assert (await get(at, "/metrics")).value("actiond_rescued_total") == 1


@pytest.mark.parametrize("after", [False, True], ids=["before the server saw it", "after the server did it"])
async def test_an_outcome_is_counted_once_however_often_it_is_sent(db, conn, start, processor_file, after) -> None:
    async with running_proxy(db.dsn) as proxy:
        daemon = await start(proxy.dsn, processor_file(WORK), env=HERE).ready()
        at = await address_of(daemon)
        await conn.execute("update actiond.processor set enabled = false where name = 'one'")
        await eventually(lambda: paused(at, "one"))
        ids = await ask(conn, "one", *["ok"] * 300)
        proxy.cut_at("-- step:", after=after, times=4)
        await conn.execute("update actiond.processor set enabled = true where name = 'one'")
        await until(conn, ids, "completed")
        await eventually(lambda: not proxy.armed)
        await eventually(lambda: saved(at, "one"))
        metrics = await get(at, "/metrics")
        assert metrics.value("actiond_actions_total", processor="one", outcome="completed") == 300
        assert metrics.value("actiond_connection_troubles_total", connection="claim") >= 1


async def saved(at: str, processor: str) -> bool:
    return (await get(at, "/metrics")).value("actiond_unsaved", processor=processor) == 0


async def test_an_outcome_of_a_transaction_is_counted(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    await until(conn, await ask(conn, "within", *["ok"] * 5), "completed")
    await eventually(lambda: completed(at, "within", 5))


async def completed(at: str, processor: str, count: int) -> bool:
    return (await get(at, "/metrics")).value("actiond_actions_total", processor=processor, outcome="completed") == count


async def paused(at: str, processor: str) -> bool:
    return (await get(at, "/metrics")).value("actiond_paused", processor=processor) == 1


async def test_a_unix_socket_serves_and_is_taken_away_at_the_end(db, start, processor_file, tmp_path) -> None:
    path = tmp_path / "http.sock"
    daemon = await start(db.dsn, processor_file(WORK), env={"ACTIOND_HTTP": str(path)}).ready()
    assert (await get(str(path), "/healthz")).text == "ok\n"
    assert (await get(str(path), "/readyz")).text == "ok\n"
    assert (await get(str(path), "/metrics", Host="whatever.example")).status == 200
    assert path.stat().st_mode & 0o007 == 0
    second = await actiond("run", dsn=db.dsn, env={"ACTIOND_HTTP": str(path)})
    assert second.code == 1
    assert f"ACTIOND_HTTP: {path} cannot be listened on: Address already in use" in second.err
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert not path.exists()


async def test_the_socket_of_a_killed_daemon_is_replaced_and_a_file_of_somebody_is_not(
    db, start, processor_file, tmp_path
) -> None:
    path = tmp_path / "http.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    await start(db.dsn, processor_file(WORK), env={"ACTIOND_HTTP": str(path)}).ready()
    assert (await get(str(path), "/readyz")).status == 200
    precious = tmp_path / "precious"
    precious.write_text("mine")
    refused = await actiond("run", dsn=db.dsn, env={"ACTIOND_HTTP": str(precious)})
    assert refused.code == 1
    assert precious.read_text() == "mine"


async def test_ready_is_who_can_claim_and_write_and_alive_is_who_makes_progress(
    db, conn, start, processor_file
) -> None:
    async with running_proxy(db.dsn) as proxy:
        proxy.refusing = True
        daemon = start(proxy.dsn, processor_file(IMPATIENT + WORK), env=HERE)
        at = await address_of(daemon)
        await daemon.says("connection_lost", connection="start")
        assert (await get(at, "/readyz")).text == "it is starting\n"
        assert (await get(at, "/healthz")).status == 200

        proxy.refusing = False
        await daemon.ready()
        await eventually(lambda: ready(at))

        proxy.refusing = True
        proxy.drop_all()
        unready = await eventually(lambda: not_ready(at, "the database does not answer"))
        assert unready.status == 503
        metrics = await get(at, "/metrics")
        assert metrics.value("actiond_ready") == 0
        assert metrics.value("actiond_waiting", processor="one") is None
        assert metrics.value("actiond_connection_troubles_total", connection="presence") >= 1
        assert (await get(at, "/healthz")).status == 200

        proxy.refusing = False
        await eventually(lambda: ready(at))
        (row,) = await ask(conn, "long", 2)
        await daemon.says("begun", action_id=row)
        daemon.signal(signal.SIGTERM)
        await eventually(lambda: not_ready(at, "the daemon is stopping"))
        assert (await get(at, "/healthz")).status == 200
        assert await daemon.ends() == 0


async def ready(at: str) -> bool:
    return (await get(at, "/readyz")).status == 200


async def not_ready(at: str, because: str):
    reply = await get(at, "/readyz")
    return reply if reply.status == 503 and because in reply.text else None


async def test_a_schema_that_does_not_fit_any_more_is_told(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    await conn.execute("update actiond.migration set sha256 = 'other' where version = 1")
    assert await eventually(lambda: not_ready_at(daemon, "was edited after it was applied"))


async def not_ready_at(daemon, because: str):
    return await not_ready(await address_of(daemon), because)


async def test_a_blocked_loop_is_told_by_a_server_that_is_not(db, conn, start, processor_file) -> None:
    patient = "import actiond.service.proof_of_life\nactiond.service.proof_of_life.PATIENCE_S = 2.0\n"
    env = {**HERE, "ACTIOND_POLL_INTERVAL_S": "0.3"}
    daemon = await start(db.dsn, processor_file(patient + WORK), env=env).ready()
    at = await address_of(daemon)
    (row,) = await ask(conn, "blocks", 8)
    await daemon.says("begun", action_id=row)
    await eventually(lambda: not_ready(at, "the daemon did not answer within 2 s"))
    stalled = await eventually(lambda: unhealthy(at))
    assert stalled.text.startswith("no loop has made a step for ")
    await until(conn, [row], "completed")
    await eventually(lambda: healthy(at))
    assert (await get(at, "/metrics")).value("actiond_loop_blocked_total") >= 1


async def healthy(at: str) -> bool:
    return (await get(at, "/healthz")).status == 200


async def unhealthy(at: str):
    reply = await get(at, "/healthz")
    return reply if reply.status == 503 else None


async def test_open_connections_and_half_a_request_do_not_hold_up_the_end(db, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    idle, half, used = connected(at), connected(at), connected(at)
    half.sendall(b"GET /metrics HTTP/1.1\r\nHost: local")
    used.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert used.recv(12) == b"HTTP/1.1 200"
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    for sock in (idle, half, used):
        sock.close()


async def test_a_crowd_of_clients_costs_work_nothing(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    crowd = [connected(at) for _ in range(200)]
    for sock in crowd:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: local")
    await until(conn, await ask(conn, "one", *["ok"] * 50), "completed")
    for sock in crowd:
        sock.close()
    await eventually(lambda: ready(at))


async def test_who_may_look(db, start, processor_file) -> None:
    env = {**HERE, "ACTIOND_HTTP_TOKEN": TOKEN, "ACTIOND_HTTP_HOSTS": "metrics.example.org, other"}
    daemon = await start(db.dsn, processor_file(WORK), env=env).ready()
    at = await address_of(daemon)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/metrics", "/healthz", "/readyz", "/nowhere"):
        refused = await get(at, path)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert (await get(at, path, Authorization=f"Bearer {TOKEN[:-1]}y")).status == 401
        assert (await get(at, path, Authorization=TOKEN)).status == 401
        assert (await get(at, path, Host="evil.example", **bearer)).status == 421
    for host in ("localhost", "127.0.0.1:9464", "[::1]:80", "METRICS.example.org:1", "10.1.2.3", socket.gethostname()):
        assert (await get(at, "/readyz", Host=host, **bearer)).status == 200, host
    for host in ("", "localhost.evil.example", "evil.example:9464", "127.0.0.1.evil.example"):
        assert (await get(at, "/readyz", Host=host, **bearer)).status == 421, host
    assert (await get(at, "/nowhere", **bearer)).status == 404
    assert not [line for line in daemon.lines if TOKEN in str(line)]


async def test_only_reading_is_possible(db, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env=HERE).ready()
    at = await address_of(daemon)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await get(at, "/metrics", method=method)).status == 405
    head = await get(at, "/readyz", method="HEAD")
    assert (head.status, head.text, head.headers["content-length"]) == (200, "", "3")
    assert head.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("where", ["0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464", "db.example.org:9464"])
async def test_an_address_that_others_reach_needs_a_token(where: str) -> None:
    refused = await actiond("run", dsn="postgresql:///x", env={"ACTIOND_HTTP": where})
    assert refused.code == 2
    assert refused.line.startswith(f"actiond: ACTIOND_HTTP: {where} can be reached from other hosts")
    assert "ACTIOND_HTTP_TOKEN" in refused.line


async def test_a_missing_extra_is_one_line_that_helps(db, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')")
    env = {**HERE, "PYTHONPATH": str(tmp_path), "ACTIOND_LOG_LEVEL": "error"}
    refused = await actiond("run", dsn=db.dsn, env=env)
    assert refused.code == 1
    assert refused.line == (
        "actiond: ACTIOND_HTTP needs uvicorn, which is not installed: pip install 'actiond[metrics]'"
    )


async def test_a_port_that_is_taken_is_one_line(db) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = await actiond(
            "run", dsn=db.dsn, env={"ACTIOND_HTTP": f"127.0.0.1:{port}", "ACTIOND_LOG_LEVEL": "error"}
        )
    assert refused.code == 1
    assert refused.line == f"actiond: ACTIOND_HTTP: 127.0.0.1:{port} cannot be listened on: Address already in use"


async def test_nothing_is_served_unless_asked_for(db, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    assert not daemon.heard("http_started")
    listening = await asyncio.to_thread(listens, daemon.process.pid)
    assert not listening


def listens(pid: int) -> bool:
    """Does this process hold a listening TCP socket?"""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return any(row[3] == "0A" and row[9] in inodes for row in rows)
