"""`actiond demo`, as a new user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from actiond.demo.files import ATTEMPTS_BEFORE_IT_COMES, MISSING, how_many
from actiond.postgres.statements import Statements
from support.daemon import COMMAND
from support.database import eventually

FAILED = MISSING + 1  # and the directory


@contextmanager
def demo(*options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    chosen = {"ACTIOND_PG_BIN": os.environ["ACTIOND_TEST_PG"]} if "ACTIOND_TEST_PG" in os.environ else {}
    process = subprocess.Popen(
        [*COMMAND, "demo", *options],
        env={**os.environ, **chosen, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # its server, daemon and producer end with it


def home(dsn: str) -> Path:
    """The folder of the server that has this DSN."""
    found = re.search(r"host=(.*)/run", dsn)
    assert found is not None
    return Path(found[1])


@pytest.mark.slow
def test_the_demo_ends_every_row_as_expected() -> None:
    with demo("--json") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    said = json.loads(out)
    assert list(said) == ["inserted", "completed", "failed", "retried", "seconds", "per_second"]
    assert said["inserted"] == said["completed"] + said["failed"] == how_many()
    assert said["failed"] == FAILED
    assert said["retried"] >= 2 * MISSING + ATTEMPTS_BEFORE_IT_COMES
    assert said["per_second"] == pytest.approx(said["inserted"] / said["seconds"], rel=0.01)


@pytest.mark.slow
async def test_a_demo_that_is_kept_answers_queries_and_leaves_nothing_after_ctrl_c() -> None:
    with demo("--keep") as process:
        assert process.stdout is not None
        dsn = next(line.split()[1] for line in process.stdout if line.startswith("DSN "))
        connection = await asyncpg.connect(dsn)
        longest = await connection.fetch(Statements()["demo_try_longest"])
        assert [row["related"].endswith(".py") for row in longest] == [True] * 5
        events = {row["event"] for row in await connection.fetch(Statements()["demo_try_history"])}
        assert events <= {"retried", "failed", "completed"}
        asked = await connection.fetchval(Statements()["demo_try_insert"])
        await eventually(lambda: _completed(connection, asked))
        await connection.close()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert not home(dsn).exists()


async def _completed(connection: asyncpg.Connection, action: int) -> bool:
    row = await connection.fetchrow(Statements()["demo_action"], action)
    return row is not None and row["status"] == "completed"


def test_without_postgres_programs_the_demo_says_so_in_one_line(tmp_path: Path) -> None:
    with demo(ACTIOND_PG_BIN=str(tmp_path)) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(r"actiond: no working initdb and postgres in .*\n", err)


@pytest.mark.slow
def test_a_daemon_that_dies_ends_the_demo_with_one_line_and_the_logs() -> None:
    with demo("--keep") as process:
        assert process.stdout is not None
        daemon = next(found[1] for line in process.stdout if (found := re.match(r"The daemon \((\d+)\)", line)))
        os.kill(int(daemon), signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    told = re.fullmatch(r"actiond: the daemon ended with code -9; the logs are in (\S+)\n", err)
    assert told is not None
    logs = Path(told[1])
    assert "daemon_ready" in logs.read_text()
    logs.unlink()
