"""For tests of processors: floor 9.

run_batch    calls a processor without a database, with real decoding and real settlement
run_once     claims what is due on a real database, runs it and saves what became of it, as the daemon does
Database     a database for one test: enqueue, run_once, look, and the one clock, moved by hand
Server       makes such databases; `running_server` has one

With pytest the fixtures `actiond_server` and `actiond_database` come by themselves (the package actiond_pytest).
"""

from actiond.testing.batches import EndedAction, run_batch
from actiond.testing.databases import Database, Server, running_server
from actiond.testing.once import run_once
from actiond.testing.stored import StoredAction

__all__ = ["Database", "EndedAction", "Server", "StoredAction", "run_batch", "run_once", "running_server"]
