"""What a handler may do to its rows, its neighbours and its daemon: every rule, on one daemon that must live.

The daemon of this file runs through all of it; that it is still the same process at the end is a test, too.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import textwrap
from collections.abc import Iterator

import asyncpg
import pytest

from support.daemon import Daemon, daemons, outlived
from support.database import Database, Server, eventually
from support.impatient import IMPATIENT
from support.rows import ask, events, look, nothing_claimed, until
from support.sources import USUAL_IMPORTS

pytestmark = pytest.mark.slow

HANDLERS = """
import threading

QUICK = dict(retry_interval="0.1 s")


@processor("flaky", retries=2, **QUICK)
async def flaky(action):
    if action.attempt <= action.data["fails"]:
        raise RuntimeError(f"attempt {action.attempt} went wrong")
    return action.attempt


@processor("busy", retries=1, **QUICK)
async def busy(action):
    if action.attempt <= 4:
        raise Failure("the bank is busy", KEEP_ALIVE, after="0.05 s")
    return action.attempt


@processor("card", retries=5, **QUICK)
async def card(action):
    raise Failure("card declined", SUDDEN_DEATH)


@processor("order", retries=0, **QUICK)
async def order(action):
    if action.state is None:
        return action.defer("0.1 s", state={"order": 7})
    return action.state


@processor("unwanted", retries=3, **QUICK)
async def unwanted(action):
    return action.cancel("nobody needs this")


@batch_processor("silent", retries=0)
async def silent(batch):
    for action in batch:
        if action.data["say"]:
            action.complete()


@batch_processor("broken_off", retries=1, retry_interval="1 h")
async def broken_off(batch):
    batch[0].complete("kept")
    batch[1].fail("its own reason", SUDDEN_DEATH)
    batch[2].defer("1 h")
    batch[3].cancel("not needed")
    raise ValueError("half way")


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


ESCAPES = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("one")]),
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "Unprintable": Unprintable,
    "CancelsItself": None,
    "WrongDuration": lambda: Failure("later", after="soon"),
}


def escape(name):
    if name == "CancelsItself":
        asyncio.current_task().cancel()
    elif name:
        raise ESCAPES[name]()


@processor("escape", retries=0)
async def escapes(action):
    escape(action.data.get("raises"))
    if action.data.get("raises") != "CancelsItself":
        await asyncio.sleep(0.005)


@processor("escape_in_thread", retries=0)
def escapes_in_thread(action):
    escape(action.data.get("raises"))


@batch_processor("escape_in_batch", retries=0)
async def escapes_in_batch(batch):
    batch[0].complete("marked before")
    escape(batch[1].data.get("raises"))
    await asyncio.sleep(0.005)


@processor("returns_wrong_duration", retries=0)
async def returns_wrong_duration(action):
    return {"Failed": Failed("x", after="soon"), "Deferred": Deferred("soon"), "negative": Deferred(-1),
            "endless": Deferred("90000000000 w"), "fine": None}[action.data]


@processor("slow", retries=0, timeout="0.2 s")
async def slow(action):
    await asyncio.sleep(600 if action.data["hangs"] else 0)


@processor("slow_in_thread", retries=0, timeout="0.2 s")
def slow_in_thread(action):
    time.sleep(1 if action.data["hangs"] else 0)


class Letter(BaseModel):
    to: str
    copies: int


@processor("letter", retries=3)
async def letter(action: Action[Letter]):
    with open(action.data.to, "a") as file:
        file.write(f"{action.data.copies}\\n")


@batch_processor("results", batch_size=50, retries=3)
async def results(batch):
    for action in batch:
        action.complete("x" * action.data["size"])


class Odd(dict):
    def items(self):
        raise RuntimeError("no items")


@processor("bad_result", retries=0)
async def bad_result(action):
    deep = []
    for _ in range(20_000):
        deep = [deep]
    circle = []
    circle.append(circle)
    return {"nul": "a\\0b", "surrogate": "\\ud800", "nan": float("nan"), "object": object(), "digits": 10**5000,
            "deep": deep, "circle": circle, "odd": Odd(a=1), "fine": "fine"}[action.data]


