"""/metrics, /healthz and /readyz over HTTP, from a thread with a loop of its own.

A thread, so that neither a slow client nor a long answer holds up the daemon, and so that a daemon whose loop is
blocked can still say so. What only the main loop knows is asked there, and not waited for longer than ANSWER_S.
The server itself is uvicorn; here is what it answers and to whom:

    Host         a name or an address of this host, so that no web page gets here by a name of its own
    token        if one is set, for every path
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from actiond.host import extras, http_address
from actiond.host.http_address import Address
from actiond.host.log import get_logger
from actiond.host.settings import Settings
from actiond.service.exposition import Exposition
from actiond.service.watched import Look, Watched
from actiond.words.log_lines import LogLine

ANSWER_S = 2.0  # how long the main loop may take to say what it knows
STOP_S = 1.0  # how long requests may take to end when the daemon does
CLIENTS_MAX = 32
_PLAIN = "text/plain; charset=utf-8"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = get_logger()


class Answer(NamedTuple):
    """Of one request."""

    status: int
    body: bytes
    kind: str = _PLAIN


class Http:
    """The application, as ASGI wants it."""

    def __init__(self, settings: Settings, address: Address, watched: Watched, core: Any, encoder: Any) -> None:
        self._token = settings.http_token.get_secret_value() if settings.http_token else ""
        named = {name.strip().lower() for name in settings.http_hosts.split(",") if name.strip()}
        self._hosts = {*named, *address.hosts, socket.gethostname().lower()}
        self._any_host = bool(address.path)  # no web page can open a unix socket
        self._watched = watched
        self._core = core
        self._encoder = encoder
        self._process = core.process_collector()
        self._main = asyncio.get_running_loop()

    async def __call__(self, scope: MutableMapping[str, Any], _receive: object, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        answer = self._refusal(scope["method"], headers)
        if answer is None:
            answer = await self._answer(scope["path"], headers)
        more = [(b"www-authenticate", b"Bearer")] if answer.status == 401 else []
        lines = [
            (b"content-type", answer.kind.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *more,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    def _refusal(self, method: str, headers: dict[bytes, str]) -> Answer | None:
        if not self._any_host and not self._may_be_called(headers.get(b"host", "")):
            return Answer(421, b"this is not the host you asked for (see ACTIOND_HTTP_HOSTS)\n")
        given = headers.get(b"authorization", "").encode("latin-1")
        if self._token and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return Answer(401, b"a token is needed\n")
        return None if method in ("GET", "HEAD") else Answer(405, b"GET and HEAD\n")

    def _may_be_called(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._hosts:
            return True
        try:  # an address in numbers cannot be somebody's name for this host
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _answer(self, path: str, headers: dict[bytes, str]) -> Answer:
        match path:
            case "/healthz":
                return _said([stalled] if (stalled := self._watched.stalled()) else [])
            case "/readyz":
                return _said((await self._look()).unready)
            case "/metrics":
                look = await self._look()
                encode, kind = self._encoder(headers.get(b"accept", ""))
                shown = Exposition(self._core, self._watched, look)
                return Answer(200, encode(_Together(shown, self._process)), kind)
        return Answer(404, b"there are /metrics, /healthz and /readyz\n")

    async def _look(self) -> Look:
        asked = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._watched.look(), self._main))
        done, _ = await asyncio.wait({asked}, timeout=ANSWER_S)
        return asked.result() if done else Look((f"the daemon did not answer within {ANSWER_S:g} s",))


class _Together:
    """Several collectors as one."""

    def __init__(self, *collectors: Any) -> None:
        self._collectors = collectors

    def collect(self) -> Any:
        return (family for each in self._collectors for family in each.collect())


def _said(wrong: list[str] | tuple[str, ...]) -> Answer:
    """200 ok, or 503 and a line for each reason."""
    return Answer(503 if wrong else 200, "".join(f"{reason}\n" for reason in wrong or ["ok"]).encode())


@asynccontextmanager
async def serving(settings: Settings, watched: Watched) -> AsyncIterator[None]:
    """Serve while inside, if the settings say where. OperatorError: the extra is missing, the address is taken."""
    if not settings.http:
        yield
        return
    parts = extras.metrics()
    address = http_address.parse(settings.http)
    sock = http_address.bind(address)
    address = http_address.bound(sock, address)
    server = parts.server(Http(settings, address, watched, parts, parts.encoder), STOP_S, CLIENTS_MAX)
    thread = threading.Thread(target=_serve, args=(server, sock, address), name="actiond http", daemon=True)
    thread.start()
    log.info(LogLine.HTTP_STARTED, at=str(address))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, 2 * STOP_S)  # a thread that takes longer ends with the process
        http_address.release(sock, address)


def _serve(server: Any, sock: socket.socket, address: Address) -> None:
    try:
        asyncio.run(server.serve(sockets=[sock]))
    except Exception as error:  # whatever it is, work goes on
        log.error(LogLine.HTTP_FAILED, at=str(address), error=error)
