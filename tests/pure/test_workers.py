"""batch/workers: real processes run real handlers, one action after the other, and whatever they do stays there."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from actiond.batch import workers as workers_module
from actiond.batch.call import Call, Stop
from actiond.batch.process_call import AGAIN, Asking, run_in_worker
from actiond.batch.workers import Workers
from actiond.contract.action import Scope
from actiond.contract.processor import Processor
from actiond.host import discovery
from actiond.host.worker_process import WorkerProcess
from actiond.rules import redaction
from actiond.rules.settlement import settle
from actiond.words.claimed import Settlement
from actiond.words.duration import seconds
from actiond.words.errors import ProcessorInvalid
from pure.build import a_row
from support.database import eventually
from support.sources import USUAL_IMPORTS

pytestmark = pytest.mark.slow

PROCESS = 'executor="process"'
HANDLERS = f"""
import ctypes, json, socket, subprocess, sys, threading

class Letter(BaseModel):
    to: str

@processor("letter", {PROCESS})
def letter(action: Action[Letter]):
    return [action.data.to, action.attempt, action.related, action.run_id, action.state, os.getpid()]

@processor("waits", {PROCESS})
async def waits(action):
    await asyncio.sleep(0)
    return os.getpid()

@processor("marks", {PROCESS}, retries=2, retry_interval="7 s")
def marks(action):
    match action.data:
        case "complete": action.complete(1)
        case "fail": action.fail("no", SUDDEN_DEATH)
        case "later": raise Failure("busy", KEEP_ALIVE, after="3 s")
        case "defer": return action.defer("1 min", state={{"page": 2}})
        case "cancel": return action.cancel("not wanted")
        case "raise": raise RuntimeError("it broke")
        case "coroutine": return waits.handler(action)

@processor("ends", {PROCESS}, dead_on=WorkerDied, timeout="30 s")
def ends(action):
    match action.data:
        case "_exit": os._exit(7)
        case "SIGKILL": os.kill(os.getpid(), signal.SIGKILL)
        case "SIGSEGV": ctypes.string_at(0)
        case "SIGABRT": os.abort()
        case "closes": os.closerange(3, 100)
        case "writes":
            for fd in range(3, 200):
                try: os.write(fd, b"GET / HTTP/1.1")
                except OSError: pass
            time.sleep(600)
        case "forges": # the outcome of another row, as who forks or goes wild may send it
            answer = {{"settled": [99, action.run_id, "completed", *[None] * 5, False, None], "never_awaited": []}}
            answer = json.dumps(answer).encode()
            for fd in range(3, 200):
                try: socket.socket(fileno=os.dup(fd)).sendall(len(answer).to_bytes(4) + answer)
                except OSError: pass
            time.sleep(600)
        case "leaves a child": # which holds the pipe
            if os.fork() == 0: time.sleep(600)
            os._exit(8)
        case "forks":
            os.fork()
    return os.getpid()

@processor("grows", {PROCESS}, memory_mb=256)
def grows(action):
    global kept
    kept = bytearray(action.data << 20)
    return os.getpid()

@processor("hangs", {PROCESS}, timeout="0.3 s")
def hangs(action):
    if action.data == "in C":  # and does not let go of the interpreter
        ctypes.PyDLL(None).sleep(600)
    child = subprocess.Popen(["sleep", "600"])
    open(action.data, "w").write(f"{{os.getpid()}} {{child.pid}}")
    while True:
        pass

@processor("says", {PROCESS})
def says(action):
    for _ in range(20_000):
        print("y" * 99)
        sys.stderr.write("z" * 99 + "\\n")
    os.write(1, b"from below")
    subprocess.run(["echo", "from beside"], check=True)
    action.log.info("counted", rows=3, password="not for you")
    threading.Thread(target=lambda: action.log.warning("from a thread")).start()
    import logging
    logging.getLogger("library").error("of a library")
    try:
        1 / 0
    except ZeroDivisionError:
        action.log.exception("went wrong")

@processor("looks", {PROCESS}, timeout="5 s")
def looks(action):
    while not action.withdrawn:
        time.sleep(0.01)
    return "seen"
