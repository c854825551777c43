"""JSON in and out, with the limits that Postgres' jsonb has: no NaN, no NUL, no lone surrogate."""

from __future__ import annotations

import json
import re
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
#: \\u0000 that is an escape, and not an escaped backslash before the letters u0000
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def dumps(value: Any) -> str:
    """Text that jsonb accepts. ValueError or TypeError says why a value cannot be stored."""
    if value is None:
        return "null"
    try:
        text = _encode(value)
    except (ValueError, TypeError):
        raise
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except BaseException as broken:  # an author's own kind of dict may do anything, and waits for nothing of ours
        raise ValueError(f"{type(broken).__name__}: {broken}") from None
    if _NUL.search(text):
        raise ValueError("it holds a NUL character, which Postgres cannot store")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a surrogate pair, which Postgres cannot store") from None
    return text


def loads_or_none(text: str | None) -> Any:
    """As `loads`; of a column that is NULL, None."""
    return None if text is None else loads(text)


def loads(text: str) -> Any:
    """The value. ValueError says what is wrong: nested too deeply, a number of too many digits."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
