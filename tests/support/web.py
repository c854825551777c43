"""A real HTTP server on this machine, in a thread, that does to clients whatever a test wants."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """As it came."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int  # the port of the client: the same for requests on one connection


@dataclass
class Web:
    """`say(path, do, do, ...)`: each request for that path gets the next, the last one again and again."""

    port: int = 0
    seen: list[Request] = field(default_factory=list)
    plans: dict[str, list[Callable[[Any], None]]] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)  # what is slow goes on

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def say(self, path: str, *plan: Callable[[Any], None]) -> str:
        self.plans[path] = list(plan)
        return self.url(path)

    def next(self, path: str) -> Callable[[Any], None]:
        plan = self.plans.get(path.partition("?")[0], [reply(404, b"not here")])
        return plan.pop(0) if len(plan) > 1 else plan[0]


def reply(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], None]:
    """A whole answer; `retry_after="7"` is the header Retry-After."""

    def do(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return do


def reset_in_the_body(handler: BaseHTTPRequestHandler) -> None:
    """Half an answer, then a reset."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Something else."""
    handler.wfile.write(b"\x00\x01 this is no HTTP \xff\r\n\r\n")
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A body without an end, until the client has had enough."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        handler.close_connection = True


def slow(web: Web) -> Callable[[Any], None]:
    """No answer until the test is over."""

    def do(handler: BaseHTTPRequestHandler) -> None:
        web.released.wait(30)
        handler.close_connection = True

    return do


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away; that is what the tests are about."""


@contextmanager
def web_server() -> Iterator[Web]:
    """It runs; whatever it still does at the end is let go."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.seen.append(Request(self.command, self.path, headers, body, self.client_address[1]))
            web.next(self.path)(self)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Not on the screen of the tests."""

    server = _Server(("127.0.0.1", 0), Handler)
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
