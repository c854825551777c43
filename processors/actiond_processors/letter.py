"""An e-mail from templates and a row: addresses that are addresses, headers that stay one line each.

Whatever is wrong with a row is final for that row: a missing value, a line break where a header would be injected, an
address that is none. HTML parts are escaped.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from actiond import SUDDEN_DEATH, Action, Failure
from actiond_processors.template import Template, value_of

POLICY = SMTP.clone(cte_type="7bit")  # no server must be able to do more
RECIPIENTS_MAX = 100
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str, what: str) -> str:
    """ValueError for what would begin another header."""
    if _CONTROL.search(text):
        raise ValueError(f"{what} holds a line break or another control character")
    return text


def address(text: str, what: str) -> Address:
    """`ada@example.org` or `Ada <ada@example.org>`, exactly one. ValueError says what is wrong."""
    found, sound = _parsed(one_line(text, what))
    if len(found) == 1 and not found[0].username.isascii():
        raise ValueError(f"{what} has letters before the @ that not every server takes: {text[:100]!r}")
    if len(found) != 1 or not sound or not found[0].username or not found[0].domain:
        raise ValueError(f"{what} is not one address: {text[:100]!r}")
    try:
        domain = found[0].domain.encode("idna").decode()
        return Address(found[0].display_name, found[0].username, domain)
    except (MessageError, LookupError, ValueError):
        raise ValueError(f"{what} is not one address: {text[:100]!r}") from None


def _parsed(text: str) -> tuple[list[Address], bool]:
    """What the parser finds, and whether it has nothing to say against it."""
    try:
        header = POLICY.header_factory("To", text)
        alone = all(group.display_name is None for group in header.groups)
        sound = alone and all("obsolete" in str(defect) for defect in header.defects)
        return list(header.addresses), sound
    except (MessageError, LookupError, ValueError, AttributeError):  # the parser's ways to say no
        return [], False


class Recipients:
    """Templates of addresses. One that is nothing but a placeholder may stand for a list of addresses."""

    def __init__(self, given: str | list[str], what: str) -> None:
        self._templates = [Template(each) for each in ([given] if isinstance(given, str) else given)]
        self._what = what

    def of(self, action: Action[Any]) -> list[Address]:
        """For this row. Failure, which is final."""
        texts: list[str] = []
        for template in self._templates:
            value = None if template.only is None else value_of(action, template.only)
            if isinstance(value, list):
                texts += [each if isinstance(each, str) else "" for each in value]
            else:
                texts.append(template.fill(action))
        if len(texts) > RECIPIENTS_MAX:
            raise Failure(f"{self._what} has {len(texts)} addresses; up to {RECIPIENTS_MAX} are sent", SUDDEN_DEATH)
        return [_final(address, text, self._what) for text in texts]


class Letter:
    """Subject and body."""

    def __init__(self, subject: str, text: str | None, html_text: str | None) -> None:
        self._subject = Template(one_line(subject, "subject"))
        self._text = None if text is None else Template(text)
        self._html = None if html_text is None else Template(html_text, html.escape)

    def write(self, message: EmailMessage, action: Action[Any]) -> None:
        """Into the message. Failure, which is final."""
        message["Subject"] = _final(one_line, self._subject.fill(action), "the subject")
        if self._text is not None:
            message.set_content(self._text.fill(action))
        if self._html is not None and self._text is not None:
            message.add_alternative(self._html.fill(action), subtype="html")
        elif self._html is not None:
            message.set_content(self._html.fill(action), subtype="html")


def headed(action: Action[Any], sender: Address, to: Iterable[Address], cc: Iterable[Address]) -> EmailMessage:
    """A message without subject and body."""
    message = EmailMessage(policy=POLICY)
    message["From"] = sender
    message["To"] = tuple(to)
    if copies := tuple(cc):
        message["Cc"] = copies
    message["Date"] = formatdate()  # what every letter must have: when it was written, by the clock of this host
    message["Auto-Submitted"] = "auto-generated"
    return message


def put(message: EmailMessage, name: str, template: Template, action: Action[Any]) -> None:
    """One more header. Failure, which is final."""
    message[name] = _final(one_line, template.fill(action), name)


def give_id(message: EmailMessage, action: Action[Any], domain: str) -> None:
    """A Message-ID that is the same at every attempt, and only for this letter.

    The key of the action alone would be the same in another database, and a mailbox keeps one of two equal ids.
    """
    stable = "\n".join(f"{name}: {value}" for name, value in message.items() if name not in ("Date", "MIME-Version"))
    digest = hashlib.sha256(f"{stable}\n{action.row.data}".encode()).hexdigest()[:16]
    message["Message-ID"] = f"<{action.idempotency_key}.{digest}@{domain}>"


def _final(check: Any, text: str, what: str) -> Any:
    try:
        return check(text, what)
    except ValueError as wrong:
        raise Failure(str(wrong), SUDDEN_DEATH) from None
