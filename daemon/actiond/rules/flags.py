"""Feature flags: names that are on or off. What asks for a flag that is off waits, until it is on.

A flag that nobody has set is off: code that asks for one is dark until somebody switches it on. So a misspelt name
loses nothing; `actiond doctor` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NO_FLAG = "none"
SETTING = "flag:"  # a flag is a row of actiond.setting: this and its name, true or false
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # as the schema has it


def on(flag: str | None, flags: Mapping[str, bool]) -> bool:
    """May what asks for this flag go on?"""
    return flag is None or flag == NO_FLAG or flags.get(flag, False)


def of_settings(settings: Mapping[str, object]) -> dict[str, bool]:
    """Name -> on."""
    return {name.removeprefix(SETTING): value is True for name, value in settings.items() if name.startswith(SETTING)}


def written(name: object) -> str:
    """The same. ValueError for what is no name of a flag."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"a name of letters, digits, _ . -, at most 100 characters, or 'none', not {name!r}")
    return name