"""

END = "@processor('end', executor='process')\ndef end(action): ...\n"


@pytest.fixture
def find(tmp_path: Path) -> Iterator[Callable[..., dict[str, Processor]]]:
    path, modules = list(sys.path), set(sys.modules)

    def found(source: str = HANDLERS, name: str = "handlers.py") -> dict[str, Processor]:
        (tmp_path / name).write_text(USUAL_IMPORTS + textwrap.dedent(source))
        return discovery.find([str(tmp_path / name)], packages=False)

    yield found
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers(2, 0, "info")
    yield made
    await made.close()


Beside = Callable[[Call, WorkerProcess], Awaitable[Any]]


async def call(
    workers: Workers, processor: Processor, data: Any = None, beside: Beside | None = None, **columns: Any
) -> Settlement:
    """What becomes of one action; `beside` runs beside the call."""
    [settlement] = await calls(workers, processor, data, beside, **columns)
    return settlement


async def calls(
    workers: Workers, processor: Processor, data: Any = None, beside: Beside | None = None, **columns: Any
) -> list[Settlement]:
    """The same; none where nothing is to be written."""
    row, scope, settled = a_row(data=json.dumps(data), **columns), Scope(7, processor.name), list[Settlement]()

    async def run() -> None:
        async with workers.lent(lambda: processor, None) as lent:
            asking = Asking(lent)
            made = Call(asking, True, processor.policy.timeout, no_runaway)
            if beside is not None:
                assert isinstance(lent, WorkerProcess)
                tasks.start_soon(beside, made, lent)
            outcomes = await run_in_worker(
                asking, processor, processor.policy.config, processor.policy.rules, row, scope, made
            )
        settled.extend(outcomes.settled)
        settled.extend(settle(row, 7, outcome, processor.policy.rules, 0.0) for row, outcome in outcomes.decided)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    return settled


def no_runaway(_: Call) -> None:
    raise AssertionError("called a runaway")


def runs(pid: int) -> bool:
    """A process that is no zombie. Its parent may not have heard of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def pid_of(workers: Workers, processor: Processor) -> int:
    """Of the worker that runs an action of this processor that does no harm."""
    return int((await call(workers, processor)).result or 0)


async def test_an_action_runs_in_another_process_with_all_it_knows(workers, find) -> None:
    ended = await call(workers, find()["letter"], {"to": "a"}, id=3, attempts=2, related="r", state='{"page": 1}')
    *known, pid = json.loads(ended.result)
    assert known == ["a", 2, "r", 7, {"page": 1}]
    assert pid != os.getpid()
    assert (ended.id, ended.run_id, ended.kind, ended.noted) == (3, 7, "completed", True)


async def test_a_worker_is_kept_for_the_next_call_and_serves_one_processor(workers, find) -> None:
    found = find()
    pids = [await pid_of(workers, found["waits"]) for _ in range(3)]
    assert len(set(pids)) == 1
    assert await pid_of(workers, found["ends"]) not in pids


async def test_what_a_handler_says_of_its_action_is_what_comes_of_it(workers, find) -> None:
    marks, found = {}, find()["marks"]
    for said in ("complete", "fail", "later", "defer", "cancel", "raise", "coroutine"):
        marks[said] = await call(workers, found, said)
    assert {said: ended.kind for said, ended in marks.items()} == {
        "complete": "completed",
        "fail": "failed",
        "later": "retried",
        "defer": "deferred",
        "cancel": "canceled",
        "raise": "retried",
        "coroutine": "retried",
    }
    assert (marks["later"].delay_s, marks["later"].retries_left) == (3.0, None)
    assert (marks["raise"].delay_s, marks["raise"].retries_left) == (7.0, 1)
    assert marks["raise"].error == "RuntimeError: it broke"
    assert "in marks" in (marks["raise"].detail or "")
    assert (marks["defer"].delay_s, marks["defer"].state) == (60.0, '{"page":2}')
    assert marks["coroutine"].error == "coroutine 'waits' was never awaited: its work was not done"


async def test_a_payload_is_read_in_the_worker_and_one_that_does_not_fit_fails_there(workers, find) -> None:
    ended = await call(workers, find()["letter"], {"to": 7})
    assert (ended.kind, ended.retries_left) == ("failed", None)
    assert ended.error == "The payload does not fit: to: Input should be a valid string"


