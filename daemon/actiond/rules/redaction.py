"""What never leaves in errors and logs: passwords in URLs, tokens, keys.

Applied once, where a text is written: to error texts, to log lines, to what a command says of an error. It works
on shapes, so it is a net and not a promise; only the secrets of this process itself, once it has read them, are
known by heart (`learn`), and the fields that a processor says are not to be shown (`hide`).

A text may come from anywhere, also from somebody who wants this to be slow. So each shape takes time in
proportion to the length of the text: what it repeats is bounded, or is the last thing it asks for and is
never given back (`*+`, `++`). A test holds every shape to that.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

from actiond.words import json_text

HIDDEN = "[hidden]"

#: A name that ends like this has a secret as its value.
_NAME = (
    r"(?:secret|token|pass(?:w(?:or)?d|phrase|(?<=_pass))|pwd"
    r"|(?:api|access|account|auth|client|encryption|master|private|secret|session|shared|signing)[_ -]?key)\d{0,3}"
)
#: What stands between a name and its value, as in password: "password": \"password\": ['password'] = (password)=
_IS = r"(?![\w-])[\\\"'\])]{0,8}+[ \t]{0,8}+(?:=>|[=:]{1,3}+)[ \t]{0,8}+(?!\[hidden\])"
#: A quoted text to its end, or to the end of the line; "a""b" and 'it''s' are one.
_QUOTED = r"""[bru]{0,2}(?:"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)++"""
#: The same in a text that is itself quoted: it ends with as many backslashes as it began with.
_QUOTED_TWICE = (
    r"""(?P<slashes>\\{1,16}+)(?P<quote>["'])(?:(?!(?<!\\)(?P=slashes)(?P=quote)).)*+(?:(?P=slashes)(?P=quote))?"""
)
_BRACKETED = r"\[[^\]\n]*+\]?|\{[^}\n]*+\}?|\([^)\n]*+\)?"
#: To the next white space, & or ;. A comma or a bracket belongs to it, unless something else begins or ends there.
_BARE = r"""[^\s&;,)}\]](?:[^\s&;,)}\]]|[,)}\]](?![\s&;,)}\]"'.:]|$|[\w.-]{1,40}+["']?[ ]?[=:]))*+"""
_VALUE = rf"{_QUOTED_TWICE}|{_QUOTED}|{_BRACKETED}|{_BARE}"


class _Shape(NamedTuple):
    """What is called `secret` in the pattern is hidden; without that, all of it is."""

    hints: tuple[str, ...]  # without one of these, in lower case, there is no match
    pattern: re.Pattern[str]
    any_case: bool = False  # the pattern is for the text in lower case


_SHAPES = (
    _Shape(
        ("-----begin",),
        re.compile(
            r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
            r"(?:[^-]|-(?!----END [A-Z ]{0,40}PRIVATE KEY-----))*+(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
        ),
    ),
    # In a URL: from behind the user to the last @ before a slash.
    _Shape(
        ("://",),
        re.compile(r"""://[^\s/:"<>\[]{0,256}+:(?P<secret>(?:[^\s/"<>\[]|\[(?!hidden\])){1,256}(?=@))"""),
    ),
    # Or, where the password has a slash, to the first @; but what looks like a port is one.
    _Shape(
        ("://",),
        re.compile(
            r"""://[^\s/:@"'<>\[]{0,256}+:(?!\d{1,5}[/?#])"""
            r"""(?P<secret>[^\s/@"'<>\[]{1,100}+/(?:[^\s@"'<>\[]|\[(?!hidden\])){0,256}+(?=@))"""
        ),
    ),
    _Shape(("secret", "token", "pass", "pwd", "key"), re.compile(f"{_NAME}{_IS}(?P<secret>{_VALUE})"), any_case=True),
    _Shape(
        ("authorization",),
        re.compile(rf"authorization{_IS}(?P<secret>(?:[a-z][\w-]{{0,30}}+[ \t]{{1,4}}+(?!\[hidden\]))?(?:{_VALUE}))"),
        any_case=True,
    ),
    # Without the name of the header: words of a sentence have no digit, no = and no capital inside.
    _Shape(
        ("bearer", "basic"),
        re.compile(
            r"\b(?i:bearer|basic)\s{1,8}+"
            r"(?=[A-Za-z+/_.~-]{0,256}(?:[0-9=]|[a-z][A-Z]))(?P<secret>[\w+/=.~-]{8,}+)"
        ),
    ),
    # JSON web token
    _Shape(("eyj",), re.compile(r"\beyJ[\w-]{8,1000}+\.[\w-]{1,8000}+\.[\w-]*+")),
    _Shape(("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    _Shape(("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), re.compile(r"\b(?:gh[pousr]|github_pat)_\w{20,}+")),
    _Shape(("glpat-",), re.compile(r"\bglpat-[\w-]{20,}+")),
    _Shape(("k_live_", "k_test_"), re.compile(r"\b[sr]k_(?:live|test)_\w{10,}+")),  # Stripe
    _Shape(("xox",), re.compile(r"\bxox[abeoprs]-[\w-]{10,}+")),  # Slack
    _Shape(("sk-",), re.compile(r"\bsk-(?=[A-Za-z_-]{0,40}\d)[\w-]{20,}+")),  # OpenAI, Anthropic
)


_IS_SECRET = re.compile(f"(?:{_NAME}|authorization)$")
_LEARNT_FROM = 8  # characters: a shorter one would hide parts of words
_HELD_FROM = 4  # likewise, of what a field holds; a shorter one is hidden where the field is named

_learnt: set[str] = set()


class _Fields:
    """The fields of some payloads that are not to be shown: their names, and what they hold.

    A text is looked through once, however many values there are: by the first characters of each.
    """

    def __init__(self, names: Collection[str], payloads: Callable[[], Iterable[str]]) -> None:
        self.names = frozenset(names)
        self._payloads = payloads
        self._by_beginning: dict[str, _Values] | None = None

    def spans(self, text: str, lower: str) -> Iterator[tuple[int, int]]:
        """Where they stand."""
        for match in _named(self.names).finditer(lower):
            yield match.span("secret")
        by_beginning = self._values()
        for at in range(len(text) - _HELD_FROM + 1) if by_beginning else ():
            if (values := by_beginning.get(text[at : at + _HELD_FROM])) is not None:
                yield from values.spans(text, at)

    def _values(self) -> dict[str, _Values]:
        if self._by_beginning is None:
            found: dict[str, list[str]] = {}
            for value in {said for text in self._payloads() for said in _held(text, self.names)}:
                if len(value) >= _HELD_FROM and value not in HIDDEN:
                    found.setdefault(value[:_HELD_FROM], []).append(value)
            self._by_beginning = {beginning: _Values(values) for beginning, values in found.items()}
        return self._by_beginning


class _Values:
    """Values that begin alike, as numbers of one bank do: one look takes a step for each length they have."""

    def __init__(self, values: list[str]) -> None:
        self._sorted = sorted(values)
        self._values = frozenset(values)
        self._lengths = sorted({len(value) for value in values})

    def spans(self, text: str, at: int) -> Iterator[tuple[int, int]]:
        for length in self._lengths:
            if text[at : at + length] in self._values:
                yield at, at + length
        if at + self._lengths[-1] > len(text):  # one may be cut at the end of the text
            rest = text[at:]
            place = bisect_left(self._sorted, rest)
            if place < len(self._sorted) and self._sorted[place].startswith(rest):
                yield at, len(text)


@cache
def _named(names: frozenset[str]) -> re.Pattern[str]:
    """As code and JSON have it: card='4111', "card": 4111. In a sentence, "card: not a number", it is a word."""
    said = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    behind = r"""(?:[\\"'\])]{1,8}+[ \t]{0,8}+:|[\\"'\])]{0,8}+[ \t]{0,8}+(?:=>|={1,3}+))[ \t]{0,8}+"""
    return re.compile(rf"(?<![\w-])(?:{said}){behind}(?!\[hidden\])(?P<secret>{_VALUE})")


def _held(payload: str, names: frozenset[str]) -> Iterator[str]:
    """Every text and number in a field of these names, at any depth, as a message would quote it."""
    try:
        waiting: list[tuple[object, bool]] = [(json_text.loads(payload), False)]
    except ValueError:
        return  # nobody can read it, so nobody quotes it
    while waiting:
        each, hidden = waiting.pop()
        if isinstance(each, dict):
            waiting += [(member, hidden or name.lower() in names) for name, member in each.items()]
        elif isinstance(each, list):
            waiting += [(member, hidden) for member in each]
        elif hidden and isinstance(each, str):
            yield from {each, json_text.dumps(each)[1:-1], repr(each)[1:-1]}
        elif hidden and isinstance(each, int | float) and not isinstance(each, bool):
            yield str(each)


_fields: ContextVar[_Fields | None] = ContextVar("actiond_fields", default=None)


def learn(*secrets: str | None) -> None:
    """From now on these are hidden wherever they stand. Those of a few characters are left out."""
    _learnt.update(secret for secret in secrets if secret and len(secret) >= _LEARNT_FROM)


def hide(names: Collection[str], payloads: Callable[[], Iterable[str]]) -> None:
    """From now on in this task, also in tasks and threads started from it: what fields of these names (in lower case)
    hold is hidden wherever it stands. `payloads`, JSON texts, are asked for when the first text is redacted."""
    _fields.set(_Fields(names, payloads) if names else None)


def learnt() -> list[str]:
    """For a process that begins with what this one knows."""
    return sorted(_learnt)


def names_a_secret(name: str) -> bool:
    """Is what goes by this name (of a field, of a member) a secret? Bound its length before."""
    return _IS_SECRET.search(name.replace("İ", "i").lower()) is not None


def names_a_field(name: str) -> bool:
    """Is it one of those that `hide` was told of? Then nothing of it is shown, not even a number."""
    fields = _fields.get()
    return fields is not None and name.lower() in fields.names


def redact(text: str, start: int = 0, stop: int | None = None) -> str:
    """text[start:stop] with every secret-shaped part replaced, also one that would be cut open. Idempotent."""
    stop = len(text) if stop is None else stop
    shown, at = [], start
    for begin, end in _joined(_secrets(text)):
        if at < end and begin < stop:
            shown += [text[at:begin] if at < begin else "", HIDDEN]
            at = end
    shown.append(text[at:stop] if at < stop else "")
    return "".join(shown)


def _secrets(text: str) -> list[tuple[int, int]]:
    """Where they begin and end, in order."""
    lower = text.replace("İ", "i").lower()  # the one letter that is longer in lower case
    found = [
        (at, at + len(secret))
        for secret in _learnt
        if secret in text
        for at in (match.start() for match in re.finditer(re.escape(secret), text))
    ]
    for hints, pattern, any_case in _SHAPES:
        for hint in hints:
            if hint in lower:
                part = "secret" if "secret" in pattern.groupindex else 0
                found += [match.span(part) for match in pattern.finditer(lower if any_case else text)]
                break
    if (fields := _fields.get()) is not None:
        found += fields.spans(text, lower)
    return sorted(found)


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those that overlap or touch are one."""
    at, end = 0, -1
    for each in spans:
        if each[0] > end:
            if end >= 0:
                yield at, end
            at, end = each
        end = max(end, each[1])
    if end >= 0:
        yield at, end
