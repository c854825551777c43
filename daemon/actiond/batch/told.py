"""What of a call is told: lines of the log, and the counts that stand beside them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from actiond.batch.call import Call, Ended, Stop
from actiond.batch.isolation import Isolated
from actiond.batch.run import Run, Work
from actiond.batch.tally import Tally
from actiond.contract.policy import AUTO, Policy
from actiond.host.log import get_logger
from actiond.rules.error_text import ErrorText
from actiond.rules.sizing import Sizing
from actiond.words.claimed import Settlement
from actiond.words.errors import WorkerDied
from actiond.words.log_lines import LogLine

log = get_logger()


def claimed(run: Run) -> None:
    """Rows came."""
    log.debug(LogLine.BATCH_CLAIMED, processor=run.processor, run_id=run.id, actions=run.open)


def run_over(run: Run) -> None:
    """Nothing of it is here any more."""
    took_s = round(time.monotonic() - run.began_s, 3)
    log.debug(LogLine.BATCH_ENDED, processor=run.processor, run_id=run.id, took_s=took_s)


def ended(tally: Tally, work: Work, how: Ended, timeout_s: float, isolated: Isolated | None) -> None:
    """A call is over."""
    tally.calls.add(how.took_s)
    if isolated is not None:
        log.warning(LogLine.BATCH_ISOLATED, actions=len(work.rows), **isolated.told(how.took_s), **about(work))
    if how.stopped is Stop.TIMEOUT:
        tally.timeouts += 1
        log.error(LogLine.HANDLER_TIMED_OUT, timeout_s=timeout_s, **about(work))
    if isinstance(how.error, WorkerDied):
        tally.worker_deaths += 1
        log.error(LogLine.WORKER_DIED, error=" ".join(map(str, how.error.args)), **about(work))
    if how.never_awaited:
        log.error(LogLine.COROUTINE_NEVER_AWAITED, coroutine=how.never_awaited[0], **about(work))


def sized(sizing: Sizing, policy: Policy, work: Work, settlements: Sequence[Settlement], took_s: float) -> None:
    """A batch has ended; with batch_size="auto" that may change the next ones."""
    if policy.batch_size != AUTO:
        return
    failed, was = sum(each.kind in ("failed", "retried") for each in settlements), sizing.rows
    reason = sizing.ended(len(work.rows), took_s, failed, policy.timeout)
    if reason is not None:
        log.info(
            LogLine.BATCH_SIZE_CHANGED, processor=work.run.processor, rows=sizing.rows, was=was, reason=reason,
            took_s=round(took_s, 3), failed=failed,
        )  # fmt: skip


def in_short(how: Ended | None) -> str | None:
    """What went wrong with the call as a whole; None: nothing did."""
    if how is None or (how.error is None and how.stopped is None):
        return None
    return str(how.stopped) if how.stopped is not None else ErrorText.of(how.error).short


def runaway(tally: Tally, call: Call, work: Work) -> None:
    """Nothing can end it."""
    tally.runaways += 1
    log.error(LogLine.HANDLER_RUNAWAY, over_s=round(call.running_s, 1), **about(work))


def around_failed(around: str, error: object) -> None:
    """Of a call; its line says of which."""
    log.error(LogLine.AROUND_FAILED, around=around, error=ErrorText.of(error).short)


def finalized(processor: str, run_id: int, how: Ended) -> None:
    """How the finalizer of a run ended; nothing to say if it ended well."""
    error: object = how.error
    if how.stopped is not None:
        error = f"stopped after {how.took_s:.1f} s: {how.stopped}"
    elif error is None and how.never_awaited:
        error = f"coroutine {how.never_awaited[0]!r} was never awaited"
    if error is not None:
        log.error(LogLine.FINALIZER_FAILED, processor=processor, run_id=run_id, error=ErrorText.of(error).short)


def failed(processor: str, settlements: Iterable[Settlement]) -> None:
    """Attempts that failed."""
    for settlement in settlements:
        if settlement.kind in ("failed", "retried"):
            log.error(
                LogLine.ACTION_FAILED,
                processor=processor,
                run_id=settlement.run_id,
                action_id=settlement.id,
                status="pending" if settlement.kind == "retried" else "failed",
                error=settlement.error,
                retries_left=settlement.retries_left,
                retry_in_s=settlement.delay_s,
            )


def about(work: Work) -> dict[str, str | int]:
    """What a line about this call names; the action only where there is one."""
    if len(work.rows) > 1:
        return {"processor": work.run.processor, "run_id": work.run.id}
    return {"processor": work.run.processor, "run_id": work.run.id, "action_id": work.rows[0].id}
