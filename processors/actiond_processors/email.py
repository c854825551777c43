"""A processor that sends letters, one for each row, through a mail server. Extra: pip install 'actiond[email]'.

    insert into actiond.processor (name, uses, config)
    values ('welcome', 'email', '{"server": "mail.example.org", "from": "Shop <shop@example.org>",
        "user": "shop", "password": {"secret": "mail_password"},
        "subject": "Welcome, ${data.name}", "text": "Dear ${data.name},\\n\\nit is good to have you here."}');

The rows of a batch share one connection. What becomes of a row when something goes wrong stands in mail_session.
"""

from __future__ import annotations

import re
import socket
from email.errors import MessageError
from email.message import EmailMessage
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from actiond import KEEP_ALIVE, SUDDEN_DEATH, Action, Batch, Failure, Processor, batch_processor
from actiond_processors.answers import hidden
from actiond_processors.config import Config, Hide, SecretRef, Timeout, read
from actiond_processors.in_turn import in_turn
from actiond_processors.letter import Letter, Recipients, address, give_id, headed, put
from actiond_processors.mail_session import Server, Session, Unreachable
from actiond_processors.template import Template, text_of

BATCH_SIZE = 50
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_THIS_HOST = ("localhost", "127.0.0.1", "::1")
_OURS = {"from", "to", "cc", "bcc", "subject", "date", "message-id", "sender", "reply-to", "received", "return-path"}


class LetterConfig(Config):
    """One of `templates`."""

    subject: str
    text: str | None = None
    html: str | None = None

    @model_validator(mode="after")
    def _can_be_written(self) -> LetterConfig:
        self.letter()
        return self

    def letter(self) -> Letter:
        """ValueError for what is no template."""
        if self.text is None and self.html is None:
            raise ValueError("a letter needs text or html, or both")
        return Letter(self.subject, self.text, self.html)


