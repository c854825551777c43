"""All tests on the oldest and then on the newest Postgres found on this machine: `make test-all`.

The second run is about what the version can change. Arguments go on to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from actiond.host.private_postgres import Binaries, find_binaries

SUPPORTED = range(15, 19)
#: What the version of Postgres can change: every statement, and what becomes of sessions that die.
ON_THE_NEWEST = (
    "tests/database",
    *(f"tests/faults/test_{each}.py" for each in ("disks", "notifications", "refusals", "standbys")),
    *(f"tests/stories/test_{each}.py" for each in ("connections", "death", "ledger", "partial_success", "two_daemons")),
)
REPOSITORY = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    found = {binaries.major: binaries for binaries in reversed(find_binaries()) if binaries.major in SUPPORTED}
    if not found:
        print("no PostgreSQL 15 to 18 found: make setup, or set ACTIOND_PG_BIN to the folder of its programs")
        return 1
    if len(found) == 1:
        print("only one version of PostgreSQL found, so this is one run and not two")
    chosen = [found[major] for major in sorted({min(found), max(found)})]
    codes = [_run(each, arguments + ([] if each is chosen[0] else list(ON_THE_NEWEST))) for each in chosen]
    for binaries, code in zip(chosen, codes, strict=True):
        print(f"PostgreSQL {binaries.major} ({binaries.origin}): {'passed' if code == 0 else f'FAILED ({code})'}")
    return 1 if any(codes) else 0


def _run(binaries: Binaries, arguments: list[str]) -> int:
    print(f"\nPostgreSQL {binaries.major} ({binaries.origin}, {binaries.folder})", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "ACTIOND_DSN"}
    # One for the server that tests share, one for those that tests start themselves.
    environment |= dict.fromkeys(("ACTIOND_TEST_PG", "ACTIOND_PG_BIN"), str(binaries.folder))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "4", "--dist", "worksteal", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