ENDS = {
    "_exit": "it ended with exit code 7",
    "SIGKILL": "it was ended by SIGKILL, as the kernel does when memory is short",
    "SIGSEGV": "it was ended by SIGSEGV in string_at (",
    "SIGABRT": "it was ended by SIGABRT in ends (",
    "closes": "it closed its connection to the daemon",
    "writes": "it sent what nobody understands",
    "leaves a child": "it ended with exit code 8",
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_worker_that_dies_fails_its_action_and_the_next_one_has_another(workers, find, how) -> None:
    ends = find()["ends"]
    before = await pid_of(workers, ends)
    ended = await call(workers, ends, how)
    assert ended.kind == "failed"  # dead_on=WorkerDied
    assert ended.error.startswith(f"WorkerDied: The worker process of this action died: {ENDS[how]}")
    assert "batch/call.py" not in ended.error
    after = await pid_of(workers, ends)
    assert after != before
    await eventually(lambda: not runs(before))


async def test_an_answer_about_another_row_is_not_believed(workers, find) -> None:
    ended = await call(workers, find()["ends"], "forges", id=5)
    assert (ended.id, ended.kind) == (5, "failed")
    assert ended.error == "WorkerDied: The worker process of this action died: it sent what is no outcome"


async def test_a_worker_that_dies_while_idle_costs_nobody_anything(workers, find) -> None:
    ends = find()["ends"]
    before = await pid_of(workers, ends)
    os.kill(before, signal.SIGKILL)
    ended = await call(workers, ends)
    assert ended.kind in ("completed", "retried")
    if ended.kind == "retried":  # nobody knew yet
        assert (ended.retries_left, ended.delay_s) == (None, 0.0)
    assert await pid_of(workers, ends) != before


async def test_a_handler_that_forks_and_goes_on_twice_has_one_outcome(workers, find) -> None:
    ends = find()["ends"]
    ended = [await call(workers, ends, how) for how in ("forks", None, "forks", None)]
    assert {each.kind for each in ended} == {"completed"}


async def test_a_row_that_was_not_begun_is_not_charged(workers, find) -> None:
    ends = find()["ends"]

    async def kill(_: Call, worker: WorkerProcess) -> None:
        os.kill(worker.pid, signal.SIGKILL)

    before = await pid_of(workers, ends)
    os.kill(before, signal.SIGSTOP)  # it hears of nothing any more
    ended = await call(workers, ends, beside=kill)
    assert (ended.kind, ended.retries_left, ended.delay_s) == ("retried", None, 0.0)
    assert ended.error == (
        "The worker process had died before this action began: it was ended by SIGKILL, as the kernel does when memory "
        "is short"
    )


async def test_a_timeout_ends_the_work_and_all_that_it_started(workers, find, tmp_path) -> None:
    ended = await call(workers, find()["hangs"], str(tmp_path / "pids"))
    assert ended.kind == "retried"
    assert ended.error.startswith("timed out after ")
    pids = list(map(int, (tmp_path / "pids").read_text().split()))
    assert len(pids) == 2
    await eventually(lambda: not any(map(runs, pids)))


async def test_a_timeout_ends_what_holds_the_interpreter(workers, find) -> None:
    ended = await call(workers, find()["hangs"], "in C")
    assert ended.error.startswith("timed out after ")


async def test_a_call_that_the_daemon_stops_comes_back_uncharged(workers, find, tmp_path) -> None:
    pids = tmp_path / "pids"

    async def stop(made: Call, _: WorkerProcess) -> None:
        await eventually(lambda: pids.exists() and pids.read_text())
        made.stop(Stop.DRAIN)

    ended = await call(workers, find()["hangs"], str(pids), beside=stop)
    assert (ended.kind, ended.retries_left) == ("retried", None)
    assert ended.error == "the daemon stopped while it ran"
    await eventually(lambda: not any(map(runs, map(int, pids.read_text().split()))))


async def test_of_a_call_whose_daemon_lost_its_lease_nothing_is_written(workers, find, tmp_path) -> None:
    async def stop(made: Call, _: WorkerProcess) -> None:
        await eventually(lambda: (tmp_path / "pids").exists())
        made.stop(Stop.CUT_OFF)

    assert await calls(workers, find()["hangs"], str(tmp_path / "pids"), stop) == []


async def test_too_much_memory_is_an_error_of_that_action_and_its_worker_is_replaced(workers, find) -> None:
    grows = find()["grows"]
    first = json.loads((await call(workers, grows, 1)).result)
    ended = await call(workers, grows, 1000)
    assert (ended.kind, ended.error) == ("retried", "MemoryError: a worker of this processor may use 256 MB")
    second = json.loads((await call(workers, grows, 30)).result)
    assert second != first
    third = json.loads((await call(workers, grows, 1)).result)
    assert third == second
    assert json.loads((await call(workers, grows, 140)).result) == second  # kept: more than half of 256 MB
    assert json.loads((await call(workers, grows, 1)).result) != second  # so it was replaced before it could hurt


async def test_the_limit_of_the_daemon_is_for_those_that_say_none(find) -> None:
    workers = Workers(1, 128, "info")
    found = find("@processor('all', executor='process')\ndef all_(action): bytearray(200 << 20)\n")
    assert (await call(workers, found["all"])).error == "MemoryError: a worker of this processor may use 128 MB"
    await workers.close()


async def test_a_megabyte_of_prints_disturbs_nobody_and_log_lines_come_out_here(workers, find, capfd) -> None:
    with structlog.testing.capture_logs() as lines:
        ended = await call(workers, find()["says"], id=5)
        await eventually(lambda: any(line["event"] == "from a thread" for line in lines))
    assert ended.kind == "completed"
    printed = capfd.readouterr()
    assert printed.out.count("y" * 99 + "\n") == 20_000
    assert "from below" in printed.out
    assert "from beside" in printed.out
    assert printed.err.count("z" * 99 + "\n") == 20_000
    about = {"processor": "says", "run_id": 7, "action_id": 5}
    said = {line.pop("event"): line for line in lines if line["event"] != "worker_started"}
    assert said["counted"] == {**about, "rows": 3, "password": "[hidden]", "log_level": "info"}
    assert said["library_warned"]["library"] == "library"
    assert said["went wrong"]["exception"]["type"] == "ZeroDivisionError"


async def test_secrets_that_this_process_knows_are_hidden_there_too(workers, find) -> None:
    redaction.learn("swordfish77")
    found = find("@processor('tells', executor='process')\ndef tells(action): raise ValueError('a swordfish77 b')\n")
    assert (await call(workers, found["tells"])).error == "ValueError: a [hidden] b"


async def test_fields_that_nobody_may_see_are_hidden_there_too(workers, find) -> None:
    found = find("""
        @processor("charge", executor="process", redact=("card",))
        def charge(action):
            action.log.info("charging", card=action.data["card"], of=f"no {action.data['card']}")
            raise ValueError(f"no bank knows {action.data['card']}")
    """)
    with structlog.testing.capture_logs() as lines:
        ended = await call(workers, found["charge"], {"card": "4111-1111", "amount": 7})
        await eventually(lambda: any(line["event"] == "charging" for line in lines))
    assert ended.error == "ValueError: no bank knows [hidden]"
    [said] = [line for line in lines if line["event"] == "charging"]
    assert (said["card"], said["of"]) == ("[hidden]", "no [hidden]")


def test_what_stands_around_a_handler_cannot_stand_around_a_worker(find) -> None:
    with pytest.raises(
        ProcessorInvalid, match="around is entered in the daemon, and executor='process' runs elsewhere"
    ):
        find("""
            import contextlib

            @contextlib.asynccontextmanager
            async def timed(batch):
                yield

            @processor("odd", executor="process", around=timed)
            def odd(action): ...
        """)


async def test_a_handler_sees_that_its_action_was_withdrawn(workers, find) -> None:
    async def withdraw(made: Call, _: WorkerProcess) -> None:
        await eventually(lambda: made.task is not None)
        made.withdraw(3)

    ended = await call(workers, find()["looks"], beside=withdraw, id=3)
    assert ended.result == '"seen"'


async def test_code_that_was_read_again_gets_new_workers(workers, find) -> None:
    old = find("@processor('v', executor='process')\ndef v(action): return 1\n")["v"]
    assert (await call(workers, old)).result == "1"
    new = find("@processor('v', executor='process')\ndef v(action): return 2\n")["v"]
    assert (await call(workers, new)).result == "2"


async def test_a_worker_has_the_text_that_the_daemon_read(workers, find, tmp_path) -> None:
    old = find("@processor('v', executor='process')\ndef v(action): return 1\n")["v"]
    (tmp_path / "handlers.py").write_text("def v(:\n")  # half saved
    assert (await call(workers, old)).result == "1"


async def test_a_module_is_found_again_as_the_daemon_found_it(workers, find, tmp_path, monkeypatch) -> None:
    (tmp_path / "a_module_of_mine.py").write_text(f"from actiond import processor\n{END}")
    monkeypatch.syspath_prepend(tmp_path)
    found = discovery.find(["a_module_of_mine"], packages=False)
    assert (await call(workers, found["end"])).kind == "completed"


async def test_what_does_not_load_in_a_worker_is_told_and_tried_again_later(workers, find, monkeypatch) -> None:
    found = find(f"if os.environ.get('BROKEN'): raise RuntimeError('not here')\n{END}")["end"]
    monkeypatch.setenv("BROKEN", "1")
    monkeypatch.setattr(workers_module, "PAUSE_S", 0.3)
    with structlog.testing.capture_logs() as lines:
        ended = [await call(workers, found), await call(workers, found)]
    for each in ended:
        assert (each.kind, each.retries_left, each.delay_s) == ("retried", None, 10.0)
        assert each.error.startswith(
            "There is no worker process for this action: This processor file cannot be loaded: "
        )
        assert each.error.endswith("RuntimeError: not here")
    assert len([line for line in lines if line["event"] == "worker_unavailable"]) == 1  # the second was not started
    monkeypatch.delenv("BROKEN")
    await eventually(lambda: _completes(workers, found))


async def _completes(workers: Workers, processor: Processor) -> bool:
    return (await call(workers, processor)).kind == "completed"


async def test_a_worker_that_dies_as_it_loads_is_told(workers, find, monkeypatch) -> None:
    found = find(f"if os.environ.get('BROKEN'): os._exit(9)\n{END}")["end"]
    monkeypatch.setenv("BROKEN", "1")
    ended = await call(workers, found)
    assert ended.error == "There is no worker process for this action: it ended with exit code 9"


async def test_a_worker_that_is_never_ready_is_given_up(workers, find, monkeypatch) -> None:
    found = find(f"if os.environ.get('BROKEN'): time.sleep(600)\n{END}")["end"]
    monkeypatch.setenv("BROKEN", "1")
    monkeypatch.setattr(workers_module, "START_S", 1.0)
    ended = await call(workers, found)
    assert ended.error == "There is no worker process for this action: it was not ready within 1 s"


async def test_an_idle_worker_gives_way_to_another_processor(workers, find) -> None:
    source = "@processor('{0}', executor='process')\ndef {0}(action): return os.getpid()\n"
    found = find("".join(source.format(name) for name in ("p0", "p1", "p2")))
    pids = [await pid_of(workers, found[name]) for name in ("p0", "p1", "p2")]  # two places
    await eventually(lambda: not runs(pids[0]))
    assert [runs(pid) for pid in pids[1:]] == [True, True]


async def test_an_idle_worker_ends_after_a_while(workers, find, monkeypatch) -> None:
    monkeypatch.setattr(workers_module, "IDLE_S", 0.05)
    pid = await pid_of(workers, find()["waits"])
    await eventually(lambda: not runs(pid))


async def test_idle_workers_end_by_themselves_at_the_end(find, tmp_path, monkeypatch) -> None:
    workers, gone = Workers(1, 0, "info"), tmp_path / "gone"
    source = """
import atexit
if path := os.environ.get("GOODBYE"):
    atexit.register(lambda: open(path, "w").close())
@processor("end", executor="process")
def end(action): return os.getpid()
"""
    found = find(source)
    monkeypatch.setenv("GOODBYE", str(gone))
    pid = await pid_of(workers, found["end"])
    await workers.close()
    assert gone.exists()
    assert not runs(pid)


async def test_calls_wait_for_a_place(find, tmp_path) -> None:
    workers = Workers(1, 0, "info")
    source = """
@processor("alone", executor="process")
def alone(action):
    file = open(action.data, "a")
    file.write("+"); file.flush(); time.sleep(0.05); file.write("-"); file.close()
"""
    found = find(source)["alone"]
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(call, workers, found, str(tmp_path / "turns"))
    assert (tmp_path / "turns").read_text() == "+-+-+-+-"
    await workers.close()


def test_how_long_a_row_waits_for_a_worker_is_a_duration() -> None:
    assert seconds(AGAIN) == 10
