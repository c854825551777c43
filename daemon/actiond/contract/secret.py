"""Secrets by name: none stands in a table, in code or in a payload.

The value of `name` is in the variable ACTIOND_SECRET_NAME of this process, else in the file `name` of the credentials
folder of systemd ($CREDENTIALS_DIRECTORY).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_OF_THE_DAEMON = {"dsn", "listen_dsn", "actiond_dsn", "actiond_listen_dsn"}  # systemd has them in the same folder


def secret(name: str) -> str:
    """Its value, as it is now. ValueError says why there is none, and what to do."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("the name of a secret has letters, digits and _ . - only")
    if name in _OF_THE_DAEMON:
        raise ValueError(f"{name!r} is the daemon's own")
    variable = "ACTIOND_SECRET_" + re.sub(r"\W|[.-]", "_", name).upper()
    value = os.environ.get(variable) or _of_file(name)
    if not value:
        raise ValueError(
            f"there is no secret {name!r}: set {variable}, or put a file {name} into the credentials folder"
        )
    return value


def _of_file(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ""
    try:
        return Path(folder, name).read_text("utf-8").strip("\r\n")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as wrong:  # ValueError: no UTF-8; what it is must not be shown
        raise ValueError(f"the file of secret {name!r} cannot be read: {_why(wrong)}") from None


def _why(wrong: Exception) -> str:
    return str(wrong.strerror) if isinstance(wrong, OSError) else "it is no text"
