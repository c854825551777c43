"""batch/finalizers: when one is called, with what, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from actiond import RunAction, RunResult
from actiond.batch import call as call_module
from actiond.batch.call import Call, Ended, Stop
from actiond.batch.finalizers import Finalizers, of
from actiond.batch.run import Run
from actiond.postgres.action_store import EndedRun
from actiond.words.claimed import Settlement
from pure.build import a_row

ENDED = EndedRun(7, "{}", "{}")


class World:
    """A daemon, as far as finalizers know one."""

    def __init__(self) -> None:
        self.rung = anyio.Event()
        self.runaways = 0
        self.left: list[Call] = []
        self.tasks: list[asyncio.Task[None]] = []
        tasks, lifespans = SimpleNamespace(start_soon=self._start), SimpleNamespace(values={})
        shared: Any = SimpleNamespace(
            tasks=tasks, threads=None, lifespans=lifespans, left=self.left, runaway=self._runaway
        )
        self.timeout_s = 60.0
        self.finalizers = Finalizers(shared, lambda: self.timeout_s, self._ring)
        self.given: list[RunResult] = []
        self.finalizers.finalize = self.given.append

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        self.tasks.append(asyncio.create_task(work(*arguments)))

    def _runaway(self) -> None:
        self.runaways += 1

    def _ring(self) -> None:
        self.rung.set()

    def claimed(self) -> None:
        self.finalizers.claimed(Run.of(7, "p", [a_row(1), a_row(2)]))

    async def finalized(self) -> None:
        while self.finalizers.in_hand:
            await anyio.lowlevel.checkpoint()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await asyncio.gather(*world.tasks)


def ended(error: BaseException | None = None) -> Ended:
    return Ended(0.0, error=error)


async def test_once_everything_of_a_run_is_saved(world: World) -> None:
    world.claimed()
    world.finalizers.call_ended(7, ended())
    world.finalizers.saved([Settlement(1, 7, "completed")])
    world.finalizers.call_ended(7, ended(ValueError("no")))
    assert world.given == []
    world.finalizers.saved([Settlement(2, 7, "failed", "no"), Settlement(3, 8, "failed", "of another run")], [ENDED])
    assert world.finalizers.in_hand == 1
    await world.finalized()
    world.finalizers.saved([], [ENDED])
    await world.finalized()
    [result] = world.given
    assert (result.run_id, result.processor, result.error) == (7, "p", "ValueError: no")
    assert result.actions == (RunAction(1, "completed", None), RunAction(2, "failed", "no"))
    assert (result.count("completed"), result.count("failed"), result.count("retried")) == (1, 1, 0)
    assert world.rung.is_set()


async def test_not_for_a_run_that_was_given_back(world: World) -> None:
    world.claimed()
    world.finalizers.saved([], [ENDED])
    await world.finalized()
    assert world.given == []


async def test_not_for_a_run_whose_claim_was_lost(world: World) -> None:
    world.claimed()
    world.finalizers.call_ended(7, ended())
    world.finalizers.forget()
    world.finalizers.saved([Settlement(1, 7, "completed")], [ENDED])
    await world.finalized()
    assert world.given == []


async def test_not_for_a_run_that_began_before_there_was_one(world: World) -> None:
    finalize, world.finalizers.finalize = world.finalizers.finalize, None
    world.claimed()
    world.finalizers.finalize = finalize
    world.finalizers.call_ended(7, ended())
    world.finalizers.saved([Settlement(1, 7, "completed")], [ENDED])
    await world.finalized()
    assert world.given == []


async def forgets(run: RunResult) -> None:
    anyio.lowlevel.checkpoint()


async def raises(run: RunResult) -> None:
    raise SystemExit(3)


async def hangs(run: RunResult) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("finalize", "said"),
    [(forgets, "was never awaited"), (raises, "SystemExit: 3"), (hangs, "stopped after 0.0 s: timeout")],
    ids=["forgets", "raises", "hangs"],
)
async def test_what_goes_wrong_in_it_is_told(world: World, finalize: Callable[[RunResult], Any], said: str) -> None:
    world.finalizers.finalize, world.timeout_s = finalize, 0.02
    world.claimed()
    world.finalizers.call_ended(7, ended())
    with capture_logs() as lines:
        world.finalizers.saved([], [ENDED])
        await world.finalized()
    [line] = lines
    assert (line["event"], line["processor"], line["run_id"]) == ("finalizer_failed", "p", 7)
    assert said in line["error"]
    assert not world.finalizers.calls


async def test_one_that_is_stopped_ends(world: World) -> None:
    world.finalizers.finalize = hangs
    world.claimed()
    world.finalizers.call_ended(7, ended())
    world.finalizers.saved([], [ENDED])
    while not world.finalizers.calls:
        await anyio.lowlevel.checkpoint()
    assert world.finalizers.stop(Stop.DRAIN) == 1
    await world.finalized()


async def test_one_that_ignores_its_stop_is_counted_with_the_runaways(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "GRACE_S", 0.02)
    enough = anyio.Event()

    async def clings(run: RunResult) -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    world.finalizers.finalize, world.timeout_s = clings, 0.02
    world.claimed()
    world.finalizers.call_ended(7, ended())
    world.finalizers.saved([], [ENDED])
    while not world.runaways:
        await anyio.lowlevel.checkpoint()
    assert world.finalizers.in_hand == 1
    enough.set()
    await world.finalized()


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("completed", None, "completed"),
        ("retried", "no", "retried"),
        ("waiting", None, "deferred"),
        ("repeated", None, "completed"),
        ("repeated", "no", "failed"),
    ],
)
def test_an_outcome_is_one_of_the_five_that_people_know(kind: str, error: str | None, outcome: str) -> None:
    assert of(Settlement(1, 7, kind, error)) == RunAction(1, outcome, error)
