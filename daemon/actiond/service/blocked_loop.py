"""Who holds the event loop: the action whose handler runs there now, and the line that it is at.

Called in the thread that watches, while the loop stands still, so what is read here does not change meanwhile. A task
that a handler started counts as the handler: it has inherited what that is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from actiond.batch import call
from actiond.batch.tally import Counts
from actiond.host.log import about_in, get_logger
from actiond.loops.presence_thread import Blocked
from actiond.loops.processor_loop import ProcessorLoop
from actiond.words.log_lines import LogLine

log = get_logger()

_OURS = f"({Path(call.__file__).parent}/"  # below it is how the daemon calls a handler


def told(blocked: Blocked, loops: Mapping[str, ProcessorLoop], counts: Counts) -> None:
    """Count it, and say so."""
    counts.loop_blocked += 1
    theirs = tuple(takewhile(lambda frame: _OURS not in frame, blocked.frames)) or blocked.frames[:1]
    log.warning(
        LogLine.LOOP_BLOCKED,
        **holder(blocked.task, loops),
        blocked_s=round(blocked.for_s, 1),
        where="".join(theirs[:1]),
        frames=" < ".join(theirs),
    )


def holder(task: asyncio.Task[Any] | None, loops: Mapping[str, ProcessorLoop]) -> dict[str, str | int]:
    """Processor, run and, of one at a time, action; nothing if it is no handler of ours."""
    if task is None:
        return {}
    for loop in list(loops.values()):
        if (about := loop.crew.holding(task)) is not None:
            return about
    # A task of its own: from Python 3.12 on it can be asked for what it inherited.
    return about_in(task.get_context()) if hasattr(task, "get_context") else {}
