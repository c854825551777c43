"""What of an error is kept: always storable, never a secret, never unbounded.

The row keeps 1,000 characters of the last error; history keeps up to 8 KiB, head and tail, with the frames of
the traceback but without their local variables.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from actiond.rules.redaction import redact

SHORT = 1000  # characters: the column action.error
FULL = 8192  # characters: history.detail


@dataclass(frozen=True, slots=True)
class ErrorText:
    """Both lengths of one error."""

    short: str
    full: str

    @classmethod
    def of(cls, error: object) -> ErrorText:
        """From an exception (type, message, frames) or from anything else (its text)."""
        if isinstance(error, BaseException):
            message = _message(error)
            return cls(_cut(_clean(message)), _head_and_tail(_clean(f"{message}\n{_frames(error)}".rstrip())))
        text = _clean(_safe_text(error))
        return cls(_cut(text), _head_and_tail(text))


def _message(error: BaseException) -> str:
    name, said = type(error).__name__, _safe_text(error)
    if isinstance(error, BaseExceptionGroup):
        said = f"{said}: " + "; ".join(_message(each) for each in error.exceptions[:10])
    return f"{name}: {said}" if said else name


def _safe_text(value: object) -> str:
    try:
        return str(value)
    except Exception as broken:  # an author's __str__ may do anything
        return f"<{type(value).__name__} whose text cannot be had: {type(broken).__name__}>"


def _frames(error: BaseException) -> str:
    return "".join(traceback.format_list(traceback.extract_tb(error.__traceback__, limit=30)))


def _clean(text: str) -> str:
    """Escape what Postgres cannot store (NUL, surrogates) or a terminal should not see (control characters)."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return redact(text)


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 3] + "..."


def _head_and_tail(text: str) -> str:
    if len(text) <= FULL:
        return text
    kept = (FULL - 60) // 2
    return f"{text[:kept]}\n... {len(text) - 2 * kept} characters left out ...\n{text[-kept:]}"
