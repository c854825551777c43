"""Why a row is not running, in words: the facts that the database gave, through the gate, a sentence a reason.

The facts are a row of actiond.explain_facts (sql/functions/120_explain.sql), its daemons as a list.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actiond.rules.gate import Circumstances, Shut, name, shut
from actiond.rules.rate import doubled
from actiond.words.duration import counted, in_words

AHEAD_AT_MOST = 10_000  # counting stops one beyond it

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: its name, what it means, what it is this time, and what a person can do (empty: wait)."""

    name: str
    meaning: str
    said: str
    remedy: str


def circumstances(facts: Facts) -> Circumstances:
    """What the gate looks at, as the database sees it."""
    limit, calls = facts["global_limit"], facts["calls"]
    woken_at = facts["woken_at"]
    return Circumstances(
        breaker_left_s=facts["probe_in_s"] or 0.0,
        probing=facts["breaker"] == "probing",
        rate_left_s=facts["token_in_s"] or 0.0,
        paused=facts["paused"],
        enabled=facts["enabled"],
        flag_on=facts["flag_on"],
        window_left_s=facts["opens_in_s"] or 0.0,
        served=facts["served"],
        woken=facts["run_on_insert"] or (woken_at is not None and woken_at >= facts["due_at"]),
        global_room=None if limit is None else limit - calls,
        room=facts["room"],
        start_delay_s=facts["start_delay_left_s"],
        status=facts["status"],
        waits=facts["waits_for"] is not None,
        due_in_s=facts["due_in_s"] or 0.0,
        locked=facts["locked_by"] is not None,
        suspects_turn=facts["suspects_turn"],
        ahead=facts["ahead"],
    )


def explain(id_: int, facts: Facts) -> list[Reason]:
    """Every reason, the deciding one first; none = nothing stands in its way."""
    found = []
    for each in shut(circumstances(facts)):
        said, remedy = _SENTENCES[each](id_, facts)
        found.append(Reason(name(each), each.value, said, remedy))
    return found


_Sentence = Callable[[int, Facts], tuple[str, str]]


def _missing(id_: int, facts: Facts) -> tuple[str, str]:
    return f"there is no action {id_}", "`actiond ls` lists the newest"


def _completed(id_: int, facts: Facts) -> tuple[str, str]:
    return f"completed {_ago(facts, 'finished_at')}, at attempt {facts['attempts']}", ""


def _failed(id_: int, facts: Facts) -> tuple[str, str]:
    said = f"failed {_ago(facts, 'finished_at')}, at attempt {facts['attempts']}: {_first_line(facts['error'])}"
    return said, f"run it again: `actiond retry {id_}`"


def _canceled(id_: int, facts: Facts) -> tuple[str, str]:
    by = f" by {facts['said_by']}" if facts["said_by"] else ""
    why = f" ({_first_line(facts['said'])})" if facts["said"] else ""
    return f"canceled {_ago(facts, 'finished_at')}{by}{why}", f"run it after all: `actiond release {id_}`"


def _running(id_: int, facts: Facts) -> tuple[str, str]:
    where = f"daemon {facts['daemon']}" + (f" on {facts['host']}, pid {facts['pid']}" if facts["host"] else "")
    said = f"it runs since {in_words(facts['running_s'])}, in run {facts['run_id']} on {where}"
    if facts["seen_s"] is None:
        return f"{said}, of which nothing is known any more", "`actiond doctor` tells whose rows nobody holds"
    said += f"; last heartbeat {in_words(facts['seen_s'])} ago"
    if facts["daemon_lives"]:
        return said, ""
    left_s = facts["lease_left_s"]
    lease = "its lease is over" if left_s <= 0 else f"its lease is over in {in_words(left_s)}"
    return f"{said}: that daemon seems dead, {lease}", "another daemon that lives returns its rows: `actiond run`"


def _waits(id_: int, facts: Facts) -> tuple[str, str]:
    if facts["waits_for"] == "children":
        left = facts["children_open"]
        if not left:
            return "none of its children is open any more: it is released at once", ""
        return (
            f"it waits for its children, of which {left} {'is' if left == 1 else 'are'} open",
            f"`actiond show {id_}` counts them",
        )
    other, is_now = facts["waits_on"], facts["waits_on_status"]
    until = {"success": "has completed", "failure": "has failed", "end": "has ended"}[facts["waits_for"]]
    return f"it waits until action {other} {until}, which is {is_now}", f"`actiond explain {other}`"


