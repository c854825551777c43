"""The folder sql/ -> named texts.

One statement a file. A Statements object is handed to the stores by constructor, so that a test can pass a
broken variant; nothing in settings or environment can.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib.resources import files
from pathlib import Path


def _folder(name: str) -> Path:
    packed = Path(str(files("actiond"))) / name
    return packed if packed.is_dir() else Path(__file__).resolve().parents[3] / name


def sql_folder() -> Path:
    """sql/ beside daemon/ in a checkout, actiond/sql in an installed wheel."""
    return _folder("sql")


def deploy_folder() -> Path:
    """deploy/, likewise: units, settings, roles."""
    return _folder("deploy")


@cache
def _text(name: str) -> str:
    return (sql_folder() / f"{name}.sql").read_text()


@dataclasses.dataclass(frozen=True)
class Statements:
    """Statement texts by name: statements["step"]."""

    replaced: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        return dict(self.replaced).get(name) or _text(name)

    def but(self, **texts: str) -> Statements:
        """The same with other texts: for tests that break one on purpose."""
        return Statements((*self.replaced, *texts.items()))


#: Each is a path: `sql_folder() / "migrations"` holds tables, `sql_folder() / "functions"` the rest.
MIGRATIONS = "migrations"
FUNCTIONS = "functions"