@processor("bad_text", retries=0)
async def bad_text(action):
    raise ValueError("nul \\0, half a pair \\ud800, bell \\a, long " + "x" * 100_000)


async def never():
    pass


@processor("forgets", retries=0)
async def forgets(action):
    if action.data["forgets"]:
        never()


kept = []


@processor("keeps")
async def keeps(action):
    kept.append(action)


@processor("marks_late")
async def marks_late(action):
    try:
        kept[-1].fail("too late")
    except Exception as error:
        return type(error).__name__


@processor("marks_late_from_a_thread")
def marks_late_from_a_thread(action):
    def later():
        done.wait()
        try:
            action.fail("too late")
        except Exception as error:
            kept.append(type(error).__name__)

    done = threading.Event()
    threading.Thread(target=later).start()
    kept.append(done)


@processor("says_what_the_thread_heard")
async def says(action):
    kept.pop().set()
    while not isinstance(kept[-1], str):
        await asyncio.sleep(0.01)
    return kept[-1]


@processor("patient", retries=0)
async def patient(action):
    if action.attempt > 1:
        return "second run"
    while not action.withdrawn:
        await asyncio.sleep(0.01)
    await asyncio.sleep(action.data["lingers"])
    return "finished anyway"


@processor("sync", concurrency=4)
def sync(action):
    meeting = action.data
    open(f"{meeting}/{action.id}", "w").close()
    while len(os.listdir(meeting)) < 3:  # three at once
        time.sleep(0.01)
    return threading.current_thread() is not threading.main_thread()


@batch_processor("books", retries=1, **QUICK)
async def books(batch):
    path = batch[0].data.get("waits_for")
    while path and not os.path.exists(path):
        await asyncio.sleep(0.01)
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute("insert into public.book values ($1)", action.id)
            action.complete("written")
        if batch[0].data.get("raises") and batch[0].attempt == 1:
            raise RuntimeError("the second page")
