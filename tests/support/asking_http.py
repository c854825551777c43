"""Asking a daemon over HTTP, with the client of the standard library."""

from __future__ import annotations

import asyncio
import http.client
import socket
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    text: str
    headers: dict[str, str]

    def value(self, name: str, **labels: str) -> float | None:
        """Of one sample of /metrics; None if there is none."""
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None


class _Unix(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = connected(self.host)


def connected(at: str) -> socket.socket:
    """A connection to a port or to a unix socket, not yet used."""
    if at.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(at)
        return sock
    host, _, port = at.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), 10)


def ask(at: str, path: str, method: str = "GET", **headers: str) -> Reply:
    """One request; `Host` and others may be given."""
    if at.startswith("/"):
        client: Any = _Unix(at)
    else:
        client = http.client.HTTPConnection(at, timeout=10)
    try:
        client.request(method, path, headers=headers)
        answer = client.getresponse()
        return Reply(answer.status, answer.read().decode(), {name.lower(): v for name, v in answer.getheaders()})
    finally:
        client.close()


async def get(at: str, path: str, **headers: str) -> Reply:
    """The same, without holding up the test's loop."""
    return await asyncio.to_thread(ask, at, path, **headers)
