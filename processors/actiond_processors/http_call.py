"""One request and its answer: what is sent, how far it may lead, how much of the answer is read.

The host of the URL is the operator's. A row can fill places in the path and the query, percent-encoded, and never
reaches another path than the one that is written: an empty place, `.` and `..` are refused. Redirects are followed to
the same scheme, host and port only, and never so that the request becomes another one.
"""

from __future__ import annotations

import hashlib
import hmac
import http.cookiejar
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import httpx
from anyio.lowlevel import RunVar

from actiond import ALLOW_RETRY, KEEP_ALIVE, SUDDEN_DEATH, Action, Failure
from actiond_processors.template import Template

_AS_IT_WAS = (307, 308)  # redirects that keep method and body
_ANY_OTHER = (301, 302, 303)
_client: RunVar[httpx.AsyncClient] = RunVar("actiond_http_client")


def client() -> httpx.AsyncClient:
    """The one of this daemon, with its pool of connections. It keeps no cookies: rows know nothing of each other."""
    try:
        return _client.get()
    except LookupError:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each request, with its URL
        made = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - each request has a deadline of its own
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
        )
        _client.set(made)
        return made


async def close_client() -> None:
    """For tests and programs that go on after the daemon; a process that ends needs it not."""
    try:
        made = _client.get()
    except LookupError:
        return
    _client.set(httpx.AsyncClient())
    await made.aclose()


class Url:
    """A URL with placeholders in path and query. ValueError if they stand elsewhere, or if it is none."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        if parts.port == 0:  # asking for it raises if it is none
            raise ValueError("there is no port 0")
        if parts.scheme not in ("http", "https") or not parts.hostname or "${" in parts.netloc or "\\" in parts.netloc:
            raise ValueError("a URL begins with http:// or https:// and a host, which no row can change")
        if "@" in parts.netloc:
            raise ValueError('no user and password in a URL: use headers, with {"secret": "name"}')
        if parts.fragment:
            raise ValueError("a fragment (#...) is not sent")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a URL has ASCII characters only, and no spaces: percent-encode the others")
        self._path = Template(parts.path, _in_path)
        self._query = Template(f"?{parts.query}" if parts.query else "", _quoted)
        self.has_places = bool(self._path.paths or self._query.paths)

    def of(self, action: Action[Any] | None) -> str:
        """For this row; None where there are no placeholders. Failure, which is final."""
        filler: Any = action
        try:
            path = self._path.fill(filler)
        except ValueError as wrong:
            raise Failure(str(wrong), SUDDEN_DEATH) from None
        return self.origin + path + self._query.fill(filler)


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _in_path(value: str) -> str:
    if not value or any(part in (".", "..") for part in re.split(r"[/\\]", value)):
        raise ValueError(f"{value!r} in a path would lead to another one")
    return quote(value, safe="")


@dataclass(frozen=True, slots=True)
class Signature:
    """HMAC-SHA256, in hex, of `timestamp.body`, with the timestamp in seconds since 1970."""

    key: bytes
    header: str
    timestamp_header: str

    def headers(self, body: bytes) -> dict[str, str]:
        """Both, for this body and now. The receiver compares it with its own clock, so it is that of this host."""
        timestamp = str(int(time.time()))
        digest = hmac.new(self.key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {self.timestamp_header: timestamp, self.header: digest}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    cut: bool  # there was more than is read
    charset: str

    @property
    def text(self) -> str:
        """Whatever bytes it has."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")


async def call(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float, read_max: int, hops: int
) -> Reply:
    """Send, and read up to `read_max` bytes. Failure for whatever is no answer."""
    try:
        with anyio.fail_after(timeout_s):
            return await _call(client().build_request(method, url, headers=headers, content=body), read_max, hops)
    except TimeoutError:
        raise Failure(f"no answer within {timeout_s:g} s", ALLOW_RETRY) from None
    except (httpx.ConnectError, httpx.ProxyError) as error:  # nothing was sent: no row is to blame
        raise Failure(f"the server cannot be reached: {error}", KEEP_ALIVE) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{type(error).__name__}: {error}".removesuffix(": "), ALLOW_RETRY) from None


async def _call(request: httpx.Request, read_max: int, hops: int) -> Reply:
    for _ in range(hops + 1):
        response = await client().send(request, stream=True)
        try:
            if response.next_request is None:
                return await _read(response, read_max)
            request = _next(request, response)
        finally:
            await response.aclose()
    raise Failure(f"more than {hops} redirects", SUDDEN_DEATH)


def _next(request: httpx.Request, response: httpx.Response) -> httpx.Request:
    following = response.next_request
    assert following is not None
    here, there = request.url, following.url
    if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
        raise Failure(
            f"{response.status_code}: redirected to {there.scheme}://{there.netloc.decode()}, which is not followed",
            SUDDEN_DEATH,
        )
    harmless = request.method in ("GET", "HEAD") and response.status_code in _ANY_OTHER
    if response.status_code not in _AS_IT_WAS and not harmless:
        raise Failure(
            f"{response.status_code}: redirected to {there.path}, and a {request.method} would not be one there",
            SUDDEN_DEATH,
        )
    return following


async def _read(response: httpx.Response, read_max: int) -> Reply:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Failure("the answer is compressed, which was not asked for", ALLOW_RETRY)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > read_max:
            break
    return Reply(
        response.status_code,
        response.reason_phrase,
        response.headers,
        bytes(body[:read_max]),
        len(body) > read_max,
        response.charset_encoding or "utf-8",
    )