"""


@pytest.fixture(scope="module")
def db(server: Server, template: str) -> Iterator[Database]:
    with server.kept(template) as database:
        yield database


@pytest.fixture(scope="module")
def daemon(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    path = tmp_path_factory.mktemp("failures") / "handlers.py"
    path.write_text(USUAL_IMPORTS + textwrap.dedent(HANDLERS))
    with daemons() as start:
        yield asyncio.run(start(db.dsn, path).ready())


@pytest.fixture(autouse=True)
async def _nothing_is_left_behind(daemon: Daemon, conn: asyncpg.Connection):
    async with outlived(daemon):
        yield
    await eventually(lambda: nothing_claimed(conn))


async def test_a_charged_failure_comes_back_by_itself_until_no_retry_is_left(conn) -> None:
    [twice, for_good] = await ask(conn, "flaky", {"fails": 2}, {"fails": 9})
    [first, second] = [*await until(conn, [twice], "completed"), *await until(conn, [for_good], "failed")]
    assert (first["attempts"], first["retries_left"], first["error"], first["result"]) == (3, 0, None, "3")
    assert (second["attempts"], second["retries_left"]) == (3, 0)
    assert second["error"] == "RuntimeError: attempt 3 went wrong"
    assert await events(conn, twice) == ["retried", "retried", "completed"]
    assert await events(conn, for_good) == ["retried", "retried", "failed"]


async def test_a_row_may_bring_its_own_number_of_retries(conn) -> None:
    ids = await ask(conn, "flaky", {"fails": 9}, retries_left=0)
    [row] = await until(conn, ids, "failed")
    assert (row["attempts"], row["retries_left"]) == (1, 0)


async def test_keep_alive_is_never_charged(conn) -> None:
    ids = await ask(conn, "busy")
    [row] = await until(conn, ids, "completed")
    assert (row["attempts"], row["retries_left"], row["error"]) == (5, None, None)
    assert await events(conn, ids[0]) == ["retried"] * 4 + ["completed"]


async def test_sudden_death_is_final_and_keeps_the_retries(conn) -> None:
    ids = await ask(conn, "card")
    [row] = await until(conn, ids, "failed")
    assert (row["attempts"], row["retries_left"], row["error"]) == (1, None, "card declined")


async def test_a_deferral_keeps_its_state_and_is_no_error(conn) -> None:
    ids = await ask(conn, "order")
    [row] = await until(conn, ids, "completed")
    assert json.loads(row["result"]) == {"order": 7}
    assert (row["attempts"], row["retries_left"], row["error"]) == (2, None, None)
    assert await events(conn, ids[0]) == ["deferred", "completed"]


async def test_a_handler_may_cancel_its_action(conn) -> None:
    ids = await ask(conn, "unwanted")
    [row] = await until(conn, ids, "canceled")
    assert (row["attempts"], row["error"]) == (1, "nobody needs this")


async def test_a_row_that_a_batch_handler_did_not_mark_has_failed(conn) -> None:
    ids = await ask(conn, "silent", {"say": True}, {"say": False}, {"say": True})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert rows[1]["error"] == "processor returned no outcome"


async def test_an_exception_half_way_keeps_the_marks_made_before(conn) -> None:
    ids = await ask(conn, "broken_off", *range(6))
    await until(conn, ids[:1], "completed")
    rows = await look(conn, ids)
    assert [row["status"] for row in rows] == ["completed", "failed", "pending", "canceled", "pending", "pending"]
    assert [row["error"] for row in rows] == [
        *(None, "its own reason", None, "not needed"),
        *["ValueError: half way"] * 2,
    ]
    assert [row["retries_left"] for row in rows] == [None, None, None, None, 0, 0]


ESCAPES = {
    "SystemExit": "SystemExit: 3",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "CancelledError": "CancelledError",
    "ExceptionGroup": "ValueError: one; KeyError: 'two'",
    "BaseExceptionGroup": "SystemExit: 1; ValueError: one",
    "StopIteration": "StopIteration",
    "MemoryError": "MemoryError",
    "RecursionError": "RecursionError",
    "Unprintable": "<Unprintable whose text cannot be had: ValueError>",
    "WrongDuration": "soon",
}


@pytest.mark.parametrize("processor", ["escape", "escape_in_thread"])
@pytest.mark.parametrize("name", ESCAPES)
async def test_whatever_escapes_from_a_handler_fails_its_action_alone(conn, processor, name) -> None:
    ids = await ask(conn, processor, {}, {"raises": name}, {})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert ESCAPES[name] in rows[1]["error"]


async def test_a_handler_that_cancels_its_own_task_harms_no_other(conn) -> None:
    ids = await ask(conn, "escape", *[{"raises": "CancelsItself"} if place == 3 else {} for place in range(30)])
    rows = await until(conn, ids, "completed", "failed")
    assert [place for place, row in enumerate(rows) if row["status"] == "failed"] in ([], [3])


@pytest.mark.parametrize("name", ["SystemExit", "CancelledError", "BaseExceptionGroup", "WrongDuration"])
async def test_whatever_escapes_from_a_batch_handler_leaves_the_marks(conn, name) -> None:
    ids = await ask(conn, "escape_in_batch", {}, {"raises": name}, {})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "failed"]
    assert rows[0]["result"] == '"marked before"'
    assert all(ESCAPES[name] in row["error"] for row in rows[1:])


async def test_a_wrong_duration_is_the_failure_of_its_action(conn) -> None:
    ids = await ask(conn, "returns_wrong_duration", "Failed", "fine", "Deferred", "negative", "endless")
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["failed", "completed", "failed", "failed", "failed"]


@pytest.mark.parametrize("processor", ["slow", "slow_in_thread"])
async def test_a_handler_that_takes_too_long_is_stopped(conn, daemon, processor) -> None:
    ids = await ask(conn, processor, {"hangs": False}, {"hangs": True})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert re.fullmatch(r"timed out after \d+ ms", rows[1]["error"])
    await daemon.says("handler_timed_out", processor=processor, action_id=ids[1])


async def test_a_payload_that_does_not_fit_fails_at_once_and_the_handler_never_sees_it(conn, tmp_path) -> None:
    path = tmp_path / "letters"
    good, more = {"to": str(path), "copies": 2}, {"to": str(path), "copies": 3}
    ids = await ask(conn, "letter", good, {"to": str(path), "copies": "many"}, [1], {"copies": 1}, more)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "failed", "failed", "completed"]
    assert sorted(path.read_text().split()) == ["2", "3"]
    assert [row["retries_left"] for row in rows[1:4]] == [None] * 3
    assert rows[1]["error"] == (
        "The payload does not fit: copies: Input should be a valid integer, unable to parse string as an integer"
    )
    assert "to: Field required" in rows[3]["error"]


async def test_payloads_that_python_cannot_read_fail_alone(conn) -> None:
    deep = "[" * 5000 + "]" * 5000
    ids = [
        await conn.fetchval(
            "insert into actiond.action (processor, data) values ('escape', $1::text::jsonb) returning id", data
        )
        for data in ('{"fine": 1}', deep, "9" * 6000, "1e400", '{"fine": 2}')
    ]
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in (rows[0], rows[-1])] == ["completed", "completed"]
    assert rows[1]["status"] == "failed"


async def test_an_outcome_that_the_database_refuses_fails_alone(conn, daemon) -> None:
    sizes = [300_000 if place in (7, 30) else 10 for place in range(40)]
    ids = await ask(conn, "results", *[{"size": size} for size in sizes])
    rows = await until(conn, ids, "completed", "failed")
    assert [row["id"] for row in rows if row["status"] == "failed"] == [ids[7], ids[30]]
    assert "result_is_at_most_256_kib" in rows[7]["error"]
    assert rows[7]["error"].startswith("outcome could not be stored: ")
    assert "xxx" not in rows[7]["error"]
    await daemon.says("outcome_refused", processor="results", sqlstate="23514")
    assert await events(conn, ids[7]) == ["failed"]


@pytest.mark.parametrize("code", ["23514", "22023", "P0001"])
async def test_a_trigger_may_refuse_an_outcome_of_one_row(conn, code) -> None:
    ids = await ask(conn, "results", *[{"size": place} for place in range(10)], status="held")
    await conn.execute(
        "create or replace function public.refuse() returns trigger language plpgsql as"
        f" $$ begin raise exception 'not this one' using errcode = '{code}'; end $$;"
        "create or replace trigger refuse before update on actiond.action for each row"
        f" when (new.status = 'completed' and new.id = {ids[4]}) execute function public.refuse()"
    )
    await conn.execute("update actiond.action set status = 'pending' where id = any($1::bigint[])", ids)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["id"] for row in rows if row["status"] == "failed"] == [ids[4]]
    assert "not this one" in rows[4]["error"]
    await conn.execute("drop trigger refuse on actiond.action")


REFUSED = """
@batch_processor("refused", batch_size=10)
async def refused(batch):
    batch.complete()
