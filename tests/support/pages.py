"""The pages of the manual, taken apart: their fenced blocks, and what a comment before one says of it."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_BLOCK = re.compile(
    r"(?:^(?P<before>[^\n]*)\n)?(?:[ \t]*\n)*^ *(?P<fence>```+|~~~+)"
    r"(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- (.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    note: str = ""  # `<!-- note -->` in the line before it

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(text: str, page: str = "") -> list[Block]:
    """Every fenced block, in order; a block inside a list is moved to the left."""
    return [
        Block(
            page,
            text[: match.start("fence")].count("\n") + 1,
            match["language"],
            textwrap.dedent(match["text"]),
            noted[1] if (noted := _NOTE.fullmatch((match["before"] or "").strip())) else "",
        )
        for match in _BLOCK.finditer(text)
    ]
