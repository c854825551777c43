"""A processor that calls a URL, for each row or for a batch of rows. Extra: pip install 'actiond[http]'.

    insert into actiond.processor (name, uses, config)
    values ('order_shipped', 'http', '{"url": "https://shop.example.org/orders/${data.order}/shipped",
        "headers": {"Authorization": {"secret": "shop_token", "prefix": "Bearer "}}}');

`per` is "row" (the default) or "batch".

    row     the body is the row's `data`; the answer's status decides
    batch   the body is an array with an object for each row, and so is the answer (see answers): an outcome each
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from actiond import ALLOW_RETRY, KEEP_ALIVE, SUDDEN_DEATH, Action, Batch, Failure, Processor, batch_processor, processor
from actiond_processors import answers, http_call
from actiond_processors.config import Config, Hide, Secret, SecretRef, TextOrSecret, Timeout, read, revealed

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te", "trailer"}
_LATER = {408, 425, 429}
_TOO_MUCH_OR_WRONG = {400, 413, 422}  # said of a batch, it may be one row
_PATIENT = {429, 503}  # with Retry-After: the server is busy, and no row is to blame
_SHOWN = 300
_BEYOND = 4096  # bytes that are read beyond what is kept: a secret must not be cut open
_BATCHES = 10  # requests that one batch may take as long as, when it has to be halved


class SignConfig(Config):
    """HMAC signature."""

    secret: SecretRef
    header: str = "Actiond-Signature"
    timestamp_header: str = "Actiond-Timestamp"

    def signature(self) -> http_call.Signature:
        """Ready to sign."""
        return http_call.Signature(self.secret.reveal().encode(), self.header.lower(), self.timestamp_header.lower())

    @field_validator("header", "timestamp_header")
    @classmethod
    def _is_a_header(cls, name: str) -> str:
        return _header(name)

    @field_validator("secret", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return {"secret": given} if isinstance(given, str) else given


class HttpConfig(Config):
    """Fields of the config of `http`."""

    url: str = Field(description="Where to; placeholders in path and query are percent-encoded.")
    per: Literal["row", "batch"] = Field("row", description="One request for each row, or for a batch of rows.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "POST", description="GET, POST, PUT, PATCH, DELETE."
    )
    headers: dict[str, TextOrSecret] = Field(
        {}, description='Text, or {"secret": "name"}, also with {"prefix": "Bearer "}.'
    )
    send: Literal["data", "action", "nothing"] | None = Field(
        None, description="The body of a row's request: `data`, the whole `action`, or `nothing`. Default: `data`, "
        "and nothing for GET and DELETE."
    )  # fmt: skip
    timeout: Timeout = Field(30.0, description="From the beginning of a request to the end of its answer.")
    ok: list[int] | None = Field(None, description="Statuses that complete. Default: 200 to 299.")
    retry: list[int] = Field([], description="Statuses that are tried again, besides 408, 425, 429 and 500 to 599.")
    final: list[int] = Field([], description="Statuses that are not, besides all others.")
    retry_after_max: Timeout = Field(3600.0, description="How long a `Retry-After` is believed at most.")
    redirects: int = Field(3, ge=0, le=20, description="Redirects to follow, on the same host only.")
    idempotency_header: str | None = Field(
        "Idempotency-Key", description="Carries the key of the action, the same at every attempt; null = none."
    )
    sign: SignConfig | None = Field(
        None, description='{"secret": "name"}: signs timestamp and body with HMAC-SHA256; `header`, `timestamp_header`.'
    )
    keep: Literal["body", "status"] = Field("body", description="What of the answer is kept as the result.")
    answer_max: int = Field(
        65_536, ge=0, le=64 << 20, description="Bytes of an answer that are read; for a batch 100 times as many."
    )

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        http_call.Url(url)
        return url

    @field_validator("headers")
    @classmethod
    def _may_be_set(cls, headers: dict[str, str | Secret]) -> dict[str, str | Secret]:
        for name, value in headers.items():
            _header(name)
            if not re.fullmatch(r"[\t -~\x80-\xff]*", revealed(value)):
                raise ValueError(f"the value of {name!r} is not one line of Latin letters")
        return headers

    @field_validator("idempotency_header")
    @classmethod
    def _is_a_header(cls, name: str | None) -> str | None:
        return None if name is None else _header(name)

    @model_validator(mode="after")
    def _fits_together(self) -> HttpConfig:
        if self.per == "batch" and http_call.Url(self.url).has_places:
            raise ValueError("a batch has one URL for all its rows: no placeholders")
        if self.per == "batch" and (self.method in ("GET", "DELETE") or self.send is not None):
            raise ValueError("a batch is sent as the body of a POST, PUT or PATCH, and has no `send`")
        return self


def _header(name: str) -> str:
    if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
        raise ValueError(f"{name!r} is no header that can be set")
    return name


class Target:
    """What to call, and what its answers mean."""

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self.hide = Hide(config)
        self._url = http_call.Url(config.url)
        self._headers = {"accept": "application/json, */*;q=0.1", "user-agent": "actiond"}
        self._headers |= {name.lower(): revealed(value) for name, value in config.headers.items()}
        self._headers["accept-encoding"] = "identity"  # what is compressed can be larger than what is read
        sign = config.sign
        self._signature = sign.signature() if sign else None

    async def ask(self, action: Action[Any] | None, body: bytes | None) -> http_call.Reply:
        """A reply that is ok. Failure for any other."""
        config, headers = self.config, dict(self._headers)
        if body is not None:
            headers.setdefault("content-type", "application/json")
        if action is not None and config.idempotency_header:
            headers[config.idempotency_header.lower()] = action.idempotency_key
        if self._signature is not None:
            headers |= self._signature.headers(body or b"")
        read_max = config.answer_max + _BEYOND if action is not None else config.answer_max * 100
        try:
            reply = await http_call.call(
                config.method, self._url.of(action), headers, body, config.timeout, read_max, config.redirects
            )
        except Failure as failure:
            raise Failure(
                self.hide(failure.failed.error), failure.failed.behavior, after=failure.failed.after
            ) from None
        if not (200 <= reply.status < 300 if config.ok is None else reply.status in config.ok):
            raise self._failure(reply)
        return reply

    def body(self, action: Action[Any]) -> bytes | None:
        """Of a row's own request."""
        send = self.config.send or ("nothing" if self.config.method in ("GET", "DELETE") else "data")
        if send == "nothing":
            return None
        return (action.row.data if send == "data" else answers.told(action)).encode()

    def kept(self, reply: http_call.Reply) -> dict[str, Any]:
        """The result of a row's own request."""
        kept: dict[str, Any] = {"status": reply.status}
        if self.config.keep == "status" or not reply.body:
            return kept
        text = self.hide(reply.text)
        if len(reply.body) > self.config.answer_max:
            return kept | {"body": answers.storable(text[: self.config.answer_max]), "truncated": True}
        try:
            kept["body"] = answers.hidden(answers.parsed(text), self.hide)
        except answers.Garbage:
            kept["body"] = answers.storable(text)
        return kept

    def _failure(self, reply: http_call.Reply) -> Failure:
        shown = " ".join(self.hide(reply.text).split())[:_SHOWN]
        error = f"{reply.status} {reply.reason}" + (f": {shown}" if shown else "")
        again = reply.status in self.config.retry or reply.status in _LATER or reply.status >= 500
        if not again or reply.status in self.config.final:
            return Refused(error, reply.status)
        wait_s = retry_after_s(reply.headers)
        if wait_s is None:
            return Failure(error, ALLOW_RETRY)
        after = timedelta(seconds=min(wait_s, self.config.retry_after_max))
        return Failure(error, KEEP_ALIVE if reply.status in _PATIENT else ALLOW_RETRY, after=after)


