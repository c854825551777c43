"""Handlers that do what their payload says, however bad: the same in the loop, in a thread and in a process."""

from __future__ import annotations

import asyncpg

from support.rows import ask, until

#: Processor -> how it is declared. Each does what the payload says.
EXECUTORS = {
    "in_loop": "async def",
    "in_loop_at_once": "def",
    "in_thread": "def",
    "in_process": "def",
    "in_process_waiting": "async def",
}
DECLARED = {"in_loop": "", "in_loop_at_once": "loop", "in_thread": "thread"}

FAULTS = """
import builtins, ctypes, inspect, resource, subprocess, sys, threading

# Of this process and of the workers that it starts: a hog finds an end before the machine does.
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, resource.getrlimit(resource.RLIMIT_DATA)[1]))


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __str__


class Odd(dict):
    def items(self):
        raise SystemExit(1)


def raises(name):
    if name == "Unprintable":
        raise Unprintable
    kind = getattr(builtins, name)
    if issubclass(kind, BaseExceptionGroup):
        several = [ValueError("one"), ExceptionGroup("more", [KeyError("two")])]
        raise kind("several", several if kind is ExceptionGroup else [SystemExit(1), *several])
    if issubclass(kind, UnicodeError) and kind is not UnicodeError:
        raise kind(*("utf-8", b"x", 0, 1, "no") if kind is UnicodeDecodeError else ("x", 0, 1, "no")
                   if kind is UnicodeTranslateError else ("utf-8", "x", 0, 1, "no"))
    raise kind()


def garbage(name):
    deep, circle = [], []
    for _ in range(20_000):
        deep = [deep]
    circle.append(circle)
    return {"object": object(), "class": dict, "set": {1}, "bytes": b"x", "function": len, "module": sys,
            "generator": (n for n in [1]), "nan": float("nan"), "nul": "a\\0b", "surrogate": "\\ud800",
            "digits": 10**5000, "deep": deep, "circle": circle, "odd": Odd(a=1), "key": {(1, 2): 3},
            "large": "x" * (20 << 20)}[name]


def prints(_):
    for stream in (sys.stdout, sys.stderr):
        for _ in range(100):
            stream.write("printed " * 1250 + "\\n")
        stream.flush()
    for fd in (1, 2):
        os.write(fd, b"printed below Python" * 100 + b"\\n")
    subprocess.run("echo printed beside; echo printed beside >&2", shell=True, check=True)


kept = []


def leaks(_):
    kept.append(bytearray(1 << 20))
    kept.append(open("/dev/null"))
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    try:
        kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(600)))
    except RuntimeError:
        pass  # no loop in a thread
    os.environ["LEAKED"] = "1"
    signal.getsignal(signal.SIGTERM)


def hogs(_):
    return len(bytearray(8 << 30))


def blocks(for_s):
    hold(for_s)


def hold(for_s):
    time.sleep(for_s)


def dies(how):
    {"_exit": lambda: os._exit(1), "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
     "SIGSEGV": lambda: ctypes.string_at(0), "SIGABRT": os.abort}[how]()


async def blocks_in_a_task(for_s):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(later(for_s))


async def later(for_s):
    hold(for_s)


def does(action):
    [(what, argument)] = (action.data or {"works": None}).items()
    if what == "blocks_in_a_task":
        return blocks_in_a_task(argument)
    if what != "works":
        return {"raises": raises, "returns": garbage, "prints": prints, "leaks": leaks, "hogs": hogs,
                "blocks": blocks, "dies": dies}[what](argument)
"""


def handlers(**knobs: str) -> str:
    """The source of all of them; `knobs` by processor."""
    source = FAULTS
    for name, how in EXECUTORS.items():
        where = DECLARED.get(name, "process")
        doing = "given = does(action)\n    return await given if inspect.iscoroutine(given) else given"
        doing = doing if how == "async def" else "return does(action)"
        given = "".join([f", executor={where!r}" if where else "", knobs.get(name, "")])
        source += f"\n\n@processor({name!r}, retries=0, concurrency=3{given})\n{how} {name}(action):\n    {doing}\n"
    return source


def between(*faults: object) -> list[object]:
    """Payloads of faults, with good neighbours around each."""
    return [{}, *(payload for fault in faults for payload in (fault, {}))]


async def alone(
    conn: asyncpg.Connection, processor: str, *faults: object, within_s: float = 30
) -> list[asyncpg.Record]:
    """The rows of these faults; every neighbour has completed at its first attempt."""
    ids = await ask(conn, processor, *between(*faults))
    rows = await until(conn, ids, "completed", "failed", within_s=within_s)
    neighbours = rows[::2]
    assert {(row["status"], row["attempts"], row["crashes"], row["error"]) for row in neighbours} == {
        ("completed", 1, 0, None)
    }
    return rows[1::2]
