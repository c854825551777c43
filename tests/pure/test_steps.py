"""A processor made of steps: what each run does, and what the row keeps between two."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from actiond import CursorStep, ProcessorInvalid, Step, Walk, steps
from actiond.testing import EndedAction, run_batch


class Begin(Step):
    async def execute(self, walk: Walk) -> None:
        walk.memory["seen"] = [walk.action.data["name"]]


class Numbers(CursorStep):
    chunk = 3
    last = 7
    said: list[str]

    async def fetch(self, walk: Walk, after: Any, limit: int) -> list[dict[str, int]]:
        first = 1 if after is None else after + 1
        return [{"id": number} for number in range(first, min(first + limit, self.last + 1))]

    async def each(self, walk: Walk, rows: Any) -> None:
        walk.memory["seen"] += [row["id"] for row in rows]

    async def finalize(self, walk: Walk) -> None:
        walk.memory["finalized"] = walk.memory.get("finalized", 0) + 1


class Fails(Step):
    async def execute(self, walk: Walk) -> None:
        raise ValueError("no luck")


async def walked(*of: Step, state: Any = None, most: int = 20) -> list[EndedAction]:
    """Run after run, until something else than a deferral comes of it."""
    ended: list[EndedAction] = []
    for _ in range(most):
        [action] = await run_batch(steps("walk", of), [{"name": "x"}], states=[state])
        ended.append(action)
        state = action.state
        if action.kind != "deferred":
            break
    return ended


async def test_one_step_a_run_and_the_memory_goes_along() -> None:
    ended = await walked(Begin(), Numbers())
    assert [action.kind for action in ended] == ["deferred"] * 3 + ["completed"]
    assert ended[0].state == {"step": "Numbers", "memory": {"seen": ["x"]}, "key": None, "done": 0}
    assert ended[1].state == {"step": "Numbers", "memory": {"seen": ["x", 1, 2, 3]}, "key": 3, "done": 3}
    assert ended[-1].result == {"seen": ["x", 1, 2, 3, 4, 5, 6, 7], "finalized": 1}


@pytest.mark.parametrize(("last", "runs"), [(0, 1), (1, 1), (2, 1), (3, 2), (6, 3)])
async def test_a_cursor_ends_with_the_first_chunk_that_is_not_full(last: int, runs: int) -> None:
    """Also as the last step."""
    numbers = Numbers()
    numbers.last = last
    ended = await walked(numbers, state={"step": "Numbers", "memory": {"seen": []}})
    assert len(ended) == runs
    assert ended[-1].result == {"seen": list(range(1, last + 1)), "finalized": 1}


async def test_a_step_that_fails_is_retried_alone() -> None:
    before = {"step": "Fails", "memory": {"seen": ["x"]}, "key": None, "done": 0}
    [action] = await run_batch(steps("walk", [Begin(), Fails()], retries=2), [{}], states=[before])
    assert (action.kind, action.state) == ("retried", None)
    assert "no luck" in str(action.error)


@pytest.mark.parametrize("state", [{"step": "Gone"}, {"other": 1}, [1], "text"], ids=repr)
async def test_a_row_of_another_release_waits_and_says_so(state: Any) -> None:
    [action] = await walked(Begin(), state=state)
    assert (action.kind, action.retry_in_s) == ("retried", 60.0)
    assert "step" in str(action.error)


@pytest.mark.parametrize("of", [[], [Begin(), Begin()]], ids=["none", "the same name twice"])
def test_steps_need_names_of_their_own(of: list[Step]) -> None:
    with pytest.raises(ProcessorInvalid, match="at least one"):
        steps("walk", of)


def test_a_step_without_work_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="execute"):
        Step()  # type: ignore[abstract]


def test_what_is_said_of_it_names_the_place_where_it_stands() -> None:
    line = inspect.stack()[0].lineno + 1
    assert steps("walk", [Begin()]).where == f"{__file__}:{line}"
