"""A process of the demo that ends when the demo does, even if that is killed.

Its standard input is a pipe nobody writes to: the end of the pipe is the end of whoever started it. It has a
session of its own, so that Ctrl-C reaches the demo alone, which then ends its children in order.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30.0  # more than a daemon needs to finish what runs


@contextmanager
def child(*module: str, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m` this module with its arguments; its errors go to the log, its output to whoever reads it."""
    command = [sys.executable, "-P", "-m", __spec__.name, *module]  # -P: nothing from the current folder
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def _end_with_the_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    del sys.argv[0]
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
