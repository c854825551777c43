"""Where HTTP is served: a port, or a unix socket.

Whoever can reach a port can read from it, so one that other hosts can reach is refused without a token; who may
open a unix socket is said by its file.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from actiond.words.errors import OperatorError

_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+):(?P<port>\d{1,5})", re.ASCII)
_LONGEST_PATH = 100  # bytes, of a unix socket
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Address:
    """`path`: a unix socket; else host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def loopback(self) -> bool:
        """Only this host can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name: who knows where it leads
            return False

    @property
    def hosts(self) -> frozenset[str]:
        """What a client may call it."""
        return frozenset({self.host.lower(), *(_LOCAL if self.loopback else ())})

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]" if ":" in self.host else self.host) + f":{self.port}"


def parse(text: str) -> Address:
    """127.0.0.1:9464, [::1]:9464, localhost:9464, /run/actiond/main/http.sock. ValueError for anything else."""
    if text.startswith("/"):
        if len(text.encode()) > _LONGEST_PATH:
            raise ValueError(f"the path of a unix socket has at most {_LONGEST_PATH} bytes")
        return Address(path=text)
    found = _PORT.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError("write 127.0.0.1:9464, [::1]:9464 or the path of a unix socket, /run/actiond/main/http.sock")
    return Address(host=found["host"].strip("[]"), port=int(found["port"]))


def bind(address: Address) -> socket.socket:
    """A socket that listens. OperatorError says why there is none."""
    try:
        return _unix(address.path) if address.path else _port(address)
    except (OSError, OverflowError) as refused:
        why = refused.strerror if isinstance(refused, OSError) and refused.strerror else refused
        raise OperatorError(f"ACTIOND_HTTP: {address} cannot be listened on: {why}") from None


def bound(sock: socket.socket, address: Address) -> Address:
    """The address with the port that it got, where 0 left the choice to the system."""
    return address if address.path else replace(address, port=sock.getsockname()[1])


def _port(address: Address) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(path: str) -> socket.socket:
    """The file of a daemon that was killed is replaced; one that somebody listens on is not."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(Path(path).stat().st_mode):
                _forget_if_dead(path)
        sock.bind(path)
        Path(path).chmod(0o660)
        sock.listen(64)
    except OSError:
        sock.close()
        raise
    return sock


def _forget_if_dead(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)


def release(sock: socket.socket, address: Address) -> None:
    """Close, and take the file of a unix socket away."""
    sock.close()
    if address.path:
        Path(address.path).unlink(missing_ok=True)
