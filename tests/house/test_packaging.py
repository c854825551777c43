"""What is installed holds everything the daemon reads: statements, migrations, the unit file, the types."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from house.source import ROOT, SQL, short

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True, check=False, timeout=300
    )
    if built.returncode != 0 and re.search(
        r"No module named pip|No matching distribution found for hatchling|Connection|Network|getaddrinfo", built.stderr
    ):
        pytest.skip("the build backend cannot be had here: no network, or no pip")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_what_the_daemon_reads(wheel: zipfile.ZipFile) -> None:
    assert {
        "actiond/__init__.py",
        "actiond/py.typed",
        "actiond/sql/step.sql",
        "actiond/sql/migrations/0001_core.sql",
        "actiond/sql/functions/010_now.sql",
        "actiond/deploy/actiond@.service",
        "actiond/deploy/roles.sql",
        "actiond/cli/templates/each.txt",
        "actiond_processors/sql_function.py",
    } <= set(wheel.namelist())


def test_the_wheel_holds_every_statement_as_it_is_here(wheel: zipfile.ZipFile) -> None:
    for path in sorted(SQL.rglob("*.sql")):
        assert wheel.read(f"actiond/{short(path)}") == path.read_bytes()


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {re.sub(r"-[\d.\w]+\.dist-info", "", top) for top in tops} == {
        "actiond",
        "actiond_processors",
        "actiond_pytest",
    }
    assert [name for name in wheel.namelist() if "__pycache__" in name or name.endswith(".pyc")] == []


def test_the_command_and_the_built_ins_are_announced(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    announced = wheel.read(name).decode()
    assert "actiond = actiond.cli.main:main" in announced
    assert "actiond = actiond_pytest\n" in announced
    for name in ("command", "email", "http", "publish", "sql_function"):
        assert f"{name} = actiond_processors.{name}:make" in announced


def test_an_installed_daemon_finds_its_statements(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    script = (
        "import actiond, actiond.postgres.statements as s, actiond.postgres.migrate as m;"
        "assert s.sql_folder().parent == s.Path(actiond.__file__).parent, s.sql_folder();"
        "s.Statements()['step']; assert len(m.files_of()) >= 2; m.script()"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
