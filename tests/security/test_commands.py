"""Hostile texts as arguments of every command: refused in one clear line, or taken as they are; never carried out, and
nothing that steers a terminal comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from actiond.cli.main import COMMANDS
from security.fields import HELPERS
from support import hostile
from support.command import Said, actiond
from support.hostile import Canary

pytestmark = pytest.mark.slow

#: Each {} is the text; {json} the text as JSON; {file} a configuration that has it in every place.
CALLS = [
    "{}", "enqueue {}", "enqueue p --related {} --data {json}", "enqueue p --data {}", "enqueue p --due-in {}",
    "ls --processor {}", "ls --related {}", "ls --error {}", "ls --fingerprint {}", "ls --since {}",
    "ls --related {} --json", "show {}", "explain {}", "history {}", "failures --processor {}", "failures --since {}",
    "errors --processor {}", "stuck --processor {}", "stats --processor {}", "stats --since {}", "feed --since {}",
    "feed --processor {}", "status {}", "top --once --sort {}", "doctor {}", "check {}", "status --dsn {}",
    "status --dsn postgresql://{}", "cancel 1 --reason {}", "release 1 --reason {} --json",
    "hold --processor {} --yes", "hold --related {} --dry-run", "retry --error {} --dry-run --json", "run-now {}",
    "cancel --changed-by {}", "pause {} --reason {}", "pause p --reason {} --json", "resume {}", "wake {}",
    "processors {}", "processors {} --history", "set {} batch_size 3", "set p {} 3", "set p config {}",
    "set p config {json}", "set p window {}", "set p flag {}", "set p rate {}", "set p backoff {}",
    "set p timeout {}", "set p batch_size {}", "set p retries 3 --reason {}", "flag on {}",
    "flag on a --reason {} --json", "flag off {}", "flag ls {}", "schedule add {} p --every 1h",
    "schedule add a {} --every 1h", "schedule add b p --cron {}", "schedule add c p --every 1h --timezone {}",
    "schedule add d p --every 1h --data {json} --related {}", "schedule add e p --every 1h --flag {}",
    "schedule show {}", "schedule preview {}", "schedule rm {} --yes", "schedule disable {}", "schedule ls {}",
    "plan add {} p --source public.one", "plan add a {} --source public.one",
    "plan add b p --source public.one --key {}", "plan add c p --source public.one --map {}=id",
    "plan add d p --source public.one --map x={}", "plan preview d",
    "plan add e p --source public.one --const x={json}", "plan preview e", "plan run {}", "plan preview {}",
    "plan set e --description {} --then {} --notify-processor {}", "plan runs {}", "plan ls {}", "plan rm {} --yes",
    "plan ls", "plan ls --json", "subscription add {} p", "subscription add e {}", "subscription ls {}",
    "subscription rm {} p", "config import {} --yes", "config diff {file}", "config import {file} --yes --reason {}",
    "config export", "config export --json", "new {}", "run --processors {}", "migrate {}", "deploy {}",
    "torture --seed {}", "dev {}", "demo {}",
]  # fmt: skip
SAID = {
    "code": "x'); select public.touched(); -- $$; select public.touched(); $$ \"; select public.touched(); --"
    " {0.__class__} {} %s %(name)s %I $1 {{7*7}} [red]x[/] ${7*7} ../../etc/passwd"
    " $(touch {file}); `touch {file}` | touch {file} && touch {file}",
    "terminal": "\x1b]0;owned\x07\x1b[2J\x9b2J\x1b]52;c;b3duZWQ=\x07 a\u202eb\u200bc\u2028d\re\bf\x85g\ufeff",
    "lines": "x\nA-00000099  forged  completed\nactiond: forged",
    "option": "--version",
    "bytes": "caf\udce9",
    "empty": "",
}
CONFIG = """version: 1
schedules:
  {json}:
    p: {{every: 1 h, timezone: {json}, data: {{{json}: {json}}}}}
plans:
  {json}: {{source: public.one, processor: p, description: {json}}}
"""


def call(template: str, text: str, folder: Path) -> list[str]:
    file = folder / "config.yaml"
    file.write_text(CONFIG.format(json=json.dumps(text)))
    places = {"{json}": json.dumps(text), "{file}": str(file), "{}": text}
    return [re.sub(r"\{(json|file)?\}", lambda place: places[place[0]], word) for word in template.split()]


def judge(said: Said) -> None:
    """In one line, or with how it is called; nothing that a terminal would obey."""
    assert said.code in (0, 1, 2, 3)
    assert "Traceback" not in said.err
    assert hostile.unprintable(said.out + said.err) == set()
    if said.code in (2, 3) and not said.err.startswith("Usage: "):
        assert said.err.startswith("actiond: ")
        assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", sorted(SAID))
async def test_a_text_is_an_argument_and_nothing_else(name, canary: Canary, conn, db, tmp_path) -> None:
    await conn.execute(HELPERS)
    text = SAID[name].replace("{file}", str(canary.file))
    for template in CALLS:
        said = await actiond(*call(template, text, tmp_path), dsn=db.dsn, env={"HOME": str(tmp_path)})
        try:
            judge(said)
            if template.endswith("--json") and said.code == 0:
                json.loads(said.out)
        except (AssertionError, ValueError):
            raise AssertionError(f"{template}: {said}") from None
        assert await canary.sings(), template


def test_every_command_is_called() -> None:
    assert {template.split()[0] for template in CALLS} >= set(COMMANDS) - {"history"}


# What commands show.

#: Lines first: of names only the beginning is kept.
EVERY = " ".join([SAID["lines"], *(text for name, text in SAID.items() if name not in ("bytes", "lines"))])
SHOWS = [
    "status", "status --all", "ls", "show {action}", "explain {action}", "history", "history {action}", "failures",
    "errors", "stuck", "stats", "feed --since=", "top --once --all", "processors", "processors p",
    "processors --history", "flag ls", "schedule ls", "plan ls", "plan runs", "subscription ls", "config export",
    "doctor", "ls --related {related}",
]  # fmt: skip
FILL = """
insert into actiond.action (processor, related, data, state)
values (left($1, 200), $1, to_jsonb($1::text), to_jsonb($1::text));
insert into actiond.action (processor, related, data) values ('p', $1, jsonb_build_object($1::text, $1::text));
update actiond.action set claimed_by = 7, run_id = 7, attempts = 1, started_at = now() where related = $1;
update actiond.action set claimed_by = 0, status = 'failed', finished_at = now(), error = $1
 where processor = 'p' and related = $1;
