"""A real mail server in a process of its own: python mail_server.py FOLDER [CERTIFICATE KEY]

It prints its port (and `forgotten`, at the start and when SIGHUP has made it forget), writes each letter it accepts
to a file in FOLDER, and does to some recipients what their name says. With a certificate it offers STARTTLS and then
asks for user `shop` with password `open sesame`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from itertools import count
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Faults:
    """Each letter ends as its recipients are called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._met: dict[str, int] = {}
        self.forget()

    def forget(self) -> None:
        """As at the start: for the next test."""
        self._sessions, self._letters = count(1), count(1)
        self._met.clear()
        for path in self._folder.glob("*.json"):
            path.unlink()
        print("forgotten", flush=True)

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, said: list[str]) -> list[str]:
        session.host_name = hostname
        session.number = next(self._sessions)
        return said

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, sender: str, options: Any) -> str:
        if sender.startswith("unwelcome"):
            return "550 you may not send here"
        envelope.mail_from = sender
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        name = address.partition("@")[0]
        self._met[address] = self._met.get(address, 0) + 1
        if name == "greylisted" and self._met[address] == 1:
            return "451 4.7.1 come back later"
        if name == "unknown":
            return "550 5.1.1 no such user"
        if name == "hasty" and self._met[address] == 1:
            session.number = -session.number  # marked: the next letter meets a closed door
            server.transport.close()
            return "421 closing"
        if name == "tired" and self._met[address] == 1:
            return "421 4.3.2 too many letters"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        names = {address.partition("@")[0] for address in envelope.rcpt_tos}
        if "spam" in names:
            return "554 5.7.1 this looks like spam"
        if "full" in names:
            return "452 4.2.2 mailbox full"
        letter = {"session": session.number, "hello": session.host_name, "tls": session.ssl is not None}
        letter |= {"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": envelope.content.decode("ascii")}
        (self._folder / f"{next(self._letters):04}.json").write_text(json.dumps(letter))
        if "dropped" in names:
            server.transport.abort()
        return "250 kept"


def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    """One user."""
    known = (data.login, data.password) == (b"shop", b"open sesame")
    return AuthResult(success=known, handled=False)  # the server says so to the client


async def serve(folder: Path, certificate: list[str]) -> None:
    """Until the process is ended."""
    faults, options = Faults(folder), {}
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        options = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": authenticator,
        }
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, faults.forget)
    server = await loop.create_server(lambda: SMTP(faults, hostname="mail.test", **options), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2:]))
