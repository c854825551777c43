"""What goes first: the next claim, or what the last one brought."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actiond.contract.policy import Policy
from support.one_loop import Daemon
from support.work import insert

CONCURRENCY = 4


class Told(Daemon):
    """Writes down when a claim is sent and when what it brought begins."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.said: list[str] = []
        self.calls: list[asyncio.Task[None]] = []
        self.meanwhile = lambda: self.said.append("claim")

    def add(self, run_id: int, rows: list[Any], probe: bool = False) -> None:
        async def begin() -> None:
            self.said.append("begins")

        super().add(run_id, rows, probe)
        self.calls.append(asyncio.create_task(begin()))


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        pytest.param(CONCURRENCY - 1, ["claim", "begins", "claim"], id="the queue is empty"),
        pytest.param(2 * CONCURRENCY, ["claim", "claim", "begins"], id="there are more"),
    ],
)
async def test_the_next_claim_goes_first_only_where_more_rows_wait(conn, pool, rows: int, order: list[str]) -> None:
    await insert(conn, rows)
    daemon = Told(pool, 1, Policy(concurrency=CONCURRENCY))
    while len(daemon.said) < 3:
        await daemon.loop.step()
    await asyncio.gather(*daemon.calls)
    assert daemon.said[:3] == order