insert into actiond.history (action_id, event, detail, reason, by, verb, run_id, attempt)
select id, 'failed', $1, $1, $1, 'hold', 7, 1 from actiond.action where related = $1;
insert into actiond.run (id, processor, daemon, actions, started_at)
values (7, left($1, 200), 7, '{1}', now() - interval '1 day');
insert into actiond.daemon (host, version, processors, lease_until)
values ($1, $1, array[$1::text], now() + interval '1 h');
insert into actiond.schedule (name, processor, every, timezone, data, related)
values (left($1, 200), 'p', '1 h', 'UTC', to_jsonb($1::text), $1);
insert into actiond.schedule (name, processor, cron, error) values ('broken', 'p', left($1, 200), $1);
insert into actiond.plan (name, source, processor, description, key) values (left($1, 200), $1, 'p', $1, $1);
update actiond.processor set payload = jsonb_build_object($1::text, $1::text), redact = array[$1::text],
       config = jsonb_build_object($1::text, $1::text);
insert into actiond.setting (name, value) values ($1, to_jsonb($1::text))
"""


async def test_nothing_that_is_shown_steers_a_terminal_or_forges_a_line(canary: Canary, conn, db) -> None:
    await conn.execute(HELPERS)
    for statement in FILL.split(";\n"):
        await conn.execute(statement, EVERY)
    action = await conn.fetchval("select max(id) from actiond.action")
    for template in SHOWS:
        words = [word.replace("{action}", str(action)).replace("{related}", EVERY) for word in template.split()]
        said = await actiond(*words, dsn=db.dsn)
        assert said.code in ((0, 1, 2) if template == "doctor" else (0, 1)), (template, said)
        assert (hostile.unprintable(said.out + said.err), "Traceback" in said.err) == (set(), False), template
        assert not [line for line in said.out.splitlines() if line.startswith(("A-00000099", "actiond: forged"))], (
            template
        )
        if template not in ("config export",) and not template.startswith(("top", "history {")):
            as_json = await actiond(*words, "--json", dsn=db.dsn)
            assert (hostile.unprintable(as_json.out), "Traceback" in as_json.err) == (set(), False), template
            documents = as_json.out.splitlines() if template.startswith("feed") else [as_json.out]
            for document in documents:
                json.loads(document)


async def test_a_text_comes_back_as_it_was(conn, db) -> None:
    for name, text in hostile.texts(Path("/nowhere")).items():
        if not text or len(text) > 1000 or "\x00" in text:
            continue
        await conn.execute(
            "insert into actiond.action (processor, related, data) values ('p', $1, to_jsonb($1::text))", text
        )
        said = await actiond("ls", "--related", text, "--json", dsn=db.dsn)
        (row,) = json.loads(said.out)
        assert row["related"] == text, name
        shown = json.loads((await actiond("show", str(row["id"]), "--json", dsn=db.dsn)).out)
        assert (shown["related"], shown["data"]) == (text, text), name
        await conn.execute("delete from actiond.action")


async def test_a_configuration_comes_back_as_it_was(conn, db, tmp_path) -> None:
    await conn.execute(HELPERS)
    texts = [text for text in hostile.texts(Path("/nowhere")).values() if text.strip() and len(text) < 200]
    for text in texts:
        await conn.execute(
            "insert into actiond.plan (name, source, processor, description) values ($1, 'public.one', 'p', $1)", text
        )
        await conn.execute(
            "insert into actiond.schedule (name, processor, every, data)"
            " values ($1, 'p', '1 h', jsonb_build_object($1::text, $1::text))",
            text,
        )
    file = tmp_path / "config.yaml"
    said = await actiond("config", "export", dsn=db.dsn)
    assert hostile.unprintable(said.out) <= {"\t"}
    file.write_text(said.out)
    assert (await actiond("config", "diff", "--remove", str(file), dsn=db.dsn)).code == 0
    names = await conn.fetch("select name from actiond.plan order by 1")
    await conn.execute("delete from actiond.plan")
    await conn.execute("delete from actiond.schedule")
    await conn.execute("insert into actiond.schedule (name, processor, every) values ('night', 'p', '1 d')")
    said = await actiond("config", "import", str(file), "--yes", dsn=db.dsn)
    assert said.code == 0, said.err
    assert await conn.fetch("select name from actiond.plan order by 1") == names
