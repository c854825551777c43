"""Spans of a real daemon, kept in memory by the real SDK inside of it and handed out by a processor as its result."""

from __future__ import annotations

import json

import asyncpg
import pytest

from actiond import enqueue, enqueue_many
from support.command import actiond
from support.rows import ask, until

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

TRACED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)


@processor("spans")
async def spans(action):
    return [
        {
            "name": span.name,
            "kind": span.kind.name,
            "trace": f"{span.context.trace_id:032x}",
            "span": f"{span.context.span_id:016x}",
            "parent": f"{span.parent.span_id:016x}" if span.parent else None,
            "links": [f"{link.context.span_id:016x}" for link in span.links],
            "attributes": dict(span.attributes),
            "status": [span.status.status_code.name, span.status.description],
            "events": len(span.events),
        }
        for span in kept.get_finished_spans()
    ]
"""

WORK = """
@processor("one", retries=1, retry_interval="1 h")
async def one(action):
    with trace.get_tracer("author").start_as_current_span("inside"):
        if action.data == "fail":
            raise ValueError("no: postgresql://app:s3cretpassword@db/app")
    return action.trace


@processor("threaded")
def threaded(action):
    with trace.get_tracer("author").start_as_current_span("in a thread"):
        pass


@batch_processor("many", batch_size=10, timeout="0.3 s")
async def many(batch):
    with trace.get_tracer("author").start_as_current_span("inside"):
        for action in batch:
            action.fail("bad row", SUDDEN_DEATH) if action.data == "fail" else action.complete()
    if batch[0].data == "sleep":
        await asyncio.sleep(60)


@batch_processor("within")
async def within(batch):
    async with batch.transaction():
        batch.complete()
