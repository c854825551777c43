"""Configuration goes from one database to another as a file, with the real commands; and there it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command import Said, actiond
from support.database import Database, eventually

pytestmark = pytest.mark.slow

WORK = """
@batch_processor("letters")
async def letters(batch):
    for action in batch:
        action.complete(action.data["to"])
"""

DIFFERENCE = """\
~ processor letters: batch_size (as declared) -> 7
+ schedule spring for actiond.plan: every '1 s', data {"plan": "spring letter"}, environments ["production"]
+ plan spring letter: source 'select id, email from public.customer where keen', key id, processor letters, \
mapping {"to": "email", "related": "id"}
"""


def written(file: str) -> str:
    return Path(file).read_text()


async def config(db: Database, *words: str, code: int = 0, **more: Any) -> Said:
    said = await actiond("config", *words, dsn=db.dsn, **more)
    assert said.code == code, (words, said.out, said.err)
    assert "Traceback" not in said.err
    return said


async def done(db: Database, *words: str) -> None:
    said = await actiond(*words, dsn=db.dsn)
    assert said.code == 0, said.err


async def set_up(db: Database) -> None:
    """As an operator does it, in the database where it is tried."""
    await done(db, "set", "letters", "batch_size", "7")
    await done(
        db, "plan", "add", "spring letter", "letters", "--key", "id", "--map", "to=email", "--map", "related=id",
        "--source", "select id, email\n  from public.customer\n where keen",
    )  # fmt: skip
    await done(
        db, "schedule", "add", "spring", "actiond.plan", "--every", "1 s", "--environments", "production",
        "--data", '{"plan": "spring letter"}',
    )  # fmt: skip


async def test_from_test_to_production(server, template, db, conn, start, processor_file, tmp_path: Path) -> None:
    await conn.execute("insert into actiond.processor (name) values ('letters')")
    await conn.execute("""insert into actiond.setting (name, value) values ('environment', '"test"')""")
    await set_up(db)
    file = str(tmp_path / "actiond.yaml")
    assert (await config(db, "export", "-o", file)).err == f"{file}: 1 processor, 1 schedule, 1 plan\n"
    exported = (await config(db, "export")).out
    assert exported == written(file)
    assert (await config(db, "diff", file)).out == "no difference: an import changes nothing\n"
    async with server.fresh(template) as production:
        there = await production.connect()
        await there.execute("create table public.customer (id bigint primary key, email text, keen boolean)")
        await there.execute("insert into public.customer select n, 'c' || n, n % 2 = 0 from generate_series(1, 20) n")
        await there.execute("""insert into actiond.setting (name, value) values ('environment', '"production"')""")
        await start(production.dsn, processor_file(WORK)).ready()
        assert (await config(production, "diff", file, code=1)).out == DIFFERENCE
        assert (await config(production, "import", file, stdin="n\n", code=130)).out.count("\n") == 3
        assert (await config(production, "import", file, "--dry-run")).out.endswith("nothing was changed (--dry-run)\n")
        assert await there.fetchval("select count(*) from actiond.schedule") == 0
        assert (await config(production, "import", file, stdin="y\n")).out.endswith("imported: 3 changes\n")

        async def sent() -> Any:
            return await there.fetchval(
                "select array_agg(result #>> '{}' order by id) from actiond.action"
                " where processor = 'letters' and status = 'completed' having count(*) >= 10"
            )

        assert (await eventually(sent))[:10] == [f"c{n}" for n in range(2, 21, 2)]
        assert await there.fetchval("select fired from actiond.schedule") >= 1
        assert (await config(production, "diff", file)).out == "no difference: an import changes nothing\n"
        assert json.loads((await config(production, "import", file, "--yes", "--json")).out) == {
            "imported": False, "changes": [], "stays": [], "refused": [], "warnings": [],
        }  # fmt: skip
        assert (await config(production, "export")).out == exported
        history = await actiond("processors", "letters", "--history", dsn=production.dsn)
        assert "config import actiond.yaml" in history.out
        await there.close()


async def test_a_changed_file_is_shown_field_by_field(db, conn, tmp_path: Path) -> None:
    await conn.execute("insert into actiond.processor (name) values ('letters')")
    await set_up(db)
    await done(db, "plan", "add", "old", "nobody", "--source", "public.customer")
    text = (await config(db, "export")).out
    for old, new in (
        ("batch_size: 7", "batch_size: 8"),
        ("every: 1 s", "cron: 0 4 * * *\n      overlap: allow"),
        ("\n       where keen", "\n       where not keen"),
        ("  old:\n    source: public.customer\n    processor: nobody\n", ""),
    ):
        text = text.replace(old, new)
    changed = tmp_path / "changed.yaml"
    changed.write_text(text)
    lines = [
        "~ processor letters: batch_size 7 -> 8",
        "~ schedule spring for actiond.plan: cron (none) -> '0 4 * * *'",
        "~ schedule spring for actiond.plan: every '1 s' -> (none)",
        "~ schedule spring for actiond.plan: overlap skip (default) -> allow",
        "~ plan spring letter: source, from line to line:",
        "    @@ -2,2 +2,2 @@",
        "       from public.customer",
        "    - where keen",
        "    + where not keen",
    ]
    shown = await config(db, "diff", str(changed), code=1)
    assert shown.out.splitlines() == lines
    assert shown.err.splitlines() == [
        "not in the file, and stays: plan old",
        "no processor 'actiond.plan' is known yet: is the name right?",
    ]
    shown = await config(db, "diff", str(changed), "--remove", code=1)
    assert shown.out.splitlines() == [*lines[:4], "- plan old: source public.customer, processor nobody", *lines[4:]]
    told = json.loads((await config(db, "diff", str(changed), "--remove", "--json", code=1)).out)["changes"]
    assert told[0] == {
        "change": "change", "kind": "processor", "name": "letters",
        "before": {"batch_size": 7}, "after": {"batch_size": 8},
    }  # fmt: skip
    assert [(each["change"], each["kind"], each["name"], each.get("processor")) for each in told[1:]] == [
        ("change", "schedule", "spring", "actiond.plan"),
        ("remove", "plan", "old", None),
        ("change", "plan", "spring letter", None),
    ]
    assert (await config(db, "import", str(changed), "--remove", "--yes")).out.endswith("imported: 4 changes\n")
    assert await conn.fetchval("select array_agg(name) from actiond.plan") == ["spring letter"]
    assert (await config(db, "diff", str(changed), "--remove")).out == "no difference: an import changes nothing\n"


async def test_a_file_may_come_by_a_pipe_and_be_json(db, conn) -> None:
    await conn.execute("insert into actiond.processor (name) values ('letters')")
    await set_up(db)
    whole = (await config(db, "export", "--json")).out
    await conn.execute("delete from actiond.plan")
    assert (await config(db, "import", "-", stdin=whole, code=2)).err.count("say --yes, or --dry-run") == 1
    assert (await config(db, "import", "-", "--yes", stdin=whole)).out.endswith("imported: 1 change\n")
    assert (await config(db, "export", "--json")).out == whole
    only = json.loads((await config(db, "export", "--json", "--only", "plans")).out)
    assert only == {"version": 1, "plans": json.loads(whole)["plans"]}
    assert (await config(db, "import", "-", "--yes", "--remove", stdin=json.dumps(only))).out.startswith(
        "no difference"
    )


async def test_what_is_wrong_is_said_in_one_line_and_is_no_difference(db, conn, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("version: 1\nschedules:\n  s:\n    p:\n      every: 5 min\n      missed: none\n")
    for command in ("diff", "import"):
        said = (await config(db, command, str(file), code=2)).line
        assert said == f'actiond: {file}:6: schedule s for p: missed: one of once, skip, all, not "none"'
    said = (await config(db, "diff", str(tmp_path / "none.yaml"), code=2)).line
    assert said == f"actiond: {tmp_path}/none.yaml cannot be read: No such file or directory"
    file.write_bytes(b"version: 1\n# \xff\n")
    assert (await config(db, "diff", str(file), code=2)).line == f"actiond: {file}: no UTF-8, at byte 13"
    assert (await actiond("config", "diff", str(file), dsn="postgresql://127.0.0.1:1/x")).code == 2
    file.write_text("version: 1\n")
    assert (await actiond("config", "diff", str(file), dsn="postgresql://127.0.0.1:1/x")).code == 3
    assert (await config(db, "export", "-o", "/nowhere/f.yaml", code=1)).line.endswith(
        "/nowhere/f.yaml cannot be written: No such file or directory"
    )
    await conn.execute("drop table actiond.plan cascade")
    assert "the database refused" in (await config(db, "diff", str(file), code=2)).line


async def test_a_name_nobody_knows_is_a_warning_of_a_schedule_and_an_error_of_an_override(db, conn, tmp_path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("version: 1\nschedules:\n  s:\n    strange:\n      cron: '@daily'\n")
    done = await config(db, "import", str(file), "--yes")
    assert done.err == "no processor 'strange' is known yet: is the name right?\n"
    assert done.out == "+ schedule s for strange: cron @daily\nimported: 1 change\n"
    file.write_text(
        "version: 1\nprocessors:\n  strange:\n    retries: 1\nschedules:\n  s:\n    q:\n      cron: '@daily'\n"
    )
    shown = await config(db, "diff", str(file), code=1)
    refusal = (
        f"{file}:3: processor strange: no such processor is known here: a daemon that has it declares it at its start"
    )
    assert refusal in shown.err.splitlines()
    refused = await config(db, "import", str(file), "--yes", code=1)
    assert refused.err.splitlines() == [
        "not in the file, and stays: schedule s for strange",
        refusal,
        "no processor 'q' is known yet: is the name right?",
        "actiond: nothing was imported, as a part of it is refused",
    ]
    assert await conn.fetchval("select count(*) from actiond.schedule") == 1


async def test_a_retention_says_what_it_deletes_before_anybody_says_yes(db, conn, tmp_path: Path) -> None:
    await conn.execute("insert into actiond.processor (name) values ('letters')")
    await conn.execute("insert into actiond.action (processor) select 'letters' from generate_series(1, 3)")
    await conn.execute(
        "update actiond.action set claimed_by = 1, run_id = 1, attempts = 1, started_at = now();"
        " update actiond.action set claimed_by = 0, finished_at = now() - interval '40 days',"
        " status = case id when 1 then 'failed' else 'completed' end"
    )
    file = tmp_path / "f.yaml"
    file.write_text("version: 1\nprocessors:\n  letters:\n    retention_completed: 30 d\n    retention_failed: 1 y\n")
    assert "not a duration: '1 y'" in (await config(db, "diff", str(file), code=2)).line
    file.write_text("version: 1\nprocessors:\n  letters:\n    retention_completed: 30 d\n    retention_failed: 90 d\n")
    shown = await config(db, "import", str(file), stdin="n\n", code=130)
    assert shown.err.startswith("retention_completed: 2 actions of letters are older and will be deleted\n")
    assert await conn.fetchval("select retention_completed from actiond.processor") is None


async def test_what_a_processor_hides_is_in_no_output(db, conn, tmp_path: Path) -> None:
    await conn.execute("insert into actiond.processor (name, redact) values ('letters', '{token}')")
    await done(db, "schedule", "add", "s", "letters", "--cron", "@daily", "--data", '{"token": "t0p", "user": "ada"}')
    text = (await config(db, "export")).out
    file = tmp_path / "f.yaml"
    file.write_text(text.replace("'[hidden]'", "n3w").replace("ada", "bob"))
    outputs = [
        text,
        (await config(db, "export", "--json")).out,
        (await config(db, "diff", str(file), code=1)).out,
        (await config(db, "diff", str(file), "--json", code=1)).out,
        (await config(db, "import", str(file), "--yes")).out,
        (await config(db, "export")).out,
    ]
    assert all("[hidden]" in each and "t0p" not in each and "n3w" not in each for each in outputs)
    assert await conn.fetchval("select data ->> 'token' from actiond.schedule") == "n3w"


async def test_what_looks_like_a_secret_is_pointed_at(db, conn) -> None:
    await done(db, "plan", "add", "p", "letters", "--source", "select 1 as id, 'password=hunter2' as dsn")
    exported = await config(db, "export")
    assert "hunter2" in exported.out
    assert exported.err.count("looks as if a secret stood in it: look before you pass it on") == 1
