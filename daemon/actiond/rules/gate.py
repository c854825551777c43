"""May this processor claim now, may this row be claimed; if not, why.

One function for the loop and for `explain`: every reason, the deciding one first. The loop knows its daemon and its
processor and asks before each claim; `explain` reads the same facts, and those of one row, from the database. The
SQL function actiond.explain gives the same reasons in the same order: a test holds both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Shut(StrEnum):
    """Why nothing is claimed, in the order of weight. People know a reason by its name in lower case."""

    # of a row that nobody will claim: the only reason there is
    MISSING = "there is no such action"
    COMPLETED = "it is completed"
    FAILED = "it has failed for good"
    CANCELED = "it was canceled"
    RUNNING = "it is running"
    # what somebody has decided, or nobody provides
    WAITS = "it waits for other actions"
    HELD = "it is held"
    FUTURE = "it is not due yet"
    STOPPING = "the daemon is stopping"
    CUT_OFF = "the daemon cannot renew its lease"
    PAUSED = "everything is paused (setting paused)"
    DISABLED = "the processor is disabled"
    FLAG_OFF = "its feature flag is off"
    NO_DAEMON = "no daemon that lives serves the processor"
    UNSAVED = "too many outcomes wait to be saved"
    # what passes by itself, and counts only for a row whose time has come: until then it may change many times
    WINDOW_CLOSED = "the processor runs only in its window, which is closed"
    NOT_WOKEN = "the processor runs only when it is woken, and was not since the row fell due"
    BREAKER = "its breaker is open: too many of its latest outcomes are failures"
    LOCKED = "another session holds a lock on the row"
    RATE = "the rate over all daemons is reached"
    GLOBAL_LIMIT = "the limit over all daemons is reached"
    CONCURRENCY = "every place of its processor is taken"
    SUSPECT = "daemons died on it, and another such row has its turn"
    START_DELAY = "the processor waits for a burst to gather"
    BEHIND = "other rows come first"


#: A row in one of these is in nobody's way, and nothing is in its.
_OVER = {each.name.lower(): each for each in (Shut.MISSING, Shut.COMPLETED, Shut.FAILED, Shut.CANCELED, Shut.RUNNING)}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the gate looks at; the defaults stand in nobody's way."""

    # the daemon
    stopping: bool = False
    cut_off: bool = False
    unsaved: int = 0  # settlements that the database has not confirmed
    unsaved_max: int = 10_000
    # the processor
    paused: bool = False
    enabled: bool = True
    flag_on: bool = True  # or it asks for none
    served: bool = True  # by a daemon that lives
    window_left_s: float = 0.0  # until its window opens
    woken: bool = True  # or it need not be
    breaker_left_s: float = 0.0  # what is left of the pause of its breaker
    probing: bool = False  # its breaker waits for the outcome of a probe
    rate_left_s: float = 0.0  # until its rate allows a row
    global_room: int | None = None  # calls that may start over all daemons; None = no limit
    room: int | None = None  # calls that may start on the daemons that serve it; None = not known
    start_delay_s: float = 0.0  # what is left of it
    # the row; as stored, and `missing`, `running`
    status: str = "pending"
    waits: bool = False  # held until other actions have ended
    due_in_s: float = 0.0
    locked: bool = False
    suspects_turn: bool = True  # a row that daemons died on, if it is one, may be claimed
    ahead: int = 0  # rows that are claimed before it


def shut(now: Circumstances) -> list[Shut]:
    """Every reason that holds, the deciding one first; empty = open."""
    if over := _OVER.get(now.status):
        return [over]
    due = now.due_in_s <= 0 and now.status == "pending"
    return [
        reason
        for reason, holds in (
            (Shut.WAITS, now.status == "held" and now.waits),
            (Shut.HELD, now.status == "held" and not now.waits),
            (Shut.FUTURE, now.due_in_s > 0),
            (Shut.STOPPING, now.stopping),
            (Shut.CUT_OFF, now.cut_off),
            (Shut.PAUSED, now.paused),
            (Shut.DISABLED, not now.enabled),
            (Shut.FLAG_OFF, not now.flag_on),
            (Shut.NO_DAEMON, not now.served),
            (Shut.UNSAVED, now.unsaved >= now.unsaved_max),
            (Shut.WINDOW_CLOSED, due and now.window_left_s > 0),
            (Shut.NOT_WOKEN, due and not now.woken),
            (Shut.BREAKER, due and (now.breaker_left_s > 0 or now.probing)),
            (Shut.LOCKED, due and now.locked),
            (Shut.RATE, due and now.rate_left_s > 0),
            (Shut.GLOBAL_LIMIT, due and now.global_room is not None and now.global_room <= 0),
            (Shut.CONCURRENCY, due and now.room is not None and now.room <= 0),
            (Shut.SUSPECT, due and not now.suspects_turn),
            (Shut.START_DELAY, due and now.start_delay_s > 0),
            (Shut.BEHIND, due and now.ahead > 0),
        )
        if holds
    ]


def name(reason: Shut) -> str:
    """As people and programs write it: `not_woken`."""
    return reason.name.lower()
