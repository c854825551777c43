"""One connection to a mail server, for the letters of one batch.

What is known of a letter when something goes wrong decides what becomes of its row:

    refused for good (5xx)                   final
    refused for now (4xx)                    tried again, charged
    the server cannot be reached, or does not let us in
                                             nothing was tried: again later, not charged
    the connection ended before the letter   a new connection, once; then tried again, charged
    it ended after the letter, before the answer
                                             nobody knows: `when_unknown` decides
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiosmtplib

from actiond import ALLOW_RETRY, SUDDEN_DEATH, Failure

_CLOSING = 421  # "service not available, closing": of the connection, and not of the letter


class Unreachable(Exception):
    """No letter can be sent now; the text says why."""


class _Lost(Exception):
    """The connection ended."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where, and as whom."""

    host: str
    port: int
    tls: str  # starttls, implicit, none
    user: str | None
    password: str | None = field(repr=False)
    hello: str
    timeout_s: float
    retry_unknown: bool


class Session:
    """Opened by the first letter."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._smtp: aiosmtplib.SMTP | None = None

    async def send(self, sender: str, recipients: Sequence[str], message: bytes) -> dict[str, Any]:
        """What the server said. Failure for this letter, Unreachable for all of them."""
        fresh = self._smtp is None
        try:
            return await self._send(sender, recipients, message)
        except _Lost as lost:
            self.close()
            if fresh:
                raise Failure(f"the connection ended: {lost}", ALLOW_RETRY) from None
        try:  # the server may only have been tired of the old connection
            return await self._send(sender, recipients, message)
        except _Lost as lost:
            self.close()
            raise Failure(f"the connection ended: {lost}", ALLOW_RETRY) from None

    async def leave(self) -> None:
        """A polite end; whether the server answers does not matter."""
        if self._smtp is not None:
            with suppress(aiosmtplib.SMTPException, OSError):
                await self._smtp.quit(timeout=2)
            self.close()

    def close(self) -> None:
        """At once."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    async def _send(self, sender: str, recipients: Sequence[str], message: bytes) -> dict[str, Any]:
        smtp = self._smtp or await self._open()
        refused = await self._envelope(smtp, sender, recipients)
        try:
            answer = await smtp.data(message)
        except aiosmtplib.SMTPResponseException as no:
            if no.code == _CLOSING:
                self.close()
            raise _refusal(no, "the letter") from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as lost:
            self.close()
            raise Failure(
                f"the connection ended after the letter was sent and before the server answered ({_said(lost)}): "
                "it may have arrived",
                ALLOW_RETRY if self._server.retry_unknown else SUDDEN_DEATH,
            ) from None
        return {
            "answer": f"{answer.code} {answer.message}",
            "accepted": [each for each in recipients if each not in refused],
            **({"refused": refused} if refused else {}),
        }

    async def _envelope(self, smtp: aiosmtplib.SMTP, sender: str, recipients: Sequence[str]) -> dict[str, str]:
        """The recipients that are refused for good. All of them, or one for now, and nobody gets the letter."""
        refused: dict[str, str] = {}
        try:
            await smtp.mail(sender)
            for recipient in recipients:
                try:
                    await smtp.rcpt(recipient)
                except aiosmtplib.SMTPRecipientRefused as no:
                    if no.code < 500:
                        raise
                    refused[recipient] = f"{no.code} {no.message}"
            if len(refused) == len(recipients):
                await smtp.rset()
        except aiosmtplib.SMTPResponseException as no:
            if no.code == _CLOSING:
                raise _Lost(_said(no)) from None
            if isinstance(no, aiosmtplib.SMTPSenderRefused):  # an operator chose the sender: no letter would go
                raise Unreachable(f"the sender {sender} is refused: {_said(no)}") from None
            await self._forget(smtp)
            raise _refusal(no, getattr(no, "recipient", "the letter")) from None
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as lost:
            raise _Lost(_said(lost)) from None
        if len(refused) == len(recipients):
            raise Failure("; ".join(f"{who}: {why}" for who, why in refused.items()), SUDDEN_DEATH)
        return refused

    async def _forget(self, smtp: aiosmtplib.SMTP) -> None:
        """The envelope; if that fails, the connection."""
        try:
            await smtp.rset()
        except (aiosmtplib.SMTPException, OSError):
            self.close()

    async def _open(self) -> aiosmtplib.SMTP:
        server = self._server
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            local_hostname=server.hello,
            timeout=server.timeout_s,
            tls_context=None if server.tls == "none" else ssl.create_default_context(),
        )
        self._smtp = smtp
        try:
            await smtp.connect()
            if server.user is not None and server.password is not None:
                await smtp.login(server.user, server.password)
        except (aiosmtplib.SMTPException, OSError) as no:
            self.close()
            raise Unreachable(f"{server.host}:{server.port}: {_said(no)}") from None
        return smtp


def _refusal(no: aiosmtplib.SMTPResponseException, what: str) -> Failure:
    final = no.code >= 500
    return Failure(f"{what}: {no.code} {no.message}", SUDDEN_DEATH if final else ALLOW_RETRY)


def _said(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return " ".join(str(error).split()) or type(error).__name__
