"""Words that do not appear: what blocks, what prints, what hides errors, names that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from house.forbidden import (
    catches_all,
    dangers,
    dates,
    names_in_docs,
    names_in_python,
    names_in_sql,
    not_ours,
    past_the_door,
    prints,
    sleeps,
    sql_texts,
    swallowed_cancellations,
    timed_asserts,
)
from house.source import BUILT_INS, DAEMON, PACKAGE, ROOT, SQL, TESTS, python_files, short

CODE = python_files(PACKAGE, BUILT_INS)
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")])

#: Tests wait for events; `eventually` is for what announces itself in no other way. A benchmark measures time.
MAY_SLEEP = {"tests/support/database.py", "tests/bench"}

#: Who may catch everything, and why: at the boundary of user code, of a connection, and in the supervisor.
MAY_CATCH_ALL = {
    "daemon/actiond/batch/attempt.py": "user code: validators of a payload",
    "daemon/actiond/batch/call.py": "user code: the handler; what it raised is kept, whatever it is",
    "daemon/actiond/batch/execute_each.py": "a connection: whose fault an error is",
    "daemon/actiond/batch/lifespans.py": "user code: resources",
    "daemon/actiond/batch/surroundings.py": "user code: what is around a handler",
    "daemon/actiond/batch/isolation.py": "user code: the handler, called again",
    "daemon/actiond/batch/process_call.py": "ends the worker, then raises",
    "daemon/actiond/batch/transaction.py": "rolls back, then raises",
    "daemon/actiond/batch/worker.py": "user code: the file of a handler, and what the handler leaves behind",
    "daemon/actiond/batch/workers.py": "ends the worker, then raises",
    "daemon/actiond/batch/write_back.py": "a connection; puts the outcomes back, then raises",
    "daemon/actiond/cli/asking.py": "a connection: what a person is told of its errors",
    "daemon/actiond/cli/enqueue.py": "a connection: which line of a file the database refuses",
    "daemon/actiond/contract/batch.py": "user code: the arguments of one action",
    "daemon/actiond/host/discovery.py": "user code: modules and files with processors",
    "daemon/actiond/host/log.py": "user code: texts of foreign records; printing never raises",
    "daemon/actiond/host/log_adapter.py": "user code: the adapter",
    "daemon/actiond/host/log_printable.py": "user code: texts of foreign values; printing never raises",
    "daemon/actiond/host/worker_process.py": "ends the worker, then raises",
    "daemon/actiond/host/postgres_home.py": "cleans up, then raises",
    "daemon/actiond/host/private_postgres.py": "cleans up, then raises",
    "daemon/actiond/loops/breaker_loop.py": "a connection",
    "daemon/actiond/loops/clerks.py": "a connection",
    "daemon/actiond/loops/policy_loop.py": "a connection",
    "daemon/actiond/loops/presence_thread.py": "a connection",
    "daemon/actiond/loops/processor_loop.py": "a connection",
    "daemon/actiond/loops/outcome_loop.py": "a connection",
    "daemon/actiond/loops/release_loop.py": "a connection",
    "daemon/actiond/loops/rescue_loop.py": "a connection",
    "daemon/actiond/loops/schedule_loop.py": "a connection",
    "daemon/actiond/postgres/action_store.py": "a connection: what an error means for the statement",
    "daemon/actiond/postgres/presence.py": "a connection",
    "daemon/actiond/rules/error_text.py": "user code: __str__ of an error",
    "daemon/actiond/service/drain.py": "a connection",
    "daemon/actiond/service/http.py": "the server of metrics and health: work goes on without it",
    "daemon/actiond/service/roster.py": "a connection: the old code goes on",
    "daemon/actiond/service/supervisor.py": "a connection, and the end of a daemon",
    "daemon/actiond/service/watched.py": "a connection",
    "daemon/actiond/torture/faults.py": "a connection, cut on purpose",
    "daemon/actiond/torture/producer.py": "a connection, cut on purpose",
    "daemon/actiond/words/json_text.py": "user code: values that are to be stored",
    "processors/actiond_processors/sql_function.py": "user code: a function in the database",
    "processors/actiond_processors/plan.py": "a connection: is it what was asked that is wrong",
    "processors/actiond_processors/verb.py": "a connection: what an error means for a bulk verb",
    "daemon/actiond/postgres/verbs.py": "a connection: a chunk that lost against other locks",
}
#: Where a cancellation ends, and why that is not the daemon's own.
KEEPS_A_CANCELLATION = {
    "daemon/actiond/batch/call.py": "it was the handler's, or that of a call that the daemon stopped",
    "daemon/actiond/batch/attempt.py": "a validator never waits, so it raised this itself",
    "daemon/actiond/batch/lifespans.py": "a resource's own: nothing of ours cancels it but the scope around it",
    "daemon/actiond/batch/surroundings.py": "those around a handler are all left; the daemon's own comes again",
    "daemon/actiond/batch/worker.py": "the daemon ends a worker from outside; a cancellation in there is the handler's",
    "daemon/actiond/words/json_text.py": "an author's own kind of dict never waits, so it raised this itself",
    "daemon/actiond/rules/error_text.py": "a __str__ never waits, so it raised this itself",
}
#: `ctx` is how click calls the parameter of methods that the lazy group overrides; job results are named as the
#: AsyncJob framework does.
_SAID_BY_OTHERS = {
    "daemon/actiond/cli/main.py": {"ctx"},
    "daemon/actiond/contract/job.py": {'"COMPLETED"', '"FAILED"'},
    "docs/composing.md": {"`COMPLETED`", "`FAILED`"},
}


@pytest.mark.parametrize("path", python_files(TESTS), ids=short)
def test_a_test_waits_for_an_event_and_not_for_time(path: Path) -> None:
    assert short(path) in MAY_SLEEP or short(path.parent) in MAY_SLEEP or sleeps(path.read_text()) == []


@pytest.mark.parametrize("path", python_files(TESTS), ids=short)
def test_a_test_does_not_assert_how_long_something_took(path: Path) -> None:
    assert timed_asserts(path.read_text()) == []


@pytest.mark.parametrize("path", CODE, ids=short)
def test_code_does_none_of_what_is_forbidden(path: Path) -> None:
    text = path.read_text()
    assert dangers(text) == []
    if path.is_relative_to(DAEMON):
        assert prints(text) == []
        assert dates(text) == []
    assert sql_texts(text) == []
    if short(path) not in MAY_CATCH_ALL:
        assert catches_all(text) == []
    if short(path) not in KEEPS_A_CANCELLATION:
        assert swallowed_cancellations(text) == []


@pytest.mark.parametrize("path", python_files(PACKAGE / "cli"), ids=short)
def test_commands_say_what_they_say_through_one_door(path: Path) -> None:
    assert path.name in ("say.py", "output.py") or past_the_door(path.read_text()) == []


@pytest.mark.parametrize("name", sorted(MAY_CATCH_ALL))
def test_who_may_catch_everything_does(name: str) -> None:
    assert catches_all((ROOT / name).read_text())


@pytest.mark.parametrize("path", CODE, ids=short)
def test_code_uses_our_names(path: Path) -> None:
    assert not_ours(names_in_python(path.read_text()), _SAID_BY_OTHERS.get(short(path), ())) == []


@pytest.mark.parametrize("path", sorted(SQL.rglob("*.sql")), ids=short)
def test_sql_uses_our_names(path: Path) -> None:
    assert not_ours(names_in_sql(path.read_text())) == []


@pytest.mark.parametrize("path", DOCS, ids=short)
def test_the_manual_uses_our_names(path: Path) -> None:
    assert not_ours(names_in_docs(path.read_text()), _SAID_BY_OTHERS.get(short(path), ())) == []


# The rules themselves: each finds what it is there for.


@pytest.mark.parametrize(
    "text", ["time.sleep(1)", "await anyio.sleep(0)", "await asyncio.sleep(0.1)", "from time import sleep\nsleep(1)"]
)
def test_a_sleep_is_found(text: str) -> None:
    assert sleeps(f"async def f():\n    {text}" if "await" in text else text)


def test_a_timed_assert_is_found() -> None:
    assert timed_asserts("assert time.monotonic() - began < 2")
    assert timed_asserts("assert not late\nwait(time.monotonic())") == []


def test_what_goes_past_the_door_is_found() -> None:
    assert past_the_door("click.echo(name)\nclick.confirm(f'remove {name}?')") == ["1: click.echo", "2: click.confirm"]
    assert past_the_door("say.line(name)\nclick.prompt('how many')") == []


@pytest.mark.parametrize("text", ["datetime.now(UTC)", "datetime.datetime.utcnow()", "date.today()", "time.time()"])
def test_a_date_of_the_machine_is_found(text: str) -> None:
    assert dates(text)
    assert dates("time.monotonic(); loop.time(); clock.now()") == []


@pytest.mark.parametrize(
    "text", ["import pickle", "from pickle import loads", "eval('1')", "exec(code)", "__import__('os')", "yaml.load(f)"]
)
def test_code_made_of_data_is_found(text: str) -> None:
    assert dangers(text)
    assert dangers("spec.loader.exec_module(module)\nre.compile('x')\njson.load(f)") == []


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        " SELECT id FROM x",
        "\n  insert into a values (1)",
        "update actiond.action set status = $1",
        "update actiond.action a set status = $1",
        "delete from x",
        "with a as (select 1) select * from a",
        "create table x ()",
        "alter table x add y int",
        "set search_path = ''",
        "set local lock_timeout to '1s'",
        "listen actiond_wake",
        "notify actiond_wake, 'x'",
    ],
)
def test_sql_in_a_python_string_is_found(sql: str) -> None:
    assert sql_texts(f"x = {sql!r}")
    assert sql_texts(f"x = f{sql + '{y}'!r}")
    assert sql_texts(f'"""{sql}"""') == []


@pytest.mark.parametrize("text", ["With lines: take it", "Insert the good lines", "Set it to 3", "listen on all", ""])
def test_english_is_not_taken_for_sql(text: str) -> None:
    assert sql_texts(f"x = {text!r}") == []


@pytest.mark.parametrize(
    "clause", ["except Exception", "except BaseException as e", "except", "except (ValueError, Exception)"]
)
def test_catching_everything_is_found(clause: str) -> None:
    assert catches_all(f"try:\n    f()\n{clause}:\n    pass")
    assert catches_all("with contextlib.suppress(OSError, Exception):\n    f()")
    assert catches_all("try:\n    f()\nexcept (ValueError, OSError):\n    pass") == []


def test_a_swallowed_cancellation_is_found() -> None:
    assert swallowed_cancellations("try:\n    f()\nexcept asyncio.CancelledError:\n    pass")
    assert swallowed_cancellations("with suppress(asyncio.CancelledError):\n    f()")
    assert swallowed_cancellations("try:\n    f()\nexcept BaseException:\n    g()\n    raise") == []


def test_a_name_that_is_not_ours_is_found() -> None:
    for code in ("def f(ctx): ...", "x.max_concurrency", "{'group_id': 1}", "action.again(5)", "status = 'PENDING'"):
        assert not_ours(names_in_python(code)), code
    for sql in ("select tenant from x", "notify actiond, 'x'", "where status = 'Failed' or status = 'FAILED'"):
        assert not_ours(names_in_sql(sql)), sql
    for quiet in ("# the reaper\nx = 1", '"""In parallel."""', "x = 'actiond_wake'", "row['dead']", "a.keep_alive()"):
        assert not_ours(names_in_python(quiet)) == [], quiet
    assert not_ours(names_in_sql("immutable parallel safe -- tenant")) == []
    assert not_ours(names_in_docs("what others call a tenant; `group_id`")) == ["group_id"]