def _held(id_: int, facts: Facts) -> tuple[str, str]:
    if facts["said_by"]:
        said = f"held {_ago(facts, 'said_at')} by {facts['said_by']}"
    else:
        said = f"inserted as held by {facts['created_by']}"
    return said, f"release it: `actiond release {id_}`"


def _future(id_: int, facts: Facts) -> tuple[str, str]:
    said = f"due in {in_words(facts['due_in_s'])}, at {facts['due_at']:%Y-%m-%d %H:%M:%S} UTC"
    if facts["attempts"] and facts["error"]:
        said += f"; attempt {facts['attempts']} ended with: {_first_line(facts['error'])}"
    return said, f"run it now: `actiond run-now {id_}`"


def _paused(id_: int, facts: Facts) -> tuple[str, str]:
    return Shut.PAUSED.value, "go on: `actiond resume --all`"


def _disabled(id_: int, facts: Facts) -> tuple[str, str]:
    processor = facts["processor"]
    return f"{processor!r} is disabled", f"enable it: `actiond resume {shlex.quote(processor)}`"


def _flag_off(id_: int, facts: Facts) -> tuple[str, str]:
    never = "" if facts["flag_set"] else ": nobody has ever set it (is the name right?)"
    return (
        f"the flag {facts['flag']!r} of {facts['flag_of']} is off{never}",
        f"switch it on: `actiond flag on {facts['flag']}`",
    )


def _no_daemon(id_: int, facts: Facts) -> tuple[str, str]:
    processor, daemons = facts["processor"], facts["daemons"]
    living = [each for each in daemons if each["lives"]]
    silent = [each for each in daemons if each["serves"] and not each["lives"]]
    parts = [
        f"daemon {each['id']} on {each['host']} serves {processor!r}, but was last seen {in_words(each['seen_s'])} ago"
        for each in silent[:3]
    ]
    parts += [
        f"daemon {each['id']} on {each['host']} lives and serves {_listed(each['processors'])}" for each in living[:3]
    ]
    parts += [f"{len(living) - 3} more daemons live"] if len(living) > 3 else []
    said = "; ".join(parts) or "no daemon is running"
    names = sorted({served for each in living for served in each["processors"]})
    if not facts["registered"]:
        said += f"; no daemon ever declared {processor!r}"
        close = difflib.get_close_matches(processor, names, 1)
        if close:
            return f"{said}: did you mean {close[0]!r}?", _correct(id_, close[0])
    return said, f"start a daemon that has {processor!r}: `actiond run --processors FILE`"


def _window_closed(id_: int, facts: Facts) -> tuple[str, str]:
    processor, opens = facts["processor"], f"{facts['opens_at']:%Y-%m-%d %H:%M} UTC"
    said = f"{processor!r} runs only {facts['window']}; that begins in {in_words(facts['opens_in_s'])}, at {opens}"
    return said, f"let it run at any time: `actiond set {shlex.quote(processor)} window none`"


def _not_woken(id_: int, facts: Facts) -> tuple[str, str]:
    last = "it never was" if facts["woken_at"] is None else f"the last wake was {_ago(facts, 'woken_at')}"
    said = f"{facts['processor']!r} runs only when it is woken (run_on_insert is off); {last}"
    return said, f"wake it: `actiond wake {shlex.quote(facts['processor'])}`"


def _breaker(id_: int, facts: Facts) -> tuple[str, str]:
    processor, probes = facts["processor"], facts["failed_probes"]
    said = f"the breaker of {processor!r} opened {_ago(facts, 'breaker_opened_at')}, as {_opened_by(facts)}"
    said += f"; {counted(probes, 'probe')} failed since" if probes else ""
    waits = (
        "a probe is under way" if facts["breaker"] == "probing" else f"next probe in {in_words(facts['probe_in_s'])}"
    )
    return f"{said}; {waits}", f"close it at once: `actiond resume {shlex.quote(processor)}`"


def _opened_by(facts: Facts) -> str:
    return f"{facts['breaker_failed']} of the latest {counted(facts['breaker_outcomes'], 'outcome')} were failures"


