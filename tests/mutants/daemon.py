"""A daemon process with one mutant in it: `python daemon.py NAME --processors MODULE --log-format json`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio

import actiond
from actiond.host import discovery, log, settings
from actiond.service.supervisor import Supervisor
from mutants.statements import broken

if __name__ == "__main__":
    name, _, module, *_ = sys.argv[1:]
    log.configure("json", "info")
    supervisor = Supervisor(settings.read(), lambda: discovery.find([module]), actiond.__version__, broken(name))
    raise SystemExit(anyio.run(supervisor.run))
