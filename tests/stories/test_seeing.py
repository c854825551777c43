"""A person who did not write the code asks: what failed and why, what is stuck, how is it going, what happened."""

from __future__ import annotations

import json
import signal

import asyncpg
import pytest

from support.command import actiond
from support.database import eventually
from support.rows import ask, until
from support.terminal import terminal

pytestmark = pytest.mark.slow

WORK = """
@processor("works")
async def works(action):
    pass


@processor("declines", retries=0)
async def declines(action):
    raise ValueError(f"card {action.id} declined")


@processor("again", retries=2, retry_interval="0 s")
async def again(action):
    if action.attempt < 3:
        raise ValueError("not yet")


@processor("forever")
async def forever(action):
    await anyio.sleep_forever()
"""
COMMANDS = ("failures", "errors", "stuck", "stats", "stats --hours", "stats --retries", "history")


@pytest.fixture
async def worked(conn, db, start, processor_file):
    """A daemon that has worked, and what it was asked for, by processor."""
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    ids = {
        "works": await ask(conn, "works", *[{}] * 5, related="order 7"),
        "declines": await ask(conn, "declines", *[{}] * 3),
        "again": await ask(conn, "again"),
        "forever": await ask(conn, "forever"),
        "typo": await ask(conn, "typo"),
    }
    await until(conn, [*ids["works"], *ids["again"]], "completed")
    await until(conn, ids["declines"], "failed")
    await until(conn, ids["forever"], "running")
    assert daemon.process.poll() is None
    return ids


async def test_what_comes_with_every_daemon_is_no_line_of_its_own_until_there_is_something_to_see(
    db, conn, worked
) -> None:
    async def processors(*words: str) -> list[str]:
        table = (await actiond(*words, dsn=db.dsn, env={"COLUMNS": "200"})).out.split("\n\n")[
            0 if words[0] == "status" else 1
        ]
        return [line.split()[0] for line in table.splitlines() if "actiond." in line or line.startswith("works")]

    for command in (["status"], ["top", "--once"]):
        assert await processors(*command) == ["works"]
        assert await processors(*command, "--all") == ["actiond.plan", "actiond.verb", "works"]
    whole = json.loads((await actiond("status", "--json", dsn=db.dsn)).out)
    assert "actiond.plan" in [each["processor"] for each in whole["processors"]]
    await until(conn, await ask(conn, "actiond.plan", {"plan": "nobody knows"}), "failed")
    assert await processors("status") == ["actiond.plan", "works"]


async def test_every_question_has_an_answer_for_people_and_for_programs(db, worked) -> None:
    failures = await actiond("failures", dsn=db.dsn)
    assert failures.code == 0
    for id_ in worked["declines"]:
        assert f"A-{id_:08}" in failures.out
        assert f"ValueError: card {id_} declined" in failures.out
    assert f"actiond show {worked['declines'][2]}" in failures.err

    errors = await actiond("errors", dsn=db.dsn)
    (line,) = [line for line in errors.out.splitlines() if "declines" in line]
    assert line.split()[:6] == ["3", "declines", "ValueError:", "card", "<n>", "declined"]
    same = await actiond("failures", "--error", "card <n> declined", "--json", dsn=db.dsn)
    assert [row["id"] for row in json.loads(same.out)] == worked["declines"][::-1]

    stuck = await actiond("stuck", "--after", "0 s", dsn=db.dsn)
    assert [line.split()[1:3] for line in stuck.out.splitlines()[1:]] == [["forever", "running"], ["typo", "waiting"]]
    assert "no daemon ever had this processor" in stuck.out

    stats = {row["processor"]: row for row in json.loads((await actiond("stats", "--json", dsn=db.dsn)).out)}
    assert (stats["works"]["completed"], stats["works"]["success"]) == (5, 1.0)
    assert (stats["declines"]["failed"], stats["declines"]["success"]) == (3, 0.0)
    assert (stats["again"]["retried"], stats["again"]["completed"]) == (2, 1)
    shown = await actiond("stats", dsn=db.dsn)
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == ["again", "declines", "works"]
    assert "100 %" in shown.out
    hours = json.loads((await actiond("stats", "--hours", "--json", dsn=db.dsn)).out)
    assert sum(row["completed"] for row in hours) == 6
    retries = await actiond("stats", "--retries", dsn=db.dsn)
    assert retries.out.splitlines()[1].split()[:3] == ["again", "3", "2"]
    assert f"actiond history {worked['again'][0]}" in retries.err

    history = await actiond("history", f"A-{worked['again'][0]:08}", dsn=db.dsn)
    assert "ValueError: not yet" in history.out
    assert "it is completed" in history.err
    told = json.loads((await actiond("history", str(worked["again"][0]), "--json", dsn=db.dsn)).out)
    assert [entry["event"] for entry in told] == ["retried", "retried", "completed"]
    latest = json.loads((await actiond("history", "--event", "failed", "--json", dsn=db.dsn)).out)
    assert {row["action_id"] for row in latest} == set(worked["declines"])