"""


async def test_a_row_of_which_nothing_can_be_stored_keeps_no_other_waiting(
    server, template, start, processor_file
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        daemon = await start(db.dsn, processor_file(IMPATIENT + REFUSED)).ready()
        await conn.execute(
            "create function public.refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'no outcome for this one'; end $$;"
            "create trigger refuse before update on actiond.action for each row"
            " when (old.claimed_by <> 0 and old.id = 3) execute function public.refuse()"
        )
        ids = await ask(conn, "refused", *[{}] * 30)
        await until(conn, [id_ for id_ in ids if id_ != 3], "completed")
        await until(conn, await ask(conn, "refused", {}, {}), "completed")
        assert (await look(conn, [3]))[0]["status"] == "running"
        await daemon.says("outcome_refused")
        await conn.execute("drop trigger refuse on actiond.action")
        await until(conn, [3], "completed")
        await eventually(lambda: nothing_claimed(conn))
        await conn.close()


async def test_a_result_that_is_no_json_is_the_failure_of_its_action(conn) -> None:
    kinds = ["nul", "surrogate", "nan", "object", "digits", "deep", "circle", "odd", "fine"]
    ids = await ask(conn, "bad_result", *kinds)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["failed"] * 8 + ["completed"]
    assert all(row["error"].startswith("the result cannot be stored: ") for row in rows[:-1])


async def test_an_error_text_can_always_be_stored(conn) -> None:
    ids = await ask(conn, "bad_text")
    [row] = await until(conn, ids, "failed")
    assert row["error"].startswith("ValueError: nul \\x00, half a pair \\ud800, bell \\x07, long xxx")
    assert len(row["error"]) == 1000
    detail = await conn.fetchval("select detail from actiond.history where action_id = $1", ids[0])
    assert 1000 < len(detail) <= 8192
    assert "bad_text" in detail


async def test_a_forgotten_await_fails_the_action_and_names_the_coroutine(conn, daemon) -> None:
    ids = await ask(conn, "forgets", {"forgets": False}, {"forgets": True})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert rows[1]["error"] == "coroutine 'never' was never awaited: its work was not done"
    await daemon.says("coroutine_never_awaited", action_id=ids[1], coroutine="never")


async def test_a_mark_after_the_handler_has_ended_is_refused(conn) -> None:
    [kept] = await until(conn, await ask(conn, "keeps"), "completed")
    [late] = await until(conn, await ask(conn, "marks_late"), "completed")
    assert late["result"] == '"BatchClosed"'
    assert await events(conn, kept["id"]) == []


async def test_a_mark_from_a_thread_after_the_handler_has_ended_is_refused(conn) -> None:
    await until(conn, await ask(conn, "marks_late_from_a_thread"), "completed")
    [late] = await until(conn, await ask(conn, "says_what_the_thread_heard"), "completed")
    assert late["result"] == '"BatchClosed"'


@pytest.mark.parametrize("status", ["canceled", "held"])
async def test_a_person_beats_the_handler_that_runs(conn, daemon, status) -> None:
    ids = await ask(conn, "patient", {"lingers": 0})
    await until(conn, ids, "running")
    await conn.execute("update actiond.action set status = $2 where id = $1", ids[0], status)
    await eventually(lambda: _fenced(conn, ids[0]))
    [row] = await look(conn, ids)
    assert (row["status"], row["result"], row["daemon"]) == (status, None, None)
    assert await events(conn, ids[0]) == [status, "fenced"]
    run = await conn.fetchrow("select fenced, completed, finished_at from actiond.run where $1 = any(actions)", ids[0])
    assert (run["fenced"], run["completed"]) == (1, 0)


async def test_a_row_that_was_held_and_released_belongs_to_its_second_run(conn) -> None:
    ids = await ask(conn, "patient", {"lingers": 0.3})
    await until(conn, ids, "running")
    await conn.execute("update actiond.action set status = 'held' where id = $1", ids[0])
    await conn.execute("update actiond.action set status = 'pending' where id = $1", ids[0])
    [row] = await until(conn, ids, "completed")
    assert row["result"] == '"second run"'
    await eventually(lambda: _fenced(conn, ids[0]))
    [row] = await look(conn, ids)
    assert (row["status"], row["result"]) == ("completed", '"second run"')
    assert await events(conn, ids[0]) == ["held", "released", "completed", "fenced"]


async def _fenced(conn: asyncpg.Connection, id_: int) -> bool:
    return "fenced" in await events(conn, id_)


async def test_handlers_that_are_not_async_run_in_threads_and_side_by_side(conn, tmp_path) -> None:
    rows = await until(conn, await ask(conn, "sync", *[str(tmp_path)] * 3), "completed")
    assert [row["result"] for row in rows] == ["true"] * 3


@pytest.fixture
async def book(conn: asyncpg.Connection):
    await conn.execute("create table public.book (action bigint)")
    yield
    await conn.execute("drop table public.book")


async def written(conn: asyncpg.Connection) -> list[int]:
    return [row["action"] for row in await conn.fetch("select action from public.book order by 1")]


async def test_writes_and_marks_of_a_transaction_commit_together(conn, book) -> None:
    ids = await ask(conn, "books", {}, {}, {})
    rows = await until(conn, ids, "completed")
    assert await written(conn) == ids
    assert {row["result"] for row in rows} == {'"written"'}


async def test_an_exception_rolls_back_writes_and_marks(conn, book) -> None:
    ids = await ask(conn, "books", {"raises": True}, {})
    rows = await until(conn, ids, "completed")
    assert await written(conn) == ids
    assert [row["attempts"] for row in rows] == [2, 2]
    assert await events(conn, ids[1]) == ["retried", "completed"]


async def test_what_the_database_refuses_at_the_commit_takes_the_marks_with_it(conn, book) -> None:
    await conn.execute(
        "create function public.full_book() returns trigger language plpgsql as"
        " $$ begin raise exception 'the book is full' using errcode = '23514'; end $$;"
        "create constraint trigger full_book after insert on public.book deferrable initially deferred"
        " for each row execute function public.full_book()"
    )
    ids = await ask(conn, "books", {}, {}, retries_left=0)
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert rows[0]["error"] == "CheckViolationError: the book is full"
    assert await written(conn) == []


async def test_a_row_canceled_before_the_transaction_leaves_the_batch(conn, book, tmp_path) -> None:
    gate = tmp_path / "open"
    ids = await ask(conn, "books", *[{"waits_for": str(gate)}] * 3)
    await until(conn, ids, "running")
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", ids[1])
    gate.touch()
    await until(conn, [ids[0], ids[2]], "completed")
    assert await written(conn) == [ids[0], ids[2]]
    assert [row["status"] for row in await look(conn, ids)] == ["completed", "canceled", "completed"]


async def test_a_function_in_the_database_is_a_processor_as_soon_as_its_row_is_there(conn, book) -> None:
    await conn.execute(
        "create function public.post_one(related text, data jsonb) returns jsonb language plpgsql as $$ begin"
        " if data ? 'bad' then raise exception 'no invoice %', related; end if;"
        " insert into public.book values ((data -> 'n')::bigint); return data; end $$;"
        "create function public.post_many(actions jsonb) returns table (id bigint, error text, result jsonb)"
        " language sql as $$ select (a -> 'id')::bigint, case when a -> 'data' ? 'bad' then 'bad' end, a -> 'data'"
        " from jsonb_array_elements(actions) a where not a -> 'data' ? 'forgotten' $$;"
        "insert into actiond.processor (name, uses, config, retries) values"
        """ ('post_one', 'sql_function', '{"function": "public.post_one"}', 0),"""
        """ ('post_many', 'sql_function', '{"function": "public.post_many", "per": "batch"}', 0)"""
    )
    ids = await ask(conn, "post_one", {"n": 1}, {"bad": 1}, {"n": 3}, related="no. 5")
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert rows[0]["result"] == '{"n": 1}'
    assert "no invoice no. 5" in rows[1]["error"]
    assert await written(conn) == [1, 3]
    ids = await ask(conn, "post_many", {"n": 1}, {"bad": 1}, {"forgotten": 1})
    rows = await until(conn, ids, "completed", "failed")
    assert [row["status"] for row in rows] == ["completed", "failed", "failed"]
    assert [row["error"] for row in rows] == [None, "bad", "processor returned no outcome"]


async def test_a_function_is_not_called_for_a_row_that_was_canceled(conn, book) -> None:
    await conn.execute(
        "create function public.wait_for_lock(related text, data jsonb) returns void language plpgsql as $$ begin"
        " perform pg_advisory_xact_lock_shared(4711); insert into public.book values ((data -> 'n')::bigint); end $$;"
        "insert into actiond.processor (name, uses, config) values"
        """ ('locked', 'sql_function', '{"function": "public.wait_for_lock"}')"""
    )
    await conn.execute("select pg_advisory_lock(4711)")
    ids = await ask(conn, "locked", {"n": 1}, {"n": 2}, {"n": 3})
    await until(conn, ids, "running")
    await conn.execute("update actiond.action set status = 'canceled' where id = $1", ids[1])
    await conn.execute("select pg_advisory_unlock(4711)")
    await until(conn, [ids[0], ids[2]], "completed")
    assert await written(conn) == [1, 3]


RUNAWAY = """
@processor("runaway", timeout="0.1 s", retries=0)
async def runaway(action):
    while action.data["runs"]:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


