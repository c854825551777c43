"""What can become of one action.

Rule 1. Every change of status is a row of TRANSITIONS; what is not there cannot happen.
Rule 2. This module knows no database, no clock and no task.

`running` is derived: a row is stored as pending while a daemon holds its claim. The SQL that changes a
status (step, rescue, give_back, changed_by_hand, act) is tested against this table.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """A status as people see it; all but RUNNING are stored."""

    PENDING = "pending"
    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})


class Cause(StrEnum):
    """Why a status changes."""

    CLAIM = "claim"
    # what a handler's mark came to
    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "retried"
    DEFERRED = "deferred"
    WAITING = "waiting"
    REPEATED = "repeated"
    CANCELED = "canceled"
    # without a mark
    GIVEN_BACK = "given back"
    RESCUED = "rescued"
    QUARANTINED = "quarantined"
    # by hand
    HOLD = "hold"
    CANCEL = "cancel"
    RELEASE = "release"


TRANSITIONS: dict[tuple[Status, Cause], Status] = {
    (Status.PENDING, Cause.CLAIM): Status.RUNNING,
    (Status.RUNNING, Cause.COMPLETED): Status.COMPLETED,
    (Status.RUNNING, Cause.FAILED): Status.FAILED,
    (Status.RUNNING, Cause.RETRIED): Status.PENDING,
    (Status.RUNNING, Cause.DEFERRED): Status.PENDING,
    (Status.RUNNING, Cause.WAITING): Status.HELD,  # released when none of its children is open
    (Status.RUNNING, Cause.REPEATED): Status.PENDING,  # a recurring action, at the next time of its grid
    (Status.RUNNING, Cause.CANCELED): Status.CANCELED,
    (Status.RUNNING, Cause.GIVEN_BACK): Status.PENDING,
    (Status.RUNNING, Cause.RESCUED): Status.PENDING,
    (Status.RUNNING, Cause.QUARANTINED): Status.FAILED,
    # A person's word beats a late outcome, so running rows can be held and canceled like pending ones.
    (Status.RUNNING, Cause.HOLD): Status.HELD,
    (Status.RUNNING, Cause.CANCEL): Status.CANCELED,
    (Status.PENDING, Cause.HOLD): Status.HELD,
    (Status.PENDING, Cause.CANCEL): Status.CANCELED,
    (Status.HELD, Cause.CANCEL): Status.CANCELED,
    (Status.FAILED, Cause.CANCEL): Status.CANCELED,
    (Status.HELD, Cause.RELEASE): Status.PENDING,
    (Status.FAILED, Cause.RELEASE): Status.PENDING,
    (Status.CANCELED, Cause.RELEASE): Status.PENDING,
}


class Verb(StrEnum):
    """What people ask for by name; each is one cause, or changes no status at all."""

    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    RUN_NOW = "run_now"


#: What a verb takes, and what that leads to. `run_now` takes pending rows, too, which stay pending; `release` leaves
#: what failed to `retry`. The SQL has the same in actiond.verb_takes.
VERBS: dict[Verb, tuple[Cause, frozenset[Status]]] = {
    Verb.CANCEL: (Cause.CANCEL, frozenset({Status.PENDING, Status.RUNNING, Status.HELD, Status.FAILED})),
    Verb.HOLD: (Cause.HOLD, frozenset({Status.PENDING, Status.RUNNING})),
    Verb.RELEASE: (Cause.RELEASE, frozenset({Status.HELD, Status.CANCELED})),
    Verb.RETRY: (Cause.RELEASE, frozenset({Status.HELD, Status.FAILED, Status.CANCELED})),
    Verb.RUN_NOW: (Cause.RELEASE, frozenset({Status.PENDING, Status.HELD, Status.FAILED, Status.CANCELED})),
}
