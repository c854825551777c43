"""Does a DSN lead over a network on which somebody else could answer? Pure: the texts are given.

Only `sslmode=verify-full` makes sure that whoever answers is the host that was meant; the modes below it encrypt for
whoever answers, and the usual one (`prefer`) does without when it is told that there is no TLS. What stays on this
machine is left alone: a unix socket, localhost, 127.0.0.0/8, ::1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

SAFE = "verify-full"


def unverified(dsn: str, environ: Mapping[str, str]) -> list[str]:
    """The hosts that would be trusted unseen, in order; none if the DSN verifies, or leads nowhere far."""
    try:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
    except ValueError:  # whoever connects will say what is wrong with it
        return []
    if query.get("sslmode", [environ.get("PGSSLMODE", "")])[-1] == SAFE:
        return []
    said = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", [])) or environ.get("PGHOST", "")
    hosts = [_host(unquote(each)) for each in said.split(",")]
    return [host for host in dict.fromkeys(hosts) if not _here(host)]


def _host(place: str) -> str:
    """Without its port."""
    place = place.strip()
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.startswith(("/", "@")) or place.count(":") > 1 else place.partition(":")[0]


def _here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