def _locked(id_: int, facts: Facts) -> tuple[str, str]:
    pid, by = facts["locked_by"], facts["locked_by_name"]
    said = f"the session with pid {pid}{f' ({by})' if by else ''} has changed the row and not committed"
    return said, f"commit there, or end it: `select pg_terminate_backend({pid})`"


def _rate(id_: int, facts: Facts) -> tuple[str, str]:
    processor, rate = facts["processor"], facts["rate"]
    said = f"the rate of {processor!r} is {rate} over all daemons; the next row in {in_words(facts['token_in_s'])}"
    return said, f"allow more: `actiond set {shlex.quote(processor)} rate {doubled(rate)}`"


def _global_limit(id_: int, facts: Facts) -> tuple[str, str]:
    said = f"{_open(facts)}, global_concurrency is {facts['global_limit']}"
    return said, _allow(facts["processor"], "global_concurrency", facts["global_limit"])


def _concurrency(id_: int, facts: Facts) -> tuple[str, str]:
    said = f"{_open(facts)}, and the daemons that serve it have {counted(facts['places'], 'place')}"
    return said, _allow(facts["processor"], "concurrency", facts["places"])


def _suspect(id_: int, facts: Facts) -> tuple[str, str]:
    times = "once" if facts["crashes"] == 1 else f"{facts['crashes']} times"
    return f"a daemon died on it {times}: such rows run alone, and another one runs now", ""


def _start_delay(id_: int, facts: Facts) -> tuple[str, str]:
    left, whole = in_words(facts["start_delay_left_s"]), in_words(facts["start_delay_s"])
    return f"{left} are left of the start delay of {whole}", ""


def _behind(id_: int, facts: Facts) -> tuple[str, str]:
    ahead, per_s = facts["ahead"], facts["per_s"]
    more = ahead > AHEAD_AT_MOST
    rows = f"more than {AHEAD_AT_MOST:,} rows" if more else counted(ahead, "row")
    said = f"{rows} of {facts['processor']!r} come{'s' if ahead == 1 else ''} before it"
    if not per_s:
        return f"{said}; none has ended in the last five minutes", ""
    takes = in_words(min(ahead, AHEAD_AT_MOST) / per_s)
    return f"{said}; at {per_s * 60:,.0f} a minute that takes {'more than' if more else 'about'} {takes}", ""


_SENTENCES: dict[Shut, _Sentence] = {
    Shut.MISSING: _missing,
    Shut.COMPLETED: _completed,
    Shut.FAILED: _failed,
    Shut.CANCELED: _canceled,
    Shut.RUNNING: _running,
    Shut.WAITS: _waits,
    Shut.HELD: _held,
    Shut.FUTURE: _future,
    Shut.PAUSED: _paused,
    Shut.DISABLED: _disabled,
    Shut.FLAG_OFF: _flag_off,
    Shut.NO_DAEMON: _no_daemon,
    Shut.WINDOW_CLOSED: _window_closed,
    Shut.NOT_WOKEN: _not_woken,
    Shut.BREAKER: _breaker,
    Shut.LOCKED: _locked,
    Shut.RATE: _rate,
    Shut.GLOBAL_LIMIT: _global_limit,
    Shut.CONCURRENCY: _concurrency,
    Shut.SUSPECT: _suspect,
    Shut.START_DELAY: _start_delay,
    Shut.BEHIND: _behind,
}
#: The reasons that the database can see; the others are the daemon's own affair, and in its log.
REASONS = tuple(_SENTENCES)


def _ago(facts: Facts, column: str) -> str:
    at = facts[column]
    return "at an unknown time" if at is None else f"{in_words(max(0.0, (facts['at'] - at).total_seconds()))} ago"


def _open(facts: Facts) -> str:
    calls = facts["calls"]
    return f"{counted(calls, 'call')} of {facts['processor']!r} {'is' if calls == 1 else 'are'} open"


def _first_line(text: str | None) -> str:
    return (text or "").split("\n")[0][:200]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "nothing"


def _allow(processor: str, knob: str, now: int) -> str:
    return f"allow more: `actiond set {shlex.quote(processor)} {knob} {now * 2}`"


def _correct(id_: int, processor: str) -> str:
    quoted = processor.replace("'", "''")
    return f"correct it: `update actiond.action set processor = '{quoted}' where id = {id_}`"
