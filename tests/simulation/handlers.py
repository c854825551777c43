"""What runs: two processors whose payloads say what becomes of them, and who notes that it began and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.processor import Processor, batch_processor, processor
from actiond.words.outcome import KEEP_ALIVE, SUDDEN_DEATH, Failure
from simulation.ledger import Ledger
from simulation.process import Process

TIMEOUT_S = 3.0
KNOBS: dict[str, Any] = {"retries": 2, "retry_interval": "0.5 s", "timeout": f"{TIMEOUT_S:g} s", "history": "all"}
#: What a payload may ask for, the usual things more often.
DEEDS = ["ok"] * 12 + ["fail", "fail", "dead", "later", "busy", "hang", "cancel", "forget", "refused", "slow", "slow"]


def processors(process: Process, ledger: Ledger) -> Iterable[Processor]:
    """Their names are those that Server.poll knows."""

    @processor("each", batch_size=4, concurrency=3, **KNOBS)
    async def each(action: Action[dict]) -> Any:  # type: ignore[type-arg]
        with ledger.running(process, [action]):
            await _take_time(process, ledger, [action])
            return _do(action, marks=False)

    @batch_processor("batch", batch_size=5, concurrency=2, **KNOBS)
    async def batch(actions: Batch[dict]) -> None:  # type: ignore[type-arg]
        with ledger.running(process, actions):
            await _take_time(process, ledger, actions)
            for action in actions:
                _do(action, marks=True)

    return each, batch


async def _take_time(process: Process, ledger: Ledger, actions: Iterable[Action[Any]]) -> None:
    deeds = [action.data for action in actions]
    if any(deed["do"] == "poison" for deed in deeds):
        ledger.poisoned(process)
        await asyncio.Event().wait()  # it does not live to see the end
    if any(deed["do"] == "hang" for deed in deeds):
        await asyncio.Event().wait()
    await process.loop.pass_time(max(deed["s"] for deed in deeds))


def _do(action: Action[Any], marks: bool) -> Any:
    """The result says which run this is: what lands must be of the run that holds the row."""
    deed, first, result = action.data["do"], action.attempt == 1, {"run": action.run_id}
    error = {"fail": ("failed", None), "dead": ("dead", SUDDEN_DEATH), "busy": ("busy", KEEP_ALIVE)}.get(deed)
    if error is not None and (first or deed != "busy"):
        text, behavior = error
        failure = Failure(text, behavior, after="0.3 s" if deed == "busy" else None) if behavior else Failure(text)
        if not marks:
            raise failure
        return action.fail(text, *([behavior] if behavior else []))
    if deed == "later" and first:
        return action.defer("0.4 s", state=result)
    if deed == "cancel":
        return action.cancel("no more")
    if deed == "forget" and marks:
        return None
    return action.complete(result) if marks else result