@batch_processor("runaway_batch", timeout="0.1 s", retries=0)
async def runaway_batch(batch):
    batch[0].complete("done before")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
"""


async def test_handlers_that_ignore_their_cancellation_are_written_off_and_then_the_daemon_ends(
    server, template, start, processor_file
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        daemon = await start(db.dsn, processor_file(IMPATIENT + RUNAWAY), env={"ACTIOND_RUNAWAYS_MAX": "2"}).ready()
        ids = await ask(conn, "runaway", {"runs": False}, {"runs": True}, {"runs": False})
        batch = await ask(conn, "runaway_batch", {}, {})
        await daemon.says("handler_runaway", processor="runaway")
        await daemon.says("handler_runaway", processor="runaway_batch")
        assert await daemon.ends() == 75
        assert [row["status"] for row in await look(conn, ids)] == ["completed", "failed", "completed"]
        rows = await look(conn, batch)
        assert [row["status"] for row in rows] == ["completed", "failed"]
        assert re.fullmatch(r"timed out after \d+ ms, and ignored that it was stopped", rows[1]["error"])
        assert await nothing_claimed(conn)
        await conn.close()


POISON = """
@batch_processor("poison", batch_size=10)
async def poison(batch):
    for action in batch:
        if action.data.get("kills"):
            os._exit(1)
    batch.complete()


