"""Is what a command said what a page shows? `…` stands for whatever differs: ids, times, folders.

On a line of its own it stands for any number of lines. Spaces between the columns of a table do not count, as a time
of four characters moves what is right of it.
"""

from __future__ import annotations

import re

BLANK = "…"
_SPACES = re.compile(r" {2,}")


def pattern(shown: str) -> re.Pattern[str]:
    """What fits a block of the page."""
    lines = [_tidy(line) for line in shown.strip().splitlines()]
    return re.compile("^" + "".join(_line(line) for line in lines), re.MULTILINE)


def same(shown: str, said: str) -> bool:
    """The whole of it, from the first line to the last."""
    return pattern(shown).fullmatch(_tidied(said)) is not None


def begun(shown: str, said: str) -> bool:
    """The lines that are shown, one after the other, wherever they begin: of a program that goes on."""
    return pattern(shown).search(_tidied(said)) is not None


def _tidied(said: str) -> str:
    return "".join(f"{_tidy(line)}\n" for line in said.strip().splitlines())


def _tidy(line: str) -> str:
    return _SPACES.sub("  ", line.strip())


def _line(line: str) -> str:
    if line == BLANK:
        return r"(?:[^\n]*\n)*?"
    return "[^\\n]*?".join(map(re.escape, line.split(BLANK))) + r"\n"
