"""Every value becomes one that can be printed: plain, short, redacted.

A text is redacted before it is cut, and somewhat more of it is looked at than is shown: a secret that stands at
the cut is known for one. What looks like a secret by its name (`password=...` as a field, or as a member of a
dict) is not shown whatever it looks like; nor is a field that the processor at work says is not to be shown.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

from structlog.typing import EventDict

from actiond.rules.redaction import HIDDEN, names_a_field, names_a_secret
from actiond.words.log_lines import LogLine

#: Where a line is cut: characters of a text, members of a collection, nesting, frames, errors behind errors.
TEXT_MAX, MEMBERS_MAX, DEPTH_MAX, FRAMES_MAX, ERRORS_MAX = 8_192, 100, 12, 30, 5
#: Characters that are looked at, so that what redacting costs is bounded, too.
LOOKED_AT = 4 * TEXT_MAX
#: What could move a cursor, break a line or turn the direction of reading, and what nobody sees; shown as escapes.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff]"
)

#: (text, start, stop) -> text[start:stop] without secrets, also without those that would be cut open.
Redact = Callable[[str, int, int], str]


class Printable:
    """A processor of structlog."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    def __call__(self, _logger: object, _method: str, event_dict: EventDict) -> EventDict:
        given = event_dict.pop("exc_info", None)
        error = sys.exception() if given is True else given[1] if isinstance(given, tuple) else given
        printable = {
            "_".join(re.findall(r"[\w.-]+", name)): self._named(name, value) for name, value in event_dict.items()
        }
        return printable | ({"exception": self._described(error)} if isinstance(error, BaseException) else {})

    def _named(self, name: object, value: object, depth: int = 0) -> object:
        if isinstance(name, str) and names_a_field(name):
            return HIDDEN
        hidden = isinstance(value, str | bytes) and isinstance(name, str) and names_a_secret(name[-100:])
        return HIDDEN if hidden else self._plain(value, depth)

    def _plain(self, value: object, depth: int = 0) -> object:
        match value:
            case LogLine() | None | bool():
                return value
            case int() | float() if abs(value) < 2**63:  # neither NaN nor a thousand digits
                return value
            case dict() if depth < DEPTH_MAX:
                few = list(value.items())[:MEMBERS_MAX]
                return {self._text(name): self._named(name, member, depth + 1) for name, member in few}
            case list() | tuple() | set() if depth < DEPTH_MAX:
                return [self._plain(member, depth + 1) for member in list(value)[:MEMBERS_MAX]]
            case BaseException():
                return f"{type(value).__name__}: {self._text(value)}"
        return self._text(value)

    def _text(self, value: object) -> str:
        try:
            text = self._redact(str(value)[:LOOKED_AT], 0, TEXT_MAX)
        except Exception:  # the value's own code, or the redaction's
            text = f"({type(value).__name__} that cannot be shown)"
        return _UNSAFE.sub(lambda unsafe: unsafe[0].encode("unicode_escape").decode(), text)

    def _described(self, error: BaseException, depth: int = 1) -> dict[str, Any]:
        steps = ((frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__))
        frames = [f"{code.co_filename}:{line} in {code.co_qualname}" for code, line in steps][-FRAMES_MAX:]
        described: dict[str, Any] = {"type": type(error).__qualname__, "message": self._text(error), "frames": frames}
        members = error.exceptions[:ERRORS_MAX] if isinstance(error, BaseExceptionGroup) else ()
        behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        others = [other for other in (*members, behind) if other is not None]
        if others and depth < ERRORS_MAX:
            described["because"] = [self._described(other, depth + 1) for other in others]
        return described