async def test_nothing_is_said_in_words_and_programs_get_an_empty_list(db) -> None:
    empty = {
        "failures": "no failures in the last 24 h\n",
        "errors": "no failures in the last 7 d\n",
        "stuck": "nothing is stuck for 30 min or longer\n",
        "stats": "no run ended in the last 24 h\n",
        "stats --hours": "no run ended in the last 24 h\n",
        "stats --retries": "nothing was retried in the last 24 h\n",
        "history": "nothing of that kind happened\n",
    }
    assert tuple(empty) == COMMANDS
    for command, words in empty.items():
        said = await actiond(*command.split(), dsn=db.dsn)
        assert (said.code, said.out) == (0, words)
        said = await actiond(*command.split(), "--json", dsn=db.dsn)
        assert (said.code, said.err, json.loads(said.out)) == (0, "", [])
    said = await actiond("failures", "--processor", "p", "--since", "1 h", dsn=db.dsn)
    assert said.out == "no failures of 'p' in the last 1 h\n"


async def test_wrong_options_are_refused_in_words(db) -> None:
    for arguments in (["failures", "--since", "soon"], ["stuck", "--after", "-1"], ["top", "--every", "x"]):
        said = await actiond(*arguments, dsn=db.dsn)
        assert said.code == 2
        assert "not a duration" in said.err
        assert "Traceback" not in said.err
    said = await actiond("history", "12345", dsn=db.dsn)
    assert (said.code, said.line) == (1, "actiond: there is no action 12345")
    said = await actiond("history", "twelve", dsn=db.dsn)
    assert said.code == 2


async def test_a_daemon_adds_ended_runs_to_their_hours(conn, db, start, processor_file) -> None:
    await conn.execute(
        "insert into actiond.run (id, processor, daemon, actions, started_at, finished_at, completed)"
        " select -n, 'old', 1, '{1}', now(), now() - interval '1 h' * n, 1 from generate_series(1, 30) as g (n)"
    )
    await start(db.dsn, processor_file(WORK)).ready()

    async def all_of_them() -> bool:
        return await conn.fetchval("select sum(runs) = 30 from actiond.run_hour") is True

    await eventually(all_of_them)


# top


async def waits(conn: asyncpg.Connection) -> None:
    await conn.execute(
        "insert into actiond.processor (name) values ('alpha'), ('beta');"
        "insert into actiond.action (processor) select 'beta' from generate_series(1, 3);"
        "set session_replication_role = replica;"
        "insert into actiond.action (processor, status, finished_at, error, attempts)"
        " values ('beta', 'failed', now(), 'card declined', 1)"
    )


async def test_top_shows_sorts_selects_opens_and_leaves_the_terminal_as_it_was(conn, db) -> None:
    await waits(conn)
    with terminal(db.dsn, "top", "--every", "0.2 s") as top:
        seen = await top.shows("q quit")
        assert "alpha" in top.read()
        assert "3 rows wait" in top.read() or "no daemon is running" in top.read()
        assert top.modes() != top.before
        top.type(b"s")
        seen = await top.shows("due ▼", after=seen)
        top.type(b"\r")
        seen = await top.shows("failures of beta, the latest first", after=seen)
        seen = await top.shows("card declined", after=seen)
        top.type(b"j\x1b")
        seen = await top.shows("by due", after=seen)
        await ask(conn, "beta", *[{}] * 40)
        await top.shows("43", after=seen)
        top.type(b"q")
        assert await top.ends() == 0
        assert top.modes() == top.before
        assert top.raw.count("\x1b[?1049h") == top.raw.count("\x1b[?1049l") == 1
        assert top.raw.rindex("\x1b[?25h") > top.raw.rindex("\x1b[?25l")


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM", "SIGHUP", "database"])
async def test_top_restores_the_terminal_however_it_ends(conn, db, how) -> None:
    await waits(conn)
    with terminal(db.dsn, "top", "--every", "0.2 s") as top:
        await top.shows("q quit")
        if how == "ctrl-c":
            top.type(b"\x03")
        elif how == "database":
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'actiond cli'"
            )
        else:
            top.process.send_signal(signal.Signals[how])
        assert await top.ends() == (3 if how == "database" else 0)
        assert top.modes() == top.before
        assert top.raw.count("\x1b[?1049l") == 1
        assert "Traceback" not in top.raw
        assert ("the connection was lost" in top.raw) == (how == "database")


async def test_top_without_a_terminal_says_what_else_there_is(conn, db) -> None:
    await waits(conn)
    said = await actiond("top", dsn=db.dsn)
    assert said.code == 1
    assert said.line == "actiond: top needs a terminal; elsewhere use `actiond top --once` or `actiond status --json`"
    once = await actiond("top", "--once", "--sort", "due", dsn=db.dsn)
    assert (once.code, once.err) == (0, "")
    lines = once.out.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["beta", "alpha"]
    assert "\x1b" not in once.out


async def test_a_row_is_a_line_where_there_is_no_terminal(db, conn) -> None:
    related = "customer " * 20
    ids = [await conn.fetchval("select actiond.enqueue('p', related => $1)", related.strip()) for _ in range(3)]
    said = await actiond("ls", dsn=db.dsn)
    lines = said.out.splitlines()
    assert len(lines) == 1 + len(ids)
    assert all(related.strip() in line for line in lines[1:])