"""


async def spans_of(conn) -> dict[str, list[dict]]:
    """All that have ended, by name."""
    (row,) = await until(conn, await ask(conn, "spans"), "completed")
    named: dict[str, list[dict]] = {}
    for span in json.loads(row["result"]):
        named.setdefault(span["name"], []).append(span)
    return named


async def test_a_span_of_an_action_is_the_child_of_the_span_that_asked(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(TRACED + WORK)).ready()
    assert daemon.heard("tracing_started", provider="TracerProvider")
    (row,) = await until(conn, await ask(conn, "one", "ok", trace=PARENT), "completed")
    assert json.loads(row["result"]) == PARENT
    await until(conn, await ask(conn, "one", "ok"), "completed")
    asked, alone = (await spans_of(conn))["process one"]
    assert (asked["trace"], asked["parent"], asked["kind"]) == (TRACE, SPAN, "CONSUMER")
    assert asked["attributes"] == {
        "messaging.system": "actiond",
        "messaging.operation.type": "process",
        "messaging.destination.name": "one",
        "messaging.message.id": str(row["id"]),
        "actiond.run_id": asked["attributes"]["actiond.run_id"],
        "actiond.attempt": 1,
        "actiond.outcome": "completed",
    }
    assert asked["status"] == ["UNSET", None]
    assert alone["parent"] is None
    assert alone["trace"] != TRACE
    inside = (await spans_of(conn))["inside"]
    assert [span["parent"] for span in inside] == [asked["span"], alone["span"]]


async def test_a_failure_is_an_error_with_the_redacted_text_and_nothing_more(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(TRACED + WORK)).ready()
    await ask(conn, "one", "fail", trace=PARENT)
    await daemon.says("action_failed")
    (span,) = (await spans_of(conn))["process one"]
    assert span["status"] == ["ERROR", "ValueError: no: postgresql://app:[hidden]@db/app"]
    assert (span["attributes"]["actiond.outcome"], span["events"]) == ("retried", 0)


async def test_a_span_reaches_a_handler_in_a_thread(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(TRACED + WORK)).ready()
    await until(conn, await ask(conn, "threaded", trace=PARENT), "completed")
    spans = await spans_of(conn)
    assert spans["in a thread"][0]["parent"] == spans["process threaded"][0]["span"]
    assert spans["process threaded"][0]["parent"] == SPAN


async def test_a_batch_is_linked_to_who_asked_and_their_actions_are_their_children(
    db, conn, start, processor_file
) -> None:
    await conn.execute("insert into actiond.setting (name, value) values ('paused', 'true')")
    await start(db.dsn, processor_file(TRACED + WORK)).ready()
    plain = await ask(conn, "many", "ok", "ok")
    traced = await ask(conn, "many", "ok", "fail", trace=PARENT)
    await conn.execute("update actiond.setting set value = 'false'")
    await until(conn, plain + traced, "completed", "failed")
    spans = await spans_of(conn)
    (batch,) = spans["batch many"]
    assert batch["parent"] is None
    assert batch["links"] == [SPAN, SPAN]
    assert batch["attributes"]["messaging.batch.message_count"] == 4
    assert (batch["attributes"]["actiond.completed"], batch["attributes"]["actiond.failed"]) == (3, 1)
    assert batch["status"] == ["UNSET", None]
    assert spans["inside"][0]["parent"] == batch["span"]
    good, bad = spans["process many"]
    for span in (good, bad):
        assert (span["trace"], span["parent"], span["links"]) == (TRACE, SPAN, [batch["span"]])
    assert [int(span["attributes"]["messaging.message.id"]) for span in (good, bad)] == traced
    assert good["attributes"]["actiond.outcome"] == "completed"
    assert bad["status"] == ["ERROR", "bad row"]


async def test_a_call_that_times_out_is_an_error(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(TRACED + WORK)).ready()
    await until(conn, await ask(conn, "many", "sleep"), "completed")
    await daemon.says("handler_timed_out")
    assert (await spans_of(conn))["batch many"][0]["status"] == ["ERROR", "timeout"]


async def test_what_commits_in_a_transaction_of_the_handler_is_told(db, conn, start, processor_file) -> None:
    await start(db.dsn, processor_file(TRACED + WORK)).ready()
    await until(conn, await ask(conn, "within", trace=PARENT), "completed")
    spans = await spans_of(conn)
    assert spans["process within"][0]["attributes"]["actiond.outcome"] == "completed"
    assert spans["batch within"][0]["attributes"]["actiond.completed"] == 1


@pytest.mark.parametrize("env", [{}, {"OTEL_TRACES_EXPORTER": "none"}], ids=["plain", "with a variable"])
async def test_without_a_provider_nothing_is_traced(db, conn, start, processor_file, env) -> None:
    daemon = await start(db.dsn, processor_file("from opentelemetry import trace\n" + WORK), env=env).ready()
    await until(conn, await ask(conn, "one", "ok", trace=PARENT), "completed")
    assert not daemon.heard("tracing_started")


async def test_without_the_extra_everything_works(db, conn, start, processor_file, tmp_path) -> None:
    missing = tmp_path / "missing" / "opentelemetry"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('not installed', name='opentelemetry')")
    plain = '@processor("plain")\nasync def plain(action):\n    return action.trace\n'
    daemon = await start(db.dsn, processor_file(plain), env={"PYTHONPATH": str(missing.parent)}).ready()
    (row,) = await until(conn, await ask(conn, "plain", trace=PARENT), "completed")
    assert json.loads(row["result"]) == PARENT
    assert not daemon.heard("tracing_started")


async def test_a_trace_can_be_given_in_every_way_of_asking(db, conn) -> None:
    ids = [await conn.fetchval("select actiond.enqueue('p', trace => $1)", PARENT)]
    ids.append(await enqueue(conn, "p", trace=PARENT))
    ids += await enqueue_many(conn, "p", [1, 2], trace=PARENT)
    ids += await ask(conn, "p", trace=PARENT)
    rows = await conn.fetch("select trace from actiond.action_list where id = any($1::bigint[])", ids)
    assert [row["trace"] for row in rows] == [PARENT] * 5
    assert await enqueue(conn, "p") not in ids
    assert json.loads((await actiond("show", str(ids[0]), "--json", dsn=db.dsn)).out)["trace"] == PARENT


@pytest.mark.parametrize(
    "trace",
    ["", "x", PARENT.upper(), PARENT[:-1], f"{PARENT}-more", f" {PARENT}", f"{PARENT}\n", PARENT.replace("-", "")],
)
async def test_what_is_no_traceparent_is_refused(conn, trace) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await ask(conn, "p", trace=trace)
    assert refused.value.constraint_name == "trace_is_a_w3c_traceparent"
