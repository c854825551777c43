"""The built-in `command` with programs in sh, perl, node and python that answer, crash, hang, flood, talk nonsense."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from actiond import Processor, ProcessorInvalid
from actiond.testing import EndedAction, run_batch
from actiond_processors import command
from actiond_processors.program import STDERR_SHOWN, Program
from support.database import eventually

pytestmark = pytest.mark.slow

PYTHON = """
import json, os, signal, subprocess, sys, time
for line in sys.stdin:
    action = json.loads(line)
    do = action["data"]
    answer = {"id": action["id"], "ok": True, "result": {"pid": os.getpid(), "did": do}}
    if do == "exit": print("about to leave", file=sys.stderr, flush=True); os._exit(3)
    if do == "segfault": os.kill(os.getpid(), signal.SIGSEGV)
    if do == "hang": print("thinking", file=sys.stderr, flush=True); time.sleep(600)
    if do == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)
    if do == "child": subprocess.Popen(["sleep", "600"]); open(os.environ["SEEN"], "w").write(str(os.getpgid(0)))
    if do == "flood": sys.stdout.write("x" * 3_000_000)
    if do == "endless":
        while True: sys.stdout.write("x" * 65536)
    if do == "complain": sys.stderr.write("e" * 3_000_000 + "the end"); sys.stderr.flush(); os._exit(1)
    if do == "garbage": print("hello"); sys.stdout.flush(); continue
    if do == "other": answer["id"] = 4711
    if do == "twice": print(json.dumps(answer))
    if do == "silent": continue
    if do == "close": os.close(1); time.sleep(600)
    if do == "secret": answer["result"] = os.environ["KEY"]
    if do == "nul": answer["result"] = "a\\0b"
    if do == "fail": answer = {"id": action["id"], "error": "no", "behavior": "SUDDEN_DEATH"}
    print(json.dumps(answer), flush=True)
