"""Every guard has a test that turns red without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.mutants import MUTANTS
from support.database import Server

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED = 0, 1  # exit codes of pytest
PATIENCE_S = "10"  # they wait for what never comes
TRIES = 3  # some of what mutants lose are races, and not every race is lost


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name: str, server: Server) -> None:
    mutant = MUTANTS[name]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.noticed_by]
    environment = {**os.environ, "ACTIOND_DSN": server.admin_dsn, "ACTIOND_TEST_PATIENCE_S": PATIENCE_S}
    for _ in range(TRIES):
        done = subprocess.run(
            [*command, "--mutant", name], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != PASSED:
            break
    assert done.returncode == FAILED, f"{mutant.what}: nobody noticed\n{done.stdout[-2000:]}"
    assert "passed" not in done.stdout.splitlines()[-1] or "failed" in done.stdout.splitlines()[-1]


def test_the_page_lists_every_mutant() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    missing = [name for name, mutant in MUTANTS.items() if f"`{name}`" not in page or mutant.what not in page]
    assert missing == []
