"""What never leaves in errors and logs: passwords in URLs, tokens, keys.

Applied once, where a text is written: to error texts and to log lines. It works on shapes, so it is a net and
not a promise; the daemon's own credentials are also matched exactly (see `Secrets`).
"""

from __future__ import annotations

import re

HIDDEN = "[hidden]"

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        HIDDEN,
    ),
    (re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*):[^@\s/]+@", re.I), rf"\1:{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=_.~-]{8,}", re.I), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),  # JSON web token
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),  # AWS
    (re.compile(r"\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}"), HIDDEN),
    (re.compile(r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}"), HIDDEN),  # Stripe
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), HIDDEN),  # Slack
    (
        re.compile(
            r"""(["']?\b[\w-]*(?:secret|token|password|passwd|pwd|api[_-]?key|authorization|private[_-]?key)["']?"""
            r"""\s*[=:]\s*)(?!\[hidden\])("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&)}\]]+)""",
            re.I,
        ),
        rf"\1{HIDDEN}",
    ),
)
#: A text without one of these holds none of the shapes: most texts take this way out.
_HINTS = re.compile(
    r"-----BEGIN|://|bearer|basic|eyJ|AKIA|ASIA|gh[pousr]_|github_pat|k_live|k_test|xox|secret|token|pass|pwd|key|authorization",
    re.I,
)


def redact(text: str) -> str:
    """The text with every secret-shaped part replaced. Idempotent."""
    if not _HINTS.search(text):
        return text
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text
