"""Claimed row + outcome -> exactly one settlement.

Only this module decides a status from what a handler said. Rescue and the verbs of people have their own
SQL; a test holds all of them to words/status.TRANSITIONS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from actiond.rules.error_text import ErrorText, text_of
from actiond.rules.retry import RetryPolicy, delay_s, retries_left
from actiond.words import duration, json_text
from actiond.words.claimed import ClaimedRow, Settlement
from actiond.words.outcome import Canceled, Completed, Deferred, Failed, Outcome, RetryBehavior, Waiting

NO_OUTCOME = Failed("processor returned no outcome")


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a processor's policy decides over its outcomes."""

    retry: RetryPolicy
    history: str = "changes"  # all, changes, none
    charged: bool = True  # no: a failure that would cost a retry costs nothing


def settle(row: ClaimedRow, run_id: int, outcome: Outcome, rules: Rules, jitter: float) -> Settlement:
    """The one settlement of this action in this run."""
    match outcome:
        case Completed(result=None) if not row.repeats:
            return Settlement(row.id, run_id, "completed", noted=_notes_completion(row, rules))
        case Completed():
            return _completed(row, run_id, outcome, rules, jitter)
        case Failed():
            return _failed(row, run_id, outcome, rules, jitter)
        case Deferred():
            return _deferred(row, run_id, outcome, rules, jitter)
        case Waiting():
            return _waiting(row, run_id, outcome, rules, jitter)
        case Canceled(reason=reason):
            text = ErrorText.of(reason) if reason else None
            return Settlement(
                row.id,
                run_id,
                "canceled",
                error=text.short if text else None,
                noted=rules.history != "none",
                detail=text.full if text else None,
            )
        case _:
            assert_never(outcome)


def _notes_completion(row: ClaimedRow, rules: Rules) -> bool:
    # A row completed at its first attempt is its own record.
    return rules.history == "all" or (rules.history == "changes" and row.attempts > 1)


def _completed(row: ClaimedRow, run_id: int, outcome: Completed, rules: Rules, jitter: float) -> Settlement:
    try:
        text = None if outcome.result is None else json_text.dumps(outcome.result)
    except (ValueError, TypeError) as why:
        return _failed(row, run_id, Failed(f"the result cannot be stored: {text_of(why)}"), rules, jitter)
    if row.repeats and not outcome.final:  # the row will hold the next execution, so history holds this one
        return Settlement(row.id, run_id, "repeated", result=text, noted=rules.history != "none")
    return Settlement(row.id, run_id, "completed", result=text, noted=_notes_completion(row, rules))


def _deferred(row: ClaimedRow, run_id: int, outcome: Deferred, rules: Rules, jitter: float) -> Settlement:
    try:
        delay_s = duration.seconds(outcome.after)
        state = None if outcome.state is None else json_text.dumps(outcome.state)
    except (ValueError, TypeError) as why:
        return _failed(row, run_id, Failed(f"the deferral cannot be stored: {text_of(why)}"), rules, jitter)
    return Settlement(
        row.id,
        run_id,
        "deferred",
        delay_s=delay_s,
        state=state,
        noted=rules.history != "none",
    )


def _waiting(row: ClaimedRow, run_id: int, outcome: Waiting, rules: Rules, jitter: float) -> Settlement:
    try:
        state = None if outcome.state is None else json_text.dumps(outcome.state)
    except (ValueError, TypeError) as why:
        return _failed(row, run_id, Failed(f"the state cannot be stored: {text_of(why)}"), rules, jitter)
    noted = rules.history != "none"
    return Settlement(row.id, run_id, "waiting", state=state, noted=noted, detail="waits for its children")


def _failed(row: ClaimedRow, run_id: int, failed: Failed, rules: Rules, jitter: float) -> Settlement:
    text = ErrorText.of(failed.error)
    left = retries_left(rules.retry, row.retries_left)
    behavior, again_s = RetryBehavior.ALLOW_RETRY, None
    try:  # a failure that is returned was never checked
        behavior = RetryBehavior(failed.behavior)
        again_s = None if failed.after is None else duration.seconds(failed.after)
    except ValueError as wrong:
        return _failed(row, run_id, Failed(f"{text.short} ({text_of(wrong)})", behavior), rules, jitter)
    if behavior is RetryBehavior.ALLOW_RETRY and not rules.charged:
        behavior = RetryBehavior.KEEP_ALIVE
    kind, charge = "failed", 0
    if behavior is RetryBehavior.KEEP_ALIVE:
        kind = "retried"
        again_s = rules.retry.interval_s if again_s is None else again_s
    elif behavior is RetryBehavior.ALLOW_RETRY and left > 0:
        kind, charge = "retried", 1
        again_s = delay_s(rules.retry, left, jitter) if again_s is None else again_s
    elif behavior is RetryBehavior.ALLOW_RETRY and row.repeats:
        kind = "repeated"  # the next execution has retries of its own; the error stays until one succeeds
    charged = behavior is RetryBehavior.ALLOW_RETRY
    return Settlement(
        row.id,
        run_id,
        kind,
        error=text.short,
        delay_s=again_s if kind == "retried" else None,
        retries_left=left - charge if charged and kind != "repeated" else None,
        noted=rules.history != "none",
        detail=text.full,
    )


def unstorable(settlement: Settlement, why: str) -> Settlement:
    """The fallback for an outcome that the database refused: a failure that says so, with nothing else in it."""
    text = ErrorText.of(f"outcome could not be stored: {why}")
    return Settlement(settlement.id, settlement.run_id, "failed", error=text.short, noted=True, detail=text.full)
