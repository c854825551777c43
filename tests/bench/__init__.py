"""The benchmark: `make bench`, or `python -m tests.bench --help` from the root of the repository.

    __main__    which figures, in which order; the table and build/bench.json
    figure      one figure, its target, PASS or FAIL
    place       the server, its one database, daemons as processes
    processors  what those daemons run
    bare_loop   the yardstick: the plain queue that anybody could write
    drain       a backlog, until every outcome is stored
    latency     from a committed INSERT to the start of its handler
    inserts     what the doorbell costs writers
    rest        what a daemon costs that has nothing to do, and one with a million rows before it

Everything runs on one machine that has other things to do. So only ratios of figures of the same run mean
something, both sides of a ratio take turns, and medians count. The time of the CPU that is told beside a rate
hardly depends on what else the machine does.
"""

import sys
from pathlib import Path

#: What stories use (a proxy, a pooler, another clock) is used here, too, by the name under which they know each other.
sys.path.append(str(Path(__file__).parents[1]))
