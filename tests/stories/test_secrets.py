"""A secret in an exception, a field of the log, a setting: it reaches neither log nor row, history nor terminal."""

from __future__ import annotations

import json
import re

import pytest

from actiond.host.log_printable import TEXT_MAX
from house.source import DAEMON
from support.command import actiond
from support.corpus import SECRETS
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

CORPUS = [(text, secret) for texts in SECRETS.values() for text, secret in texts]
OWN = "correct+horse+battery"

LEAKY = """
import logging

import structlog

log = structlog.get_logger()


@processor("raises", retries=0)
async def raises(action):
    raise ValueError(action.data)


@processor("fails")
async def fails(action):
    action.fail(action.data, SUDDEN_DEATH)


@processor("logs")
async def logs(action):
    action.log.info(f"author: {action.data}", field=action.data, nested={"list": [action.data]})
    log.info("by name", password=action.data, nested={"api_key": action.data, "x_token": action.data.encode()})
    logging.getLogger("library").warning("said %s", action.data)
    action.log.error("cut", long="x" * (8192 - 40) + action.data)
    action.log.error("shrunk", long="password=" + "y" * 24576 + " " + "z" * 8100 + action.data)
    action.log.error("with frames", exc_info=ValueError(action.data))
"""


async def everywhere(conn, daemon) -> str:
    """All that was written anywhere."""
    rows = await conn.fetch(
        "select a.error, h.detail from actiond.action a left join actiond.history h on h.action_id = a.id"
    )
    return "\n".join([*map(str, daemon.lines), *(f"{row['error']}\n{row['detail']}" for row in rows)])


async def test_no_secret_of_a_handler_gets_out(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(LEAKY)).ready()
    texts = [text for text, _ in CORPUS]
    failing = [*await ask(conn, "raises", *texts), *await ask(conn, "fails", *texts)]
    await until(conn, failing, "failed")
    await until(conn, await ask(conn, "logs", *texts), "completed")
    await eventually(lambda: len(daemon.heard("with frames")) == len(texts))
    written = await everywhere(conn, daemon)
    assert [secret for _, secret in CORPUS if secret in written] == []
    assert len(daemon.heard("author: [hidden]")) < len(texts)  # the rest of a text is still there
    shown = [await actiond("show", str(id_), dsn=db.dsn) for id_ in failing[:3]]
    listed = await actiond("ls", "--status", "failed", "--limit", "500", dsn=db.dsn)
    terminal = "".join(said.out + said.err for said in (listed, *shown))
    assert "[hidden]" in terminal
    assert [secret for _, secret in CORPUS if secret in re.sub(r'"data".*|data .*', "", listed.out)] == []


async def test_a_line_is_redacted_before_it_is_cut(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(LEAKY)).ready()
    cut = "postgresql://app:" + "pass" + "word" * 20 + "@db/orders"
    await until(conn, await ask(conn, "logs", cut), "completed")
    line = await daemon.says("cut")
    assert line["long"].endswith("postgresql://app:[hidden]")
    assert TEXT_MAX - 60 < len(line["long"]) <= TEXT_MAX
    assert "wordword" not in str(daemon.heard("shrunk"))


async def test_the_daemons_own_password_is_known_by_heart(db, conn, start, processor_file) -> None:
    marker = re.sub(r"^postgresql://([^@/]*@)?", f"postgresql://postgres:{OWN}@", db.dsn)
    daemon = await start(marker, processor_file(LEAKY)).ready()
    (row,) = await ask(conn, "raises", f"it is {OWN}, is it not")
    await until(conn, [row], "failed")
    await until(conn, await ask(conn, "logs", f"said {OWN} again"), "completed")
    written = await everywhere(conn, daemon)
    assert "it is [hidden], is it not" in written
    assert OWN not in written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACTIOND_DSN", f"mysql://app:{OWN}@db/orders"),
        ("ACTIOND_DSN", f"postgresql://app:{OWN}@db:port/orders"),
        ("ACTIOND_LISTEN_DSN", f"{OWN}"),
        ("ACTIOND_HTTP_TOKEN", OWN),
        ("ACTIOND_HTTP", f"http://user:{OWN}@127.0.0.1:80"),
        ("ACTIOND_DRAIN_S", OWN),
        ("ACTIOND_LOG_LEVEL", OWN),
    ],
)
async def test_a_wrong_setting_is_told_without_its_value(name: str, value: str) -> None:
    for command in ("run", "status"):
        said = await actiond(command, env={"ACTIOND_DSN": "postgresql://127.0.0.1:1/x", name: value})
        assert said.code in (2, 3)
        assert OWN not in said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", f"postgresql://app:{OWN}@db/x"), 2),
        (("status", f"--dns=postgresql://app:{OWN}@db/x"), 2),
        (("enqueue", "p", "--data", f"@postgresql://app:{OWN}@db/x"), 1),
        (("run", "--processors", f"postgresql://app:{OWN}@db/x"), 1),
    ],
    ids=["an argument too many", "an option that does not exist", "a file that does not exist", "no processors"],
)
async def test_a_wrong_command_is_told_without_a_password(arguments: tuple[str, ...], code: int) -> None:
    said = await actiond(*arguments, dsn="postgresql://127.0.0.1:1/x", env={"ACTIOND_LOG_LEVEL": "error"})
    assert said.code == code
    assert OWN not in said.out + said.err
    assert "[hidden]" in said.err or "--dns" in said.err


async def test_a_bug_is_told_with_its_frames_and_without_a_password(tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import actiond.host.settings\n"
        "def read(**given):\n"
        f"    raise AssertionError('postgresql://app:{OWN}@db/x')\n"
        "actiond.host.settings.read = read\n"
    )
    said = await actiond("status", env={"PYTHONPATH": f"{tmp_path}:{DAEMON}"})
    assert "Traceback" in said.err
    assert "AssertionError: postgresql://app:[hidden]@db/x" in said.err
    assert OWN not in said.err.replace(f"raise AssertionError('postgresql://app:{OWN}", "")


async def test_json_of_a_line_stays_json_when_all_of_it_is_hidden(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(LEAKY)).ready()
    await until(conn, await ask(conn, "logs", "plain"), "completed")
    line = await daemon.says("by name")
    assert (line["password"], line["nested"]) == ("[hidden]", {"api_key": "[hidden]", "x_token": "[hidden]"})
    assert json.dumps(line)
