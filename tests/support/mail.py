"""The mail server of `mail_server.py`, started and ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import pytest

_PROGRAM = Path(__file__).with_name("mail_server.py")


@dataclass(frozen=True)
class Mail:
    """A server that runs."""

    port: int
    folder: Path
    certificate: Path | None = None
    process: subprocess.Popen[str] | None = None

    def forget(self) -> None:
        """Letters, sessions, and whom it has met."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGHUP)
        self.process.stdout.readline()

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The letters it took, in order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]

    @property
    def letters(self) -> list[EmailMessage]:
        """The same, parsed."""
        return [cast("EmailMessage", message_from_string(each["text"], policy=default)) for each in self.kept]


@contextmanager
def mail_server(folder: Path, tls: bool = False) -> Iterator[Mail]:
    """It runs until the block ends. With `tls` it has a certificate for localhost, made for this test."""
    made = _certificate(folder) if tls else []
    command = [sys.executable, str(_PROGRAM), str(folder), *map(str, made)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # forgotten
        yield Mail(int(process.stdout.readline()), folder, made[0] if made else None, process)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _certificate(folder: Path) -> list[Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed here, and only it can make a certificate for a test")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    command = [openssl, *made.split(), "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return [certificate, key]
