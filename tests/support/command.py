"""Commands of actiond as real processes that end by themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from support import forking
from support.daemon import COMMAND
from support.database import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Said:
    """How it ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Standard error, which must be one line and no traceback."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


async def actiond(
    *arguments: str,
    dsn: str = "",
    stdin: str | bytes = "",
    env: Mapping[str, str] | None = None,
    within_s: float = PATIENCE_S,
) -> Said:
    """Run one command to its end. By a fork, if its environment says nothing to Python itself."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    whole = {**inherited, "ACTIOND_DSN": dsn, **(env or {})}
    given = stdin.encode() if isinstance(stdin, str) else stdin
    new = any(name.startswith(("PYTHON", "LC_", "LANG")) for name in env or {})
    try:
        code, out, err = await asyncio.to_thread(_new if new else forking.run, arguments, whole, given, within_s)
    except TimeoutError:
        raise AssertionError(f"actiond {' '.join(arguments)} did not end within {within_s:g} s") from None
    return Said(code, out.decode(), err.decode())


def _new(arguments: Sequence[str], env: Mapping[str, str], stdin: bytes, within_s: float) -> tuple[int, bytes, bytes]:
    try:
        done = subprocess.run(
            [*COMMAND, *arguments], env=env, input=stdin, capture_output=True, check=False, timeout=within_s
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return done.returncode, done.stdout, done.stderr
