"""STATUS and WATCHDOG for systemd, fed only from progress that was really made.

Alive is not working: the safety poll must have made a step since the last time, in the main loop. A blocked
loop, or a poll that hangs, feeds nothing, and systemd starts the daemon anew.
"""

from __future__ import annotations

import anyio

from actiond.host.systemd import Notifier
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.processor_loop import ProcessorLoop

STATUS_S = 10.0


class ProofOfLife:
    """One task."""

    def __init__(
        self, notifier: Notifier, policy: PolicyLoop, loops: dict[str, ProcessorLoop], poll_interval_s: float
    ) -> None:
        self._notifier = notifier
        self._policy = policy
        self._loops = loops
        self._patience_s = 3 * poll_interval_s + 10.0  # a poll, its timeout and its pause

    async def run(self) -> None:
        """Until cancelled."""
        every_s = self._notifier.watchdog_interval_s or STATUS_S
        steps, since_s = -1, anyio.current_time()
        while True:
            if self._policy.steps != steps:
                steps, since_s = self._policy.steps, anyio.current_time()
            if anyio.current_time() - since_s < self._patience_s:
                self._notifier.watchdog()
            self._notifier.status(self.status())
            await anyio.sleep(every_s)

    def status(self) -> str:
        """One line: what runs, what is wrong."""
        running = sum(loop.crew.running for loop in self._loops.values())
        unsaved = sum(loop.writer.unsaved for loop in self._loops.values())
        troubles = sorted({loop.trouble for loop in self._loops.values() if loop.trouble})
        words = f"{len(self._loops)} processors, {running} calls running, {unsaved} outcomes unsaved"
        return f"{words}; trouble: {troubles[0]}" if troubles else words