class EmailConfig(Config):
    """Fields of the config of `email`."""

    server: str = Field(min_length=1, description="Host name of the mail server.")
    port: int | None = Field(None, ge=1, le=65535, description="Default: 587, 465 or 25, as `tls` says.")
    tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="`starttls`: encrypted after the greeting, or not at all; `implicit`: from the first byte; `none`.",
    )
    user: str | None = Field(None, description="Whom to log in as.")
    password: SecretRef | None = Field(None, description='{"secret": "name"}. Never sent without TLS to another host.')
    sender: str = Field(alias="from", description="One address, as `Shop <shop@example.org>`.")
    to: str | list[str] = Field(
        "${data.to}", description="Addresses; a placeholder alone may stand for a list of them."
    )
    cc: str | list[str] = Field([], description="The same.")
    bcc: str | list[str] = Field([], description="The same; named to the server, and not in the letter.")
    reply_to: str | None = Field(None, description="One address, with placeholders.")
    subject: str | None = Field(None, description="Text with placeholders.")
    text: str | None = Field(None, description="The letter as plain text, with placeholders.")
    html: str | None = Field(None, description="The letter as HTML; what placeholders bring is escaped.")
    templates: dict[str, LetterConfig] = Field(
        {}, description="Instead of subject, text and html: several of these by name; `data.template` names the one."
    )
    headers: dict[str, str] = Field({}, description="More headers, with placeholders.")
    hello: str | None = Field(None, description="How the daemon calls itself to the server. Default: its host name.")
    timeout: Timeout = Field(30.0, description="For each answer of the server.")
    when_unknown: Literal["retry", "fail"] = Field(
        "retry",
        description="The connection ended after the letter and before the answer: send it again, with the same "
        "Message-ID, or give up.",
    )

    @field_validator("headers")
    @classmethod
    def _may_be_set(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, text in headers.items():
            if not re.fullmatch(r"[!-9;-~]+", name) or not text.isprintable():
                raise ValueError(f"{name!r} is no header in one line")
            if name.lower() in _OURS or name.lower().startswith(("content-", "mime-")):
                raise ValueError(f"{name!r} is not set here")
            Template(text)
        return headers

    @model_validator(mode="after")
    def _fits_together(self) -> EmailConfig:
        address(self.sender, "from")
        for name in ("to", "cc", "bcc"):
            Recipients(getattr(self, name), name)
        if self.reply_to is not None:
            Template(self.reply_to)
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.password is not None and self.tls == "none" and self.server not in _THIS_HOST:
            raise ValueError("a password is not sent without TLS to another host")
        if bool(self.templates) == (self.subject is not None or self.text is not None or self.html is not None):
            raise ValueError("either templates, or subject with text or html")
        self.letters()
        return self

    def letters(self) -> dict[str, Letter]:
        """By name; the only one has the name ''."""
        if self.templates:
            return {name: each.letter() for name, each in self.templates.items()}
        if self.subject is None:
            raise ValueError("a letter needs a subject")
        return {"": LetterConfig(subject=self.subject, text=self.text, html=self.html).letter()}


class Writer:
    """Makes the letter of a row."""

    def __init__(self, config: EmailConfig) -> None:
        self.sender = address(config.sender, "from")
        self._letters = config.letters()
        self._to, self._cc, self._bcc = (Recipients(getattr(config, name), name) for name in ("to", "cc", "bcc"))
        self._reply_to = None if config.reply_to is None else Recipients(config.reply_to, "reply_to")
        self._headers = {name: Template(text) for name, text in config.headers.items()}

    def write(self, action: Action[Any]) -> tuple[list[str], EmailMessage]:
        """Recipients and message. Failure, which is final."""
        to, cc, bcc = self._to.of(action), self._cc.of(action), self._bcc.of(action)
        if not (to or cc or bcc):
            raise Failure("there is no recipient", SUDDEN_DEATH)
        message = headed(action, self.sender, to, cc)
        if self._reply_to is not None:
            message["Reply-To"] = tuple(self._reply_to.of(action))
        for name, template in self._headers.items():
            put(message, name, template, action)
        self._letter(action).write(message, action)
        recipients = dict.fromkeys(each.addr_spec for each in (*to, *cc, *bcc))
        give_id(message, action, self.sender.domain)
        return list(recipients), message

    def _letter(self, action: Action[Any]) -> Letter:
        name = "" if "" in self._letters else text_of(action, "data.template")
        if name not in self._letters:
            raise Failure(f"there is no template {name[:50]!r} (there are: {', '.join(self._letters)})", SUDDEN_DEATH)
        return self._letters[name]


def make(name: str, config: dict[str, Any]) -> Processor:
    """From a row of actiond.processor. ProcessorInvalid names the field that is wrong."""
    checked = read(EmailConfig, name, config)
    writer, hide = Writer(checked), Hide(checked)
    server = Server(
        host=checked.server,
        port=checked.port or _PORTS[checked.tls],
        tls=checked.tls,
        user=checked.user,
        password=checked.password.reveal() if checked.password else None,
        hello=checked.hello or socket.gethostname(),
        timeout_s=checked.timeout,
        retry_unknown=checked.when_unknown == "retry",
    )

    async def send(batch: Batch[Any]) -> None:
        session = Session(server)
        try:
            with in_turn(batch) as begun:
                for action in batch:
                    begun(action)
                    await _one(action, writer, session, hide)
            await session.leave()
        except Unreachable as unreachable:
            waiting = [action for action in batch if action.outcome is None]
            batch.fail(waiting, hide(str(unreachable)), KEEP_ALIVE)
        finally:
            session.close()

    # Its own deadlines are shorter: a call that takes this long has a server that answers each command just in time.
    return batch_processor(name, batch_size=BATCH_SIZE, timeout=f"{BATCH_SIZE * checked.timeout + 60:.3f} s")(send)


async def _one(action: Action[Any], writer: Writer, session: Session, hide: Hide) -> None:
    if action.withdrawn:
        return
    try:
        recipients, message = _written(writer, action)
        said = await session.send(writer.sender.addr_spec, recipients, message.as_bytes())
    except Failure as failure:
        action.fail(hide(failure.failed.error), failure.failed.behavior)
    else:
        action.complete(hidden({"message_id": message["Message-ID"], **said}, hide))


def _written(writer: Writer, action: Action[Any]) -> tuple[list[str], EmailMessage]:
    try:
        return writer.write(action)
    except (
        MessageError,
        LookupError,
        TypeError,
        ValueError,
    ) as wrong:  # what cannot be put in a letter
        raise Failure(f"the letter cannot be written: {wrong}", SUDDEN_DEATH) from None