class Refused(Failure):
    """Final, by its status."""

    def __init__(self, error: str, status: int) -> None:
        super().__init__(error, SUDDEN_DEATH)
        self.status = status


def retry_after_s(headers: Any) -> float | None:
    """Retry-After: seconds, or a date, which is compared with the date of the answer itself; None = not understood."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (_moment(value) - _moment(headers.get("date", ""))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def make(name: str, config: dict[str, Any]) -> Processor:
    """From a row of actiond.processor. ProcessorInvalid names the field that is wrong."""
    target = Target(read(HttpConfig, name, config))

    async def row(action: Action[Any]) -> dict[str, Any]:
        return target.kept(await target.ask(action, target.body(action)))

    async def batch(rows: Batch[Any]) -> None:
        await _batch(target, list(rows))

    timeout_s = target.config.timeout
    if target.config.per == "row":
        return processor(name, timeout=f"{timeout_s + 10:.3f} s")(row)
    return batch_processor(name, timeout=f"{timeout_s * _BATCHES + 10:.3f} s")(batch)


async def _batch(target: Target, actions: Sequence[Action[Any]]) -> None:
    """One request for all. A server that refuses it because of its content gets it in halves, down to the one row."""
    body = ("[" + ",\n".join(map(answers.told, actions)) + "]").encode()
    try:
        reply = await target.ask(None, body)
    except Failure as failure:
        if isinstance(failure, Refused) and failure.status in _TOO_MUCH_OR_WRONG and len(actions) > 1:
            middle = len(actions) // 2
            await _batch(target, actions[:middle])
            await _batch(target, actions[middle:])
            return
        failed = failure.failed
        for action in actions:
            action.fail(failed.error, failed.behavior, after=failed.after)
        return
    for action, error in _outcomes(target, reply, actions):
        action.fail(target.hide(error))


def _outcomes(target: Target, reply: http_call.Reply, actions: Sequence[Action[Any]]) -> list[tuple[Action[Any], str]]:
    """Marks what the reply tells of; gives those of which it tells nothing, and why."""
    if reply.cut:
        return [(action, f"the answer has more than {len(reply.body)} bytes") for action in actions]
    try:
        items = answers.parsed(reply.body)
        if not isinstance(items, list):
            raise answers.Garbage("the answer is no array")
    except answers.Garbage as garbage:
        return [(action, str(garbage)) for action in actions]
    untold = {action.id: (action, "the answer does not tell of it") for action in actions}
    for item in items:
        id_ = item.get("id") if isinstance(item, dict) else None
        if not isinstance(id_, int) or id_ not in untold:
            continue  # of nobody that was asked about, or twice
        action = untold[id_][0]
        try:
            answers.mark(action, answers.answer_of(item), target.hide)
        except answers.Garbage as garbage:
            untold[id_] = (action, str(garbage))
        else:
            del untold[id_]
    return list(untold.values())
