"""What of an error is kept: always storable, never a secret, never unbounded.

The row keeps 1,000 characters of the last error; history keeps up to 8 KiB, head and tail, with the frames of
the traceback but without their local variables.

An error may be as large as what it quotes, and a handler that quotes its input must not be able to stop the
daemon. So a text is first cut to its ends, and only those are looked at. A cut must not open a secret so that
the rest of it is no longer known for one: some more is looked at than is kept.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actiond.rules.redaction import redact

SHORT = 1000  # characters: the column action.error
FULL = 8192  # characters: history.detail
BEYOND = 4096  # characters looked at beyond a cut: more than a private key has
FRAMES = 30  # the innermost
MEMBERS = 30  # of groups, and of the groups in them

_CALLERS = str(Path(__file__).parents[1] / "batch") + os.sep
_END = (FULL - 60) // 2  # of a longer text: its head, its tail, and a line between them


@dataclass(frozen=True, slots=True)
class ErrorText:
    """Both lengths of one error."""

    short: str
    full: str

    @classmethod
    def of(cls, error: object) -> ErrorText:
        """From an exception (type, message, frames) or from anything else (its text)."""
        if not isinstance(error, BaseException):
            said = [text_of(error)]
            full = _full(said)
            return cls(full if len(full) <= SHORT else _short(said), full)
        message = _message(error)
        frames = _frames(error)
        return cls(_short(message), _full([*message, "\n", frames] if frames else message))


def text_of(value: object) -> str:
    """str(value), whatever its own code does."""
    try:
        return str(value)
    except BaseException as broken:  # an author's __str__ may do anything; nothing else happens here
        return f"<{type(value).__name__} whose text cannot be had: {type(broken).__name__}>"


def _message(error: BaseException) -> list[str]:
    """Type and text; of a group also those of its members, depth first, in parts that may be long."""
    parts: list[str] = []
    waiting, left = [error], MEMBERS
    while waiting and left:
        each, left = waiting.pop(), left - 1
        said = text_of(each)
        parts += [type(each).__name__, ": " if said else "", said]
        if isinstance(each, BaseExceptionGroup):
            parts.append(": ")
            waiting += reversed(each.exceptions[:left])
        else:
            parts.append("; ")
    return parts[:-1]


def _frames(error: BaseException) -> str:
    try:
        frames = traceback.extract_tb(error.__traceback__, limit=-FRAMES)
    except Exception as broken:  # a module's own loader is asked for its source
        return f"<frames that cannot be had: {type(broken).__name__}>"
    # How a handler is called says nothing of why it failed; what has no frame of anybody else keeps those.
    theirs = next((place for place, frame in enumerate(frames) if not frame.filename.startswith(_CALLERS)), 0)
    return "\n".join(_frame(frame) for frame in frames[theirs:])


def _frame(frame: traceback.FrameSummary) -> str:
    line = (frame.line or "")[:200]
    return f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' + (f"\n    {line}" if line else "")


def _short(parts: Sequence[str]) -> str:
    head, _, left_out = _ends(parts, SHORT, 0)
    return head if not left_out and len(head) <= SHORT else head[: SHORT - 3] + "..."


def _full(parts: Sequence[str]) -> str:
    head, tail, left_out = _ends(parts, _END, _END)
    if not left_out:
        if len(head) <= FULL:
            return head
        head, tail, left_out = head[:_END], head[-_END:], len(head) - 2 * _END
    return f"{head[:_END]}\n... {left_out} characters left out ...\n{tail[-_END:]}"


def _ends(parts: Sequence[str], first: int, last: int) -> tuple[str, str, int]:
    """(head, tail, how much is left out between them), fit to be kept; a text that is not long is all head."""
    before, behind = first + BEYOND, last + BEYOND if last else 0
    length = sum(map(len, parts))
    if length <= before + behind:
        text = _storable("".join(parts))
        length = len(text)
        if length <= before + behind:
            return redact(text), "", 0
        head = tail = text
    else:
        head = _storable("".join(part[:before] for part in parts)[:before])
        tail = _storable("".join(part[-behind:] for part in parts)[-behind:]) if last else ""
    kept_head = redact(head[:before], 0, first)
    kept_tail = redact(tail[-behind:], BEYOND) if last else ""
    return kept_head, kept_tail, length - first - last


def _storable(text: str) -> str:
    """Escape what Postgres cannot store (NUL, surrogates) or a terminal should not see (control characters)."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)
