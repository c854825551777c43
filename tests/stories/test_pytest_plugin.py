"""The pytest plugin in a project of a user: pytest as a process of its own, on a server of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from house.test_docs import written_in
from support.database import Database

pytestmark = pytest.mark.slow

SETTINGS = "[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider\n"
AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


def run_pytest(folder: Path, source: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest on one file of a project that has nothing else."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_it.py").write_text(source)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIOND_DSN", "PYTEST"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=folder,
        env=ours | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def shown_in_the_manual() -> str:
    on_its_page = [each for each in written_in("python") if each.page == "docs/authors.md"]
    (block,) = [each for each in on_its_page if "actiond_database: Database" in each.text]
    return block.text


NOT_ASYNC = """
import asyncio
from pathlib import Path
from actiond import Action, processor

def note(database):
    with Path("names").open("a") as names:
        print(database.dsn.partition("?")[0].rpartition("/")[2], file=names)

@processor("double")
def double(action: Action[int]) -> int:
    return action.data * 2

def test_it_doubles(actiond_database):
    note(actiond_database)
    asyncio.run(actiond_database.enqueue(double, 21))
    (doubled,) = asyncio.run(actiond_database.run_once(double))
    assert doubled.result == 42

def test_every_test_has_a_database_of_its_own(actiond_database):
    note(actiond_database)
    assert asyncio.run(actiond_database.run_once(double)) == []
"""

UNUSED = """
import sys

def test_nothing_was_imported():
    assert [name for name in sys.modules if name.partition(".")[0] in ("actiond", "asyncpg", "pydantic")] == []
    assert "actiond_pytest" in sys.modules
"""


def test_what_the_manual_shows_works_on_a_private_server(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, shown_in_the_manual(), *AUTO)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0


def test_what_the_manual_shows_notices_a_retry_interval_that_is_another(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, shown_in_the_manual().replace('retry_interval="5 min"', 'retry_interval="6 min"'), *AUTO)
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr


async def test_on_a_server_that_is_there_nothing_stays(tmp_path: Path, bare_db: Database) -> None:
    ran = run_pytest(tmp_path, NOT_ASYNC, "-p", "no:asyncio", ACTIOND_DSN=bare_db.dsn)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
    first, second = (tmp_path / "names").read_text().split()
    assert first != second
    ours = first.rpartition("_")[0]
    assert ours.startswith("actiond_test_")
    connection = await bare_db.connect()
    try:
        assert await connection.fetchval("select count(*) from pg_database where starts_with(datname, $1)", ours) == 0
    finally:
        await connection.close()


def test_a_run_that_asks_for_no_database_does_not_even_import_actiond(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, UNUSED, "-p", "no:asyncio")
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ACTIOND_PG_BIN": "/nowhere"}, "no working initdb and postgres in /nowhere"),
        ({"ACTIOND_DSN": "postgresql://127.0.0.1:1/x"}, "no answer from the database"),
    ],
    ids=["no_programs", "no_server"],
)
def test_without_a_server_it_says_in_one_line_what_helps(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    ran = run_pytest(tmp_path, NOT_ASYNC, "-p", "no:asyncio", **environment)
    assert "2 errors" in ran.stdout, ran.stdout + ran.stderr
    assert said in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "actiond_pytest/__init__.py" not in ran.stdout
