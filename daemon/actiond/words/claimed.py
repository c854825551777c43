"""One claimed row, as the claim gives it. Payloads stay text here: they are decoded one by one, later."""

from __future__ import annotations

from typing import NamedTuple


class ClaimedRow(NamedTuple):
    """The columns of sql/step.sql, in their order."""

    id: int
    related: str | None
    data: str  # JSON
    state: str | None  # JSON
    retries_left: int | None  # None = the processor's
    attempts: int  # this one included
    crashes: int
    priority: int
    due_s: float  # next_eligible_at, seconds since 1970: a number is read at a third of the cost of a datetime
    waited_s: float  # due until claimed
    repeats: bool = False  # it has a repeat_every
    trace: str | None = None  # W3C traceparent of the producer's span
    created_by: str = ""  # role


class Settlement(NamedTuple):
    """What is written back for one action."""

    id: int
    run_id: int
    kind: str  # completed, failed, retried, deferred, waiting, repeated, canceled
    error: str | None = None  # 1,000 characters
    delay_s: float | None = None
    retries_left: int | None = None  # None = as it is
    result: str | None = None  # JSON
    state: str | None = None  # JSON
    noted: bool = False  # written to history
    detail: str | None = None  # the full text, for history
