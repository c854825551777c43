"""Commands of actiond as real processes that end by themselves."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass

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
    """Run one command to its end."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env={**inherited, "ACTIOND_DSN": dsn, **(env or {})},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    given = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        async with asyncio.timeout(within_s):
            out, err = await process.communicate(given)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"actiond {' '.join(arguments)} did not end within {within_s:g} s") from None
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())
