"""Wrong settings, files, rows, commands: one clear line, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket

import asyncpg
import pytest

from actiond.cli.main import COMMANDS, main
from actiond.host.private_postgres import PrivatePostgres
from support.command import Said, actiond
from support.daemon import Daemon
from support.database import eventually, memory
from support.proxy import running_proxy
from support.rows import ask, completed_once, events, look, until

pytestmark = pytest.mark.slow

NOBODY = "postgresql://nobody@127.0.0.1:1/nowhere"
WORK = """
@processor("work", history="all", concurrency=2)
async def work(action):
    pass


@processor("blocks", history="all")
async def blocks(action):
    hold_the_loop()


def hold_the_loop():
    time.sleep(3.5)
"""


def last_line(said: Said) -> str:
    """What a daemon that does not start says after its log."""
    assert "Traceback" not in said.err
    return said.err.strip().splitlines()[-1]


# settings and the database


async def test_a_dsn_of_another_kind_is_refused() -> None:
    wrong = ["localhost/actiond", "mysql://localhost/actiond", "host=localhost", "postgres:nothing"]
    for said in await asyncio.gather(*(actiond("run", dsn=dsn) for dsn in wrong), actiond("ls", "--dsn", wrong[0])):
        assert (said.code, said.line) == (2, "actiond: ACTIOND_DSN: a DSN begins with postgresql://")


async def test_a_wrong_setting_is_named() -> None:
    for name, value in (("ACTIOND_DRAIN_S", "soon"), ("ACTIOND_CONNECTIONS", "0"), ("ACTIOND_LOG_LEVEL", "loud")):
        said = await actiond("run", dsn=NOBODY, env={name: value})
        assert said.code == 2
        assert said.line.startswith(f"actiond: {name}: ")


async def test_a_daemon_waits_for_its_server_and_says_so(db, conn, start, processor_file) -> None:
    async with running_proxy(db.dsn) as proxy:
        proxy.refusing = True
        daemon = start(proxy.dsn, processor_file(WORK))
        line = await daemon.says("connection_lost", connection="start")
        assert "no answer from the database" in line["error"]
        proxy.refusing = False
        await daemon.ready()
        await until(conn, await ask(conn, "work"), "completed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_daemon_that_waits_for_its_server_can_be_stopped(start, processor_file, number) -> None:
    daemon = start("postgresql://nobody@no-such-host.invalid/nowhere", processor_file(WORK))
    await daemon.says("connection_lost", connection="start")
    daemon.signal(number)
    assert await daemon.ends(within_s=10) in (0, 130, -signal.SIGTERM)
    assert not [line for line in daemon.lines if "Traceback" in str(line)]


async def test_a_database_that_is_not_there(db, processor_file) -> None:
    dsn = db.dsn.replace(db.name, "actiond_test_missing")
    for arguments in (["run", "--processors", str(processor_file(WORK))], ["status"], ["migrate"]):
        said = await actiond(*arguments, dsn=dsn)
        assert said.code == 3
        assert last_line(said) == (
            'actiond: database "actiond_test_missing" does not exist. Create it, or correct ACTIOND_DSN.'
        )


async def test_a_wrong_password(processor_file) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with PrivatePostgres(temporary_in=memory(), port=port) as server:
        login, place = server.dsn("postgres").split("@")
        wrong = f"{login.rpartition(':')[0]}:wrong-secret@{place}"
        for arguments in (["run", "--processors", str(processor_file(WORK))], ["status"]):
            said = await actiond(*arguments, dsn=wrong)
            assert said.code == 3
            assert "refuses these credentials: password authentication failed" in last_line(said)
            assert "wrong-secret" not in said.out + said.err


SCHEMAS = {
    "missing": ("drop schema actiond cascade", "this database has no actiond schema yet. Run `actiond migrate`"),
    "newer": (
        "insert into actiond.migration (version, name, sha256) values (999, '0999_from_the_future', '')",
        "the schema has migration 0999_from_the_future, which this actiond does not know.",
    ),
    "older": ("update actiond.migration set sha256 = '' where version = 0", "the schema lacks functions. Run `actiond"),
    "edited": ("update actiond.migration set sha256 = '' where version = 1", "was edited after it was applied"),
}


@pytest.mark.parametrize("state", SCHEMAS)
async def test_a_schema_that_does_not_fit(db, conn, processor_file, state) -> None:
    change, words = SCHEMAS[state]
    await conn.execute(change)
    run, status = await asyncio.gather(
        actiond("run", "--processors", str(processor_file(WORK)), dsn=db.dsn), actiond("status", dsn=db.dsn)
    )
    assert (run.code, status.code) == (4, 4)
    assert words in last_line(run)
    assert words in status.line


async def test_an_old_schema_is_brought_up_to_date_on_the_way(db, conn, start, processor_file) -> None:
    await conn.execute("update actiond.migration set sha256 = '' where version = 0")
    await start(db.dsn, processor_file(WORK), options=("--migrate",)).ready()


# processors

BROKEN = {
    "syntax": ("def broken(:\n", ": SyntaxError: invalid syntax"),
    "import": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "raises": ("raise RuntimeError('no licence')\n", "RuntimeError: no licence"),
    "exits": ("raise SystemExit(0)\n", "SystemExit: 0"),
    "knob": ("@processor('x', retrys=3)\nasync def x(a): ...\n", "there is no knob 'retrys'"),
    "duration": ("@processor('x', timeout='soon')\nasync def x(a): ...\n", "timeout: not a duration: 'soon'"),
    "name": ("@processor('a, b')\nasync def x(a): ...\n", "no comma and no white space"),
    "annotation": ("@processor('x')\nasync def x(a: 'Action[Nowhere]'): ...\n", "name 'Nowhere' is not defined"),
    "argument": ("@processor('x')\nasync def x(): ...\n", "the handler takes no argument"),
}


async def test_a_broken_processor_file_is_told_with_its_place(processor_file) -> None:
    files = [processor_file(source) for source, _ in BROKEN.values()]
    answers = await asyncio.gather(*(actiond("run", "--processors", str(file), dsn=NOBODY) for file in files))
    for said, file, (_, words) in zip(answers, files, BROKEN.values(), strict=True):
        assert said.code == 1
        assert words in last_line(said)
        assert str(file) in last_line(said)


async def test_two_processors_of_one_name_are_told_with_both_places(processor_file) -> None:
    one, two = processor_file(WORK), processor_file("@batch_processor('work')\nasync def other(batch): ...\n")
    said = await actiond("run", "--processors", str(one), "--processors", str(two), dsn=NOBODY)
    assert said.code == 1
    first, second = (
        file.read_text().splitlines().index(decorator) + 1
        for file, decorator in (
            (one, '@processor("work", history="all", concurrency=2)'),
            (two, "@batch_processor('work')"),
        )
    )
    assert f"'work' at {one}:{first} and at {two}:{second} " in last_line(said)


async def test_files_and_modules_that_are_not_there(tmp_path) -> None:
    said = await actiond("run", "--processors", str(tmp_path / "none.py"), dsn=NOBODY)
    assert said.code == 1
    assert f"there is no file {tmp_path}/none.py" in last_line(said)
    said = await actiond("run", dsn=NOBODY, env={"ACTIOND_PROCESSORS": "no_such.module"})
    assert said.code == 1
    assert "no_such.module" in last_line(said)


# rows


async def test_rows_for_a_processor_that_nobody_has_wait_for_it(db, conn, start, processor_file) -> None:
    env = {"ACTIOND_POLL_INTERVAL_S": "0.5"}
    first = await start(db.dsn, processor_file("@processor('a')\nasync def a(action): ...\n"), env=env).ready()
    ids = await ask(conn, "work", {}, {})
    await first.says("processor_unknown", processor="work")
    await until(conn, await ask(conn, "a"), "completed")
    assert {row["attempts"] for row in await look(conn, ids)} == {0}
    said = await actiond("status", dsn=db.dsn)
    assert "2 rows wait for 'work', which no daemon serves: is the name right?" in said.out
    await start(db.dsn, processor_file(WORK)).ready()
    await until(conn, ids, "completed")


async def test_what_cannot_be_kept_is_refused_at_the_insert(conn) -> None:
    refused = {
        "data_is_at_most_256_kib": "insert into actiond.action (processor, data)"
        " values ('work', jsonb_build_object('x', repeat('x', 300000)))",
        "processor_is_named": "insert into actiond.action (processor) values ('')",
        "priority_is_0_to_3": "insert into actiond.action (processor, priority) values ('work', 4)",
        "next_eligible_at_is_between_2000_and_2200": "insert into actiond.action (processor, next_eligible_at)"
        " values ('work', 'infinity')",
    }
    for name, statement in refused.items():
        with pytest.raises(asyncpg.CheckViolationError) as error:
            await conn.execute(statement)
        assert error.value.constraint_name == name
    with pytest.raises(asyncpg.PostgresError, match="may not set what the daemon records") as forged:
        await conn.execute("insert into actiond.action (processor, status) values ('work', 'completed')")
    assert forged.value.sqlstate == "AC001"
    assert await conn.fetchval("select count(*) from actiond.action") == 0


async def test_a_handler_that_holds_the_event_loop_is_named_and_loses_nothing(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    other = await start(db.dsn, processor_file("@processor('a')\nasync def a(action): ...\n")).ready()
    ids = [*await ask(conn, "blocks"), *await ask(conn, "work", {}, {})]
    line = await daemon.says("loop_blocked")
    assert "hold_the_loop" in line["where"]
    seen = set()

    async def done() -> bool:
        row = await conn.fetchrow(
            "select seen_at, actiond.now() - seen_at < interval '2 s' as fresh from actiond.daemon where id = 1"
        )
        assert row["fresh"]
        seen.add(row["seen_at"])
        return all(row["status"] == "completed" for row in await look(conn, ids))

    await eventually(done)
    assert len(seen) >= 3
    await completed_once(conn, ids)
    assert {(row["attempts"], row["crashes"]) for row in await look(conn, ids)} == {(1, 0)}
    assert other.heard("peer_died") == []


# commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: actiond {name}")
    assert len(said.splitlines()) > 3


def test_an_unknown_command_or_option_is_told(capsys) -> None:
    assert main(["frobnicate"]) == 2
    assert "No such command 'frobnicate'" in capsys.readouterr().err
    assert main(["ls", "--frobnicate"]) == 2
    assert "No such option" in capsys.readouterr().err


WRONG = [
    (["show", "twelve"], 2, "'twelve' is no id (write 12 or A-00000012)"),
    (["show", "99999999999999999999"], 2, "is no id"),
    (["show", "-1"], 2, ""),
    (["ls", "--since", "tomorrow"], 2, "'tomorrow' is no moment: write how long ago"),
    (["ls", "--since", "100000000 w"], 2, "a duration cannot be"),
    (["ls", "--status", "done"], 2, "'done' is not one of"),
    (["ls", "--limit", "0"], 2, "0 is not in the range"),
    (["enqueue", "work", "--delay", "-5 min"], 2, "not a duration: '-5 min'"),
    (["enqueue", "work", "--priority", "9"], 2, "9 is not in the range"),
    (["enqueue"], 2, "Missing argument 'PROCESSOR'"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_arguments_are_refused_before_anything_is_asked(arguments, code, words, capsys, monkeypatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", NOBODY)
    assert main(arguments) == code
    assert words in capsys.readouterr().err


async def test_commands_say_that_the_server_does_not_answer() -> None:
    commands = (["status"], ["ls"], ["show", "1"], ["processors"], ["wake"], ["migrate"], ["migrate", "--status"])
    said = await asyncio.gather(*(actiond(*arguments, dsn=NOBODY) for arguments in (*commands, ["enqueue", "work"])))
    for each in said:
        assert each.code == 3
        assert each.line.startswith("actiond: no answer from the database (ConnectionRefusedError: ")


def test_who_has_not_said_which_database_is_told_of_the_one_of_dev(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("ACTIOND_DSN", raising=False)
    monkeypatch.setenv("PGHOST", str(tmp_path))
    assert main(["status"]) == 3
    said = capsys.readouterr().err.strip()
    assert said.endswith('It is not set; the database of `actiond dev`: export ACTIOND_DSN="$(actiond dev --show-dsn)"')


async def test_what_commands_cannot_find_or_keep(db, conn) -> None:
    async def said(*arguments: str) -> tuple[int, str]:
        answer = await actiond(*arguments, dsn=db.dsn)
        return answer.code, answer.line

    answers = await asyncio.gather(
        said("show", "4711"),
        said("processors", "nobody"),
        said("wake", "nobody"),
        said("ls", "--below", "99999999999999999999"),
    )
    assert answers[0] == (1, "actiond: there is no action 4711")
    assert answers[1] == (1, "actiond: there is no processor 'nobody'; `actiond processors` lists them all")
    assert answers[2] == (0, "no processor 'nobody' is known: ignored")
    assert "out of int64 range" in answers[3][1]
    assert "connection was lost" not in answers[3][1]


LINES = """{"to": "a"}
no json