@batch_processor("innocent", batch_size=10)
async def innocent(batch):
    if batch[0].attempt == 1:
        await asyncio.sleep(600)
    batch.complete()


@batch_processor("poisoned_book", batch_size=10)
async def poisoned_book(batch):
    async with batch.transaction() as conn:
        for action in batch:
            await conn.execute("insert into public.book values ($1)", action.id)
            action.complete()
        if batch[0].attempt == 1:
            os._exit(1)
"""


@pytest.mark.slow
async def test_a_row_that_kills_three_daemons_is_quarantined_and_its_neighbours_complete(
    server, template, start, processor_file
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        file = processor_file(IMPATIENT + POISON)
        others = await ask(conn, "innocent", {}, {}, {})
        daemon = start(db.dsn, file)
        await until(conn, others, "running")
        ids = await ask(conn, "poison", {}, {}, {"kills": True}, {})
        assert await daemon.ends() == 1
        for _ in range(2):
            assert await start(db.dsn, file).ends() == 1
        daemon = await start(db.dsn, file).ready()
        rows = await until(conn, ids, "completed", "failed")
        assert [row["status"] for row in rows] == ["completed", "completed", "failed", "completed"]
        assert (rows[2]["error"], rows[2]["crashes"], rows[2]["attempts"]) == ("quarantined: daemon died", 3, 3)
        assert max(row["crashes"] for row in rows if row["id"] != ids[2]) < 3
        assert {row["crashes"] for row in await until(conn, others, "completed")} == {1}
        assert await events(conn, ids[2]) == ["crashed", "crashed", "failed"]
        await daemon.says("row_quarantined", action_id=ids[2])
        daemon.signal(signal.SIGTERM)
        assert await daemon.ends() == 0
        await conn.close()


async def test_a_daemon_that_dies_inside_a_transaction_leaves_neither_writes_nor_marks(
    server, template, start, processor_file
) -> None:
    async with server.fresh(template) as db:
        conn = await db.connect()
        await conn.execute("create table public.book (action bigint)")
        ids = await ask(conn, "poisoned_book", {}, {}, {})
        file = processor_file(IMPATIENT + POISON)
        assert await start(db.dsn, file).ends() == 1
        assert await written(conn) == []
        start(db.dsn, file)
        rows = await until(conn, ids, "completed")
        assert await written(conn) == ids
        assert {row["attempts"] for row in rows} == {2}
        await conn.close()


async def test_the_daemon_of_this_file_lived_through_it_all(daemon, conn) -> None:
    assert await conn.fetchval("select count(*) from actiond.daemon") == 1
    assert daemon.heard("handler_runaway") == []
    assert [line for line in daemon.lines if line["event"] is None] == []
