"""Handlers that answer with a job result, as users of the AsyncJob framework know it.

    SUCCESS       done; a recursive job runs again at its next time
    COMPLETED     done, and a recursive job ends here
    RETRY_LATER   tried again after the job's retry interval, as long as executions are left
    FAILED        the same; a recursive job without executions left goes on at its next time
    FATAL_ERROR   failed for good, recursive or not

In that framework's code only RETRY_LATER retries, against its own documentation; here both do, as documented.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from actiond.contract.action import Action
from actiond.contract.policy import Policy
from actiond.contract.processor import EACH_CONCURRENCY, Handler, Processor, declare
from actiond.words.outcome import ALLOW_RETRY, SUDDEN_DEATH, Completed, Failed

MAX_EXECUTIONS = 5
RETRY_EVERY = "15 min"


class JobResult(StrEnum):
    """What a job handler gives back, alone or as (result, message)."""

    SUCCESS = "SUCCESS"
    COMPLETED = "COMPLETED"
    RETRY_LATER = "RETRY_LATER"
    FAILED = "FAILED"
    FATAL_ERROR = "FATAL_ERROR"


def job(name: str, **knobs: Any) -> Callable[[Handler], Processor]:
    """A processor of jobs, one a call. Five executions, 15 minutes apart, unless the knobs or the job say otherwise."""
    given = {"retries": MAX_EXECUTIONS - 1, "retry_interval": RETRY_EVERY, **knobs}
    frame = sys._getframe(1)

    def decorate(handler: Handler) -> Processor:
        if inspect.iscoroutinefunction(handler):

            @functools.wraps(handler)
            async def answered(action: Action[Any]) -> Any:
                return outcome(action, await handler(action))

        else:

            @functools.wraps(handler)
            def answered(action: Action[Any]) -> Any:
                return outcome(action, handler(action))

        return declare(name, answered, given, batch=False, built_in=Policy(concurrency=EACH_CONCURRENCY), frame=frame)

    return decorate


def outcome(action: Action[Any], answer: Any) -> Completed | Failed:
    """What an answer comes to. What is no answer is a failure that says which there are."""
    result, message = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    state = action.state
    after = state.get("retry_every") if isinstance(state, dict) else None
    match result:
        case JobResult.SUCCESS:
            return Completed(message)
        case JobResult.COMPLETED:
            return Completed(message, final=True)
        case JobResult.RETRY_LATER | JobResult.FAILED:
            return Failed(message or f"the job answered {result}", ALLOW_RETRY, after=after)
        case JobResult.FATAL_ERROR:
            return Failed(message or f"the job answered {result}", SUDDEN_DEATH)
        case _:
            return Failed(
                f"a job answers one of {', '.join(JobResult)}, and not {answer!r:.100}", ALLOW_RETRY, after=after
            )