{"to": "b"}
{"to": "nul \\u0000"}
{"to": NaN}
"""


async def test_bad_lines_are_told_by_number_and_nothing_is_inserted(db, conn) -> None:
    said = await actiond("enqueue", "work", "--data", "-", dsn=db.dsn, stdin=LINES)
    assert said.code == 1
    assert "line 2: no JSON: " in said.err
    assert "line 5: it holds a NUL character, which Postgres cannot store" in said.err
    assert "line 6: " in said.err
    assert "Traceback" not in said.err
    assert await conn.fetchval("select count(*) from actiond.action") == 0
    large = json.dumps({"a": "x" * 300_000})
    said = await actiond("enqueue", "work", "--data", "-", dsn=db.dsn, stdin=f"{{}}\n{large}\n{{}}\n")
    assert said.code == 1
    assert "line 2: CheckViolationError: " in said.err
    assert "data_is_at_most_256_kib" in said.err
    assert "xxx" not in said.err
    assert "nothing was inserted: 1 bad of 3" in said.out
    assert await conn.fetchval("select count(*) from actiond.action") == 0


async def test_bad_lines_may_be_skipped(db, conn) -> None:
    said = await actiond("enqueue", "work", "--data", "-", "--skip-bad", "--json", dsn=db.dsn, stdin=LINES)
    assert said.code == 1
    answer = json.loads(said.out)
    assert answer["inserted"] == 2
    assert [line.split(":")[0] for line in sorted(answer["bad"])] == ["line 2", "line 5", "line 6"]
    kept = await conn.fetch("select data ->> 'to' as whom from actiond.action order by id")
    assert [row["whom"] for row in kept] == ["a", "b"]


async def test_a_dry_run_checks_and_inserts_nothing(db, conn, tmp_path) -> None:
    file = tmp_path / "lines"
    file.write_text('{"to": "a"}\nno json\n{"other": 1}\n')
    said = await actiond(
        "enqueue", "work", "--data", f"@{file}", "--related-field", "to", "--dry-run", "--json", dsn=db.dsn
    )
    assert said.code == 1
    answer = json.loads(said.out)
    assert (answer["inserted"], len(answer["bad"])) == (0, 2)
    assert answer["bad"][1] == "line 3: no field 'to'"
    file.write_text('{"to": "a"}\n{"to": "b"}\n')
    said = await actiond("enqueue", "work", "--data", f"@{file}", "--dry-run", dsn=db.dsn)
    assert (said.code, said.out) == (0, "2 good, 0 bad; nothing was inserted (--dry-run)\n")
    assert await conn.fetchval("select count(*) from actiond.action") == 0


async def test_files_that_cannot_be_read_are_told(db, tmp_path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b'{"a": 1}\n\xff\xfe\x00\n')
    for path in (tmp_path / "none", tmp_path, binary):
        said = await actiond("enqueue", "work", "--data", f"@{path}", dsn=db.dsn)
        assert said.code == 1
        assert "Traceback" not in said.err
    said = await actiond("enqueue", "work", "--data", "-", dsn=db.dsn, stdin=b"\xff\n")
    assert said.code == 1
    assert "Traceback" not in said.err


async def test_documents_for_programs_are_valid_json(db, conn, start, processor_file) -> None:
    daemon: Daemon = await start(db.dsn, processor_file(WORK)).ready()
    said = await actiond("enqueue", "work", "--data", '{"n": 1}', "--related", "no. 7", "--json", dsn=db.dsn)
    [id_] = json.loads(said.out)["ids"]
    await until(conn, [id_], "completed")
    await ask(conn, "unknown \x1b[31m", {"deep": "[" * 10})
    status, ls, show, policies, plan = await asyncio.gather(
        *(
            actiond(*arguments, "--json", dsn=db.dsn)
            for arguments in (
                ["status"],
                ["ls"],
                ["show", f"A-{id_:08}"],
                ["processors", "work"],
                ["migrate", "--status"],
            )
        )
    )
    assert {each["processor"] for each in json.loads(status.out)["processors"]} >= {"work", "blocks"}
    assert json.loads(status.out)["daemons"][0]["pid"] == daemon.process.pid
    assert [row["id"] for row in json.loads(ls.out)] == [id_ + 1, id_]
    shown = json.loads(show.out)
    assert (shown["status"], shown["data"], shown["related"]) == ("completed", {"n": 1}, "no. 7")
    assert len(shown["runs"]) == len(await events(conn, id_)) == len(shown["history"]) == 1
    assert {row["origin"] for row in json.loads(policies.out)["policy"]} == {"declared", "built-in"}
    assert {row["state"] for row in json.loads(plan.out)} == {"applied"}
    for_people = (["status"], ["ls"], ["show", str(id_)], ["processors"])
    for said in await asyncio.gather(*(actiond(*arguments, dsn=db.dsn) for arguments in for_people)):
        assert said.code == 0
        assert "\x1b[31m" not in said.out
