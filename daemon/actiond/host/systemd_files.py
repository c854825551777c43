"""The files that make this host run an instance of the daemon, made from those of the folder deploy/.

The unit and the user are the program's own: they are replaced when they differ, because what a host changes stands in
drop-ins. The settings are the host's: they are made once and never touched again. The DSN holds a password, so it is
never written here; the next steps say how.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from actiond.words.errors import SettingInvalid

PROGRAM = "/opt/actiond/bin/actiond"  # as the unit in deploy/ has it
#: What may stand between @ and .service without being escaped, and is one name in a folder.
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
#: Folders that the unit closes to the service.
_CLOSED = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108


@dataclass(frozen=True, slots=True)
class File:
    """One file of the host."""

    path: str  # absolute
    mode: int
    text: str
    ours: bool  # replaced when it differs

    def state(self, root: Path) -> str:
        """What writing it below this folder would do: new, same, replaced, kept."""
        there = self.below(root)
        if not there.exists():
            return "new"
        if there.read_text() == self.text:
            return "same"
        return "replaced" if self.ours else "kept"

    def below(self, root: Path) -> Path:
        """Its place in another root."""
        return root / self.path.removeprefix("/")

    def write(self, root: Path) -> None:
        """At once and whole: systemd never reads half of it. OSError."""
        there = self.below(root)
        there.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        half = there.with_name(f".{there.name}.new")
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.mode)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, self.mode)  # whatever the umask says
            file.write(self.text)
        half.replace(there)


def files(folder: Path, instance: str, program: str) -> list[File]:
    """Of `folder` (deploy/), for this instance and the program at this path. SettingInvalid."""
    if not _INSTANCE.fullmatch(instance):
        raise SettingInvalid(
            f"{instance!r} cannot be the name of an instance: letters, digits and _ . : - (at most 64)"
        )
    if not program.startswith("/") or re.search(r"[\s%$\"'\\]", program):
        raise SettingInvalid(f"{program!r} cannot stand in a unit: give an absolute path without spaces, % and quotes")
    unit = (folder / "actiond@.service").read_text().replace(f"ExecStart={PROGRAM} run", f"ExecStart={program} run")
    return [
        File("/etc/systemd/system/actiond@.service", 0o644, unit, ours=True),
        File("/etc/sysusers.d/actiond.conf", 0o644, (folder / "actiond.sysusers").read_text(), ours=True),
        File(f"/etc/actiond/{instance}.env", 0o600, (folder / "actiond.env").read_text(), ours=False),
    ]


def next_steps(instance: str, program: str) -> list[str]:
    """The commands that remain, for root."""
    return [
        "systemd-sysusers",
        f"install -m 0600 /dev/null /etc/actiond/{instance}.dsn",
        f"editor /etc/actiond/{instance}.dsn    # one line: postgresql://...",
        f'ACTIOND_DSN="$(cat /etc/actiond/{instance}.dsn)" {program} migrate',
        "systemctl daemon-reload",
        f"systemctl enable --now actiond@{instance}",
        f"systemctl status actiond@{instance}",
    ]


def closed_to_it(program: str) -> bool:
    """Would the unit hide this program from the service?"""
    return any(program.startswith(f"{folder}/") for folder in _CLOSED)
