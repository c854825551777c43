"""The real loops, crews and write-back of several daemons in one thread, on a clock that is a number.

Only the server and the network are imagined: `store` holds the rows as the statements of sql/ would leave them (a test
drives both alike, test_store.py), `server` sessions, locks, notifications and faults. A seed decides everything.
"""
