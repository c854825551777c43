"""A coroutine that was made and never awaited is work that was silently lost.

Python says so in a RuntimeWarning, at the moment the coroutine is thrown away. That moment is inside the call
that made it (reference counting), so a context variable tells whose it was. This replaces nothing: the warning
is shown as before.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

_heard: ContextVar[list[str] | None] = ContextVar("actiond_never_awaited", default=None)
_MESSAGE = re.compile(r"coroutine '(.+)' was never awaited")


def listen() -> list[str]:
    """Names of coroutines that are thrown away from now on in this context (and threads started from it)."""
    _hook()
    names: list[str] = []
    _heard.set(names)
    return names


def heard(name: str) -> None:
    """One that was returned to us, who cannot await it."""
    names = _heard.get()
    if names is not None:
        names.append(name)


def _hook() -> None:
    """Once per process; again when somebody (a test runner) has put another hook in place."""
    if getattr(warnings.showwarning, "of_actiond", False):
        return
    shown = warnings.showwarning
    warnings.filterwarnings("always", message=r"coroutine .* was never awaited", category=RuntimeWarning)

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        names = _heard.get()
        found = _MESSAGE.match(str(message)) if issubclass(category, RuntimeWarning) else None
        if names is not None and found:
            names.append(found.group(1))
        else:
            shown(message, category, *where, **more)

    marked: Callable[..., None] = show
    marked.of_actiond = True  # type: ignore[attr-defined]
    warnings.showwarning = show
