"""Which action runs here: what its handler enqueues becomes its child, of the same trace.

A context variable, so it follows the handler into its tasks and its thread. A batch handler holds many actions and
says itself whose children it makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_running: ContextVar[tuple[int | None, str | None]] = ContextVar("actiond_running", default=(None, None))


@contextmanager
def running(action_id: int | None, trace: str | None = None) -> Iterator[None]:
    """Around the call of a handler."""
    token = _running.set((action_id, trace))
    try:
        yield
    finally:
        _running.reset(token)


def parent() -> int | None:
    """The action whose handler we are in; None: we are in none, or in one that holds many."""
    return _running.get()[0]


def trace() -> str | None:
    """What that action belongs to, as a W3C traceparent."""
    return _running.get()[1]
