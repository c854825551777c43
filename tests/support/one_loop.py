"""The loop of one processor, with all around it that a test does not ask about left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from actiond.batch.suspects import Suspects
from actiond.batch.write_back import WriteBack
from actiond.contract.policy import Policy
from actiond.loops.bell import Bell
from actiond.loops.processor_loop import ProcessorLoop
from actiond.loops.world import World
from actiond.postgres.action_store import Answer
from actiond.postgres.connection import Pool
from actiond.rules.pace import Speed
from actiond.rules.sizing import Sizing
from support.work import store_of


class Daemon:
    """The loop of `p` with the real claim, no doorbell, and a crew that keeps what it gets."""

    def __init__(self, pool: Pool, number: int, policy: Policy) -> None:
        self.processor = SimpleNamespace(name="p", batch=False)
        self.policy, self.speed, self.sizing, self.world = policy, Speed(), Sizing(), World()
        self.in_hand = self.running = self.asked = self.put_backs = 0
        self.asking, self.runs = Suspects().asking, ()
        self.got: list[tuple[int, bool]] = []
        store = store_of(pool, number)
        sound = store.step_within

        async def counted(*arguments: Any) -> Answer:
            self.asked += 1
            return await sound(*arguments)

        async def free(*arguments: Any) -> Answer:
            self.meanwhile()
            return await freely(*arguments)

        freely, self.meanwhile = store.step, lambda: None
        store.step_within, store.step = counted, free  # type: ignore[method-assign, assignment]
        self.writer = WriteBack(store, "p")
        self.loop = ProcessorLoop(self, self.writer, store, self, self.world, Bell())  # type: ignore[arg-type]
        self.loop.policy_known = True

    def add(self, run_id: int, rows: list[Any], probe: bool = False) -> None:
        self.got += [(row.id, probe) for row in rows]

    def put_back(self) -> None:
        self.put_backs += 1

    async def give_back_unwelcome(self) -> int:
        return 0

    def holds(self, processor: str) -> bool:
        return False

    def leave(self, processor: str) -> None:
        pass


async def looks(daemon: Daemon) -> float | None:
    """Until it would sleep; gives how long."""
    for _ in range(20):
        if (wait_s := await daemon.loop.step()) != 0.0:
            return wait_s
    raise AssertionError("it never sleeps")
