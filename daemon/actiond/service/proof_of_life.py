"""STATUS and WATCHDOG for systemd, fed only from progress that was really made; /healthz says the same.

Alive is not working: the safety poll must have made a step since the last time, in the main loop. A blocked
loop, or a poll that hangs, feeds nothing, and systemd starts the daemon anew.
"""

from __future__ import annotations

import time

import anyio

from actiond.host.systemd import Notifier
from actiond.loops.policy_loop import PolicyLoop
from actiond.loops.processor_loop import ProcessorLoop

STATUS_S = 10.0
PATIENCE_S = 10.0  # beyond three polls: a poll, its timeout and its pause


class ProofOfLife:
    """One task."""

    def __init__(
        self, notifier: Notifier, policy: PolicyLoop, loops: dict[str, ProcessorLoop], poll_interval_s: float
    ) -> None:
        self._notifier = notifier
        self._policy = policy
        self._loops = loops
        self._patience_s = 3 * poll_interval_s + PATIENCE_S
        self._seen = (policy.steps, time.monotonic())  # how far it was, and since when

    async def run(self) -> None:
        """Until cancelled."""
        every_s = self._notifier.watchdog_interval_s or STATUS_S
        while True:
            if self.silent_s() is None:
                self._notifier.watchdog()
            self._notifier.status(self.status())
            await anyio.sleep(every_s)

    def silent_s(self) -> float | None:
        """Seconds without a step, once they are too many; None = it makes progress. From any thread."""
        steps, since_s = self._seen
        if self._policy.steps != steps:
            self._seen = (self._policy.steps, time.monotonic())
            return None
        silent_s = time.monotonic() - since_s
        return silent_s if silent_s >= self._patience_s else None

    def status(self) -> str:
        """One line: what runs, what is wrong."""
        running = sum(loop.crew.running for loop in self._loops.values())
        unsaved = sum(loop.writer.unsaved for loop in self._loops.values())
        troubles = sorted({loop.trouble for loop in self._loops.values() if loop.trouble})
        words = f"{len(self._loops)} processors, {running} calls running, {unsaved} outcomes unsaved"
        return f"{words}; trouble: {troubles[0]}" if troubles else words