"""

PERL = r"""
use strict; use warnings; use JSON::PP; $| = 1;
while (my $line = <STDIN>) {
    my $action = decode_json($line);
    my $sum = 0; $sum += $_ for @{ $action->{data} };
    die "that is too much\n" if $sum > 100;
    print encode_json({ id => $action->{id}, ok => JSON::PP::true, result => $sum }), "\n";
}
"""

NODE = """
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const action = JSON.parse(line)
  if (action.data.bad) process.exit(7)
  console.log(JSON.stringify({ id: action.id, ok: true, result: action.data.name.toUpperCase() }))
})
"""

SHELL = """
read -r line
id=${line#*\\"id\\": }; id=${id%%,*}
case $line in *bad*) echo "this is bad" >&2; exit 2;; esac
echo "{\\"id\\": $id, \\"ok\\": true}"
"""


def program(tmp_path: Path, text: str, with_: str) -> list[str]:
    found = shutil.which(with_)
    if found is None:
        pytest.skip(f"{with_} is not installed here")
    path = tmp_path / "program"
    path.write_text(text)
    return [found, str(path)]


@pytest.fixture
def python(tmp_path: Path) -> dict[str, Any]:
    """The config of a Python program that does what its rows say."""
    return {"argv": program(tmp_path, PYTHON, sys.executable), "timeout": "5 s"}


async def do(config: dict[str, Any], *payloads: Any) -> list[EndedAction]:
    return await run_batch(command.make("p", config), payloads)


def kinds(ended: list[EndedAction]) -> list[str]:
    return [each.kind for each in ended]


async def test_a_program_in_perl(tmp_path: Path) -> None:
    ended = await do({"argv": program(tmp_path, PERL, "perl")}, [1, 2], [99, 2], "no list", [], [40, 2])
    assert kinds(ended) == ["completed", "retried", "retried", "completed", "completed"]
    assert [each.result for each in ended] == [3, None, None, 0, 42]
    assert "exit code" in str(ended[1].error)
    assert "that is too much" in str(ended[1].error)


async def test_a_program_in_node(tmp_path: Path) -> None:
    ended = await do({"argv": program(tmp_path, NODE, "node")}, {"name": "ada"}, {"bad": 1}, {"name": "zoë"})
    assert kinds(ended) == ["completed", "retried", "completed"]
    assert (ended[0].result, ended[2].result) == ("ADA", "ZOË")
    assert ended[1].error == "no answer: the program ended with exit code 7"


async def test_a_program_in_sh_for_each_row(tmp_path: Path) -> None:
    ended = await do({"argv": program(tmp_path, SHELL, "sh"), "per": "row"}, 1, "bad", 3)
    assert kinds(ended) == ["completed", "retried", "completed"]
    assert ended[1].error == "no answer: the program ended with exit code 2; it said: this is bad"


async def test_one_process_for_a_batch(python: dict[str, Any]) -> None:
    ended = await do(python, 1, 2, 3)
    assert len({each.result["pid"] for each in ended}) == 1
    ended = await do(python | {"per": "row"}, 1, 2, 3)
    assert len({each.result["pid"] for each in ended}) == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("exit", "exit code 3; it said: about to leave"),
        ("segfault", "ended by signal SIGSEGV"),
        ("flood", "more than 1048576 bytes in one line"),
        ("endless", "more than 1048576 bytes in one line"),
        ("complain", "the end"),
        ("garbage", "no JSON"),
        ("other", "it tells of action 4711"),
        ("close", "the program closed its output"),
    ],
)
@pytest.mark.parametrize("window", [1, 3])
async def test_what_a_program_does_ends_only_its_own_row(
    python: dict[str, Any], fault: str, said: str, window: int
) -> None:
    ended = await do(python | {"window": window}, 1, 2, fault, 4, 5)
    assert kinds(ended) == ["completed", "completed", "retried", "completed", "completed"]
    assert said in str(ended[2].error)
    assert len(ended[2].settlement.detail or "") < 10_000


def test_only_the_end_of_standard_error_is_kept() -> None:
    running = Program(100, str)
    for _ in range(100):
        running.pipe_data_received(2, b"x" * 65536)
    assert len(running._errors) == 2 * STDERR_SHOWN


@pytest.mark.parametrize("fault", ["hang", "deaf", "silent"])
async def test_no_answer_in_time(python: dict[str, Any], fault: str) -> None:
    ended = await do(python | {"timeout": "1 s"}, 1, fault, 3)
    assert kinds(ended) == ["completed", "retried", "completed"]
    assert str(ended[1].error).startswith("no answer within 1 s")
    assert ("thinking" in str(ended[1].error)) == (fault == "hang")


async def test_the_first_answer_counts(python: dict[str, Any]) -> None:
    ended = await do(python, "twice", 2, "fail")
    assert kinds(ended) == ["completed", "completed", "failed"]


async def test_programs_that_read_everything_first(tmp_path: Path) -> None:
    text = "import sys, json\nfor line in [*sys.stdin]: print(json.dumps({'id': json.loads(line)['id'], 'ok': True}))"
    argv = program(tmp_path, text, sys.executable)
    assert kinds(await do({"argv": argv, "window": 10_000}, *range(100))) == ["completed"] * 100
    assert kinds(await do({"argv": argv, "per": "row"}, 1)) == ["completed"]


async def test_nothing_is_left_of_a_program_or_of_what_it_started(python: dict[str, Any], tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    config = python | {"environment": {"SEEN": str(seen)}, "timeout": "1 s"}
    for last in ("well", "hang", "exit"):
        await do(config, "child", last)
        await eventually(lambda: not alive(int(seen.read_text())))


async def test_a_stopped_batch_ends_its_program_and_gives_back_what_had_not_begun(
    python: dict[str, Any], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    made = command.make("p", python | {"environment": {"SEEN": str(seen)}, "timeout": "600 s"})
    hurried = Processor(made.name, made.handler, made.batch, {**made.given, "timeout": 2.0})
    ended = await run_batch(hurried, ["child", "hang", 3, 4])
    assert kinds(ended) == ["completed", "retried", "retried", "retried"]
    assert [each.retries_left for each in ended] == [None, 2, None, None]  # only the one that had begun is charged
    assert str(ended[1].error).startswith("timed out")
    await eventually(lambda: not alive(int(seen.read_text())))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def test_no_zombies(python: dict[str, Any]) -> None:
    for fault in ("exit", "garbage", "segfault"):
        await do(python, fault, 1)
    assert [pid for pid in children() if state(pid) == "Z"] == []


def children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_the_environment_is_what_was_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://secret")
    monkeypatch.setenv("ACTIOND_SECRET_KEY", "sesame-key")
    monkeypatch.setenv("MINE", "mine")
    text = (
        "import json, os, sys\nfor line in sys.stdin: print(json.dumps({'id': json.loads(line)['id'], 'ok': True,"
        " 'result': [dict(os.environ), os.getcwd()]}), flush=True)"
    )
    config = {
        "argv": program(tmp_path, text, sys.executable),
        "directory": str(tmp_path),
        "inherit": ["MINE", "NONE"],
        "environment": {"KEY": {"secret": "key"}, "TEXT": "text"},
    }
    (ended,) = await do(config, 1)
    environment, folder = ended.result
    assert environment.pop("LC_CTYPE", None) in (None, "C.UTF-8")  # Python's own
    assert environment == {"MINE": "mine", "KEY": "[hidden]", "TEXT": "text"}
    assert folder == os.fspath(tmp_path)


async def test_a_secret_is_not_kept_and_what_cannot_be_stored_is_replaced(
    python: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIOND_SECRET_K", "sesame-key")
    ended = await do(python | {"environment": {"KEY": {"secret": "k", "prefix": "p"}}}, "secret", "nul")
    assert [each.result for each in ended] == ["p[hidden]", "a\ufffdb"]


async def test_a_program_that_is_gone_charges_nobody(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(f"#!{sys.executable}\n")
    path.chmod(0o755)
    made = command.make("p", {"argv": [str(path)]})
    path.unlink()
    ended = await run_batch(made, [1, 2])
    assert [(each.kind, each.retries_left) for each in ended] == [("retried", None)] * 2
    assert "cannot be started: No such file" in str(ended[0].error)


async def test_no_shell_ever_reads_what_a_row_says(tmp_path: Path, python: dict[str, Any]) -> None:
    touched = tmp_path / "touched"
    (ended,) = await do(python, f"$(touch {touched}); `touch {touched}`")
    assert ended.kind == "completed"
    assert not touched.exists()


async def test_programs_of_several_calls_run_at_once(python: dict[str, Any]) -> None:
    made = command.make("p", python)
    ended = await asyncio.gather(*(run_batch(made, [1, 2]) for _ in range(4)))
    assert len({each[0].result["pid"] for each in ended}) == 4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "argv: Field required"),
        ({"argv": []}, "argv: "),
        ({"argv": "perl x.pl"}, "argv: "),
        ({"argv": ["no-such-program"]}, "there is no program no-such-program"),
        ({"argv": ["./perl"]}, "neither a name nor a whole path"),
        ({"argv": ["/etc/passwd"]}, "there is no program /etc/passwd that can be run"),
        ({"argv": ["sh", "a\0b"]}, "holds no NUL"),
        ({"argv": ["sh"], "directory": "/nowhere"}, "there is no folder /nowhere"),
        ({"argv": ["sh"], "environment": {"A=B": "c"}}, "'A=B' is no variable"),
        ({"argv": ["sh"], "environment": {"A": {"secret": "nowhere"}}}, "environment.A: there is no secret"),
        ({"argv": ["sh"], "window": 0}, "window: "),
        ({"argv": ["sh"], "window": 2, "per": "row"}, 'window is for "per": "batch"'),
        ({"argv": ["sh"], "shell": True}, "shell: there is no such field"),
    ],
    ids=range(13),
)
def test_a_wrong_config_names_processor_and_field(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorInvalid) as wrong:
        command.make("mine", config)
    assert "'mine': config " in str(wrong.value)
    assert said in str(wrong.value)


@pytest.mark.parametrize(("with_", "example"), [("perl", "word_count.pl"), ("node", "word_count.mjs")])
async def test_the_examples_run(with_: str, example: str) -> None:
    if shutil.which(with_) is None:
        pytest.skip(f"{with_} is not installed here")
    argv = [with_, str(Path(__file__).parents[2] / "examples" / example)]
    ended = await do({"argv": argv}, {"text": "to be or not to be"}, {}, {"text": ""})
    assert kinds(ended) == ["completed", "failed", "completed"]
    assert (ended[0].result, ended[2].result) == ({"to": 2, "be": 2, "or": 1, "not": 1}, {})
    assert ended[1].error == "there is no text"
