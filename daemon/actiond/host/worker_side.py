"""What a worker process asks of its system: to end with the daemon, to be the first when memory is short, a limit.

All of it is about this process, and is asked for once, at its start.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

LINE_LOST = 76  # exit code of a worker that cannot speak to its daemon any more
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 500  # of -1000 to 1000: a worker goes long before its daemon, and that before an important service
#: On Linux the memory a process has for itself; elsewhere that is not limited, and all of its addresses are instead.
_LIMIT = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS


def follow(daemon: int) -> None:
    """End when this daemon ends, also while a handler holds the interpreter. Elsewhere than on Linux, by the pipe."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError, MemoryError):  # a hardened host may forbid it; there is the pipe
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    if os.getppid() != daemon:
        os._exit(0)  # it ended before it could be followed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a stop is the daemon's to decide


def trace_into(fd: int) -> None:
    """Should this process crash, Python writes there where it stood."""
    faulthandler.enable(fd, all_threads=False)


def limit_memory(limit_mb: int) -> None:
    """From now on an allocation beyond it is a MemoryError; 0 = no limit. OSError or ValueError if that is refused."""
    if limit_mb:
        _, most = resource.getrlimit(_LIMIT)
        limit = limit_mb << 20 if most == resource.RLIM_INFINITY else min(limit_mb << 20, most)
        resource.setrlimit(_LIMIT, (limit, most))


def used_mb() -> int:
    """How much of the limit is in use; 0 where nobody says."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # data and stack
        return pages * resource.getpagesize() >> 20
    return 0
