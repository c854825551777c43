"""Optional packages, in one place: the only imports on demand outside the command line."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import EntryPoint
from typing import Any

from actiond.words.errors import OperatorError

#: As in the metadata of a package: httpx>=0.27; extra == "http"
_OF_AN_EXTRA = re.compile(r"""(?P<package>[\w.-]+).*;.*\bextra *== *["'](?P<extra>[\w.-]+)["']""")


def uvloop_installed() -> bool:
    """Extra [fast]: a quicker event loop."""
    return importlib.util.find_spec("uvloop") is not None


def load(entry: EntryPoint) -> Any:
    """What an entry point names. OperatorError if it needs an extra that is not installed, and says which."""
    try:
        return entry.load()
    except ModuleNotFoundError as missing:
        extra = _extra_with(entry, missing.name or "")
        if extra is None or entry.dist is None:
            raise
        wanted = f"pip install '{entry.dist.name}[{extra}]'"
        raise OperatorError(f"{entry.name!r} needs the package {missing.name}, which is not here: {wanted}") from None


def _extra_with(entry: EntryPoint, module: str) -> str | None:
    """The extra that would have brought this module; packages and their modules have one name here."""
    for requirement in (entry.dist.requires if entry.dist else None) or ():
        found = _OF_AN_EXTRA.match(requirement)
        if found and re.sub(r"[-.]", "_", found["package"]).lower() == module.partition(".")[0].lower():
            return found["extra"]
    return None
