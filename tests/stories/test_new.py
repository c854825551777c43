"""`actiond new processor`: what it writes is tested by pytest and run by a daemon, as it is."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from support.command import Said, actiond
from support.daemon import COMMAND, Daemon
from support.database import Database
from support.rows import ask, until

pytestmark = pytest.mark.slow


def new(folder: Path, *arguments: str) -> Said:
    """Called in that folder."""
    ran = subprocess.run(
        [*COMMAND, "new", "processor", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return Said(ran.returncode, ran.stdout, ran.stderr)


def commands(said: Said) -> list[list[str]]:
    """Those that it names, in words."""
    lines = said.out.partition("# next:\n")[2].splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("#")]


def passes(folder: Path, test: str) -> None:
    """pytest, without anything of this repository's settings."""
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider -p no:asyncio\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", test],
        cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("name", "options", "file"),
    [
        ("send-mail", [], "send_mail.py"),
        ("email", ["--batch"], "email_processor.py"),
        ('-d"r\\$op', ["--batch", "--file", "work/größe.py"], "work/größe.py"),
        ("in_a_package", ["--file", "shop/mail.py"], "shop/mail.py"),
    ],
    ids=["each", "batch", "odd_name", "package"],
)
async def test_what_it_writes_passes_its_test_and_runs(
    name: str,
    options: list[str],
    file: str,
    tmp_path: Path,
    db: Database,
    conn: asyncpg.Connection,
    start: Callable[..., Daemon],
) -> None:
    for folder in ("work", "shop"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    said = new(tmp_path, *options, "--", name)
    assert said.code == 0, said.err
    test, run, export, enqueue = commands(said)
    assert (test[0], run[:2], run[-1]) == ("pytest", ["actiond", "dev"], file)
    assert export == ["export", "ACTIOND_DSN=$(actiond dev --show-dsn)"]
    await asyncio.to_thread(passes, tmp_path, test[1])
    await start(db.dsn, tmp_path / file).ready()
    assert (await actiond(*enqueue[1:], dsn=db.dsn)).code == 0
    (empty,) = await ask(conn, name, {"text": ""})
    (done, failed) = await until(conn, [empty - 1, empty], "completed", "failed")
    assert (done["status"], done["result"]) == ("completed", '"5 characters"')
    assert (failed["status"], failed["error"]) == ("failed", "nothing to do")


def test_what_is_there_is_not_replaced_without_force(tmp_path: Path) -> None:
    test = tmp_path / "test_send.py"
    test.write_text("mine")
    said = new(tmp_path, "send")
    assert said.code == 1
    assert said.line == "actiond: test_send.py: there already. Choose another --file, or replace with --force."
    assert [path.name for path in tmp_path.iterdir()] == ["test_send.py"]
    assert test.read_text() == "mine"
    assert new(tmp_path, "send", "--no-test").code == 0
    assert test.read_text() == "mine"
    assert new(tmp_path, "send", "--batch", "--force").code == 0
    assert "import send" in test.read_text()
    assert "batch_processor" in (tmp_path / "send.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b"], "no comma and no white space"),
        (["a,b"], "no comma and no white space"),
        ([""], "1 to 255 characters"),
        (["x" * 256], "1 to 255 characters"),
        (["a", "--file", "my-mail.py"], "my-mail.py cannot be imported"),
        (["a", "--file", "mail.txt"], "mail.txt cannot be imported"),
        (["a", "--file", "class.py"], "class.py cannot be imported"),
        (["a", "--file", "json.py"], "would hide the installed module json"),
        (["a", "--file", "pytest.py"], "would hide the installed module pytest"),
    ],
    ids=["space", "comma", "empty", "long", "dash", "text", "keyword", "of_python", "installed"],
)
def test_what_would_not_run_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    refused = new(tmp_path, *arguments)
    assert refused.code == 2
    assert said in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = new(tmp_path, "a", "--file", "nowhere/a.py")
    assert said.code == 1
    assert said.line == "actiond: nowhere/a.py cannot be written: No such file or directory"
