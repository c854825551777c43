"""The tutorial, followed to the letter: `make tutorial`.

Every block of docs/tutorial.md is done in the order of the page, in an empty directory, with a virtual environment that
the page itself makes; what the page shows is compared with what is said (`…` is a blank). It ends with rows completed,
or with a line that says which block was not so. What it started it ends.

How a block is done follows from its language and from the comment before it:

    ```sh                                  run in the reader's own terminal
    <!-- terminal: NAME -->  ```sh         run in a terminal of that name, where it goes on
    <!-- fails -->           ```sh         run, and must end with an exit code that is not 0
    <!-- file: NAME -->      ```LANGUAGE   written to that file
    ```sql                                 run by asyncpg on ACTIOND_DSN
    ```text                                what the block before it says
    <!-- as root -->         ```sh         not run here: tests/house/test_tutorial_page.py says what stands for it

The page says `pip install 'actiond[demo]'`. Here pip finds a wheel of this checkout under that name; that it is this
one and no other is checked before anything of it is run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path

from support.pages import Block, blocks_of
from support.shells import Shell
from support.shown import begun, same

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
PATIENCE_S = float(os.environ.get("ACTIOND_TEST_PATIENCE_S", "300"))  # with one block; most of it is for pip
#: Commands that only look. They are asked again until they say what the page shows: a person would look again, too.
LOOKS = re.compile(r"(actiond (status|ls|show|errors|failures|explain|history|stats|doctor)|cat|ls)\b")
RUN_SQL = """
import asyncio, asyncpg, os, pathlib, sys
async def run():
    connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
    await connection.execute(pathlib.Path(sys.argv[1]).read_text())
    await connection.close()
asyncio.run(run())
"""


class NotAsShown(Exception):
    """A block did not do what the page says."""


class Reader:
    """Somebody who does what the page says, and looks whether it is so."""

    def __init__(self, folder: Path, scratch: Path, environment: dict[str, str], ends: ExitStack) -> None:
        self._folder, self._scratch, self._environment, self._ends = folder, scratch, environment, ends
        self._shells: dict[str, Shell] = {}
        (scratch / "sql.py").write_text(RUN_SQL)

    def follow(self, blocks: list[Block]) -> None:
        """All of them."""
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            shown = after.text if after is not None and after.language == "text" else None
            began = time.monotonic()
            try:
                self._do(block, shown)
            except (TimeoutError, NotAsShown) as wrong:
                raise NotAsShown(f"{block}: {wrong}\n\nThe block is:\n{block.text}") from None
            if block.language != "text":
                print(f"{block} {block.note or block.language} ({time.monotonic() - began:.1f} s)", flush=True)

    def _do(self, block: Block, shown: str | None) -> None:
        kind, _, name = block.note.partition(": ")
        match block.language, kind:
            case "text", "":
                pass  # has been compared
            case _, "file":
                (self._folder / name).write_text(block.text)
            case "sql", "":
                (self._scratch / "block.sql").write_text(block.text)
                self._run(f"python {self._scratch / 'sql.py'} {self._scratch / 'block.sql'}", shown, fails=False)
            case "sh", "terminal":
                self._start(name, block.text, shown)
            case "sh", "" | "fails":
                self._run(block.text, shown, fails=kind == "fails")
            case "sh", "as root":
                pass
            case _:
                raise NotAsShown(f"nobody knows what to do with {block.language!r}, {block.note!r}")

    def _shell(self, name: str) -> Shell:
        if name not in self._shells:
            self._shells[name] = Shell(self._folder, self._environment, self._scratch)
            self._ends.callback(self._shells[name].close)
        return self._shells[name]

    def _start(self, name: str, commands: str, shown: str | None) -> None:
        shell = self._shell(name)
        shell.start(commands)
        if shown is not None:
            try:
                shell.wait(lambda: begun(shown, shell.said), PATIENCE_S)
            except TimeoutError as late:
                raise NotAsShown(f"the page shows\n{shown}\n{late}") from None

    def _run(self, commands: str, shown: str | None, *, fails: bool) -> None:
        looks = all(LOOKS.match(line) for line in commands.splitlines())
        until = time.monotonic() + PATIENCE_S / 3
        while True:
            said, code = self._shell("own").run(commands, PATIENCE_S)
            if "--verbose" in sys.argv:
                print(said, flush=True)
            if (code != 0) == fails and (shown is None or same(shown, said)):
                return
            if not looks or time.monotonic() > until:
                break
        if (code != 0) != fails:
            raise NotAsShown(f"ended with exit code {code} and said\n{said}")
        raise NotAsShown(f"the page shows\n{shown}\nand it said\n{said}")

    def stop(self) -> None:
        """Ctrl-C in every terminal where something goes on; each must end well."""
        for name, shell in reversed(self._shells.items()):
            if not shell.ended():
                shell.interrupt()
                if "daemon_stopped exit_code=0" not in shell.said:
                    raise NotAsShown(f"what ran in terminal {name} did not end well:\n{shell.said[-3000:]}")


def wheel(folder: Path) -> Path:
    """This checkout, packed by whatever packs here."""
    pip = [sys.executable, "-m", "pip"]
    has_pip = subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0
    pack = (
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir"] if has_pip else ["uv", "build", "--wheel", "--out-dir"]
    )
    subprocess.run([*pack, str(folder), str(ROOT)], check=True)
    (made,) = folder.glob("actiond-*.whl")
    return made


def environment_for(folder: Path, packed: Path) -> dict[str, str]:
    """What a new terminal would have; with a home for the data of `actiond dev`, and the wheel where pip looks."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ACTIOND_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "PG")) and name != "COLUMNS"
    }
    path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != Path(sys.executable).parent]
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent  # so that `python3` is the one of these tests
    only = folder / "constraints.txt"
    only.write_text(f"actiond=={packed.name.split('-')[1]}\n")
    return kept | {
        "PATH": os.pathsep.join([str(base), *path]),
        "XDG_DATA_HOME": str(folder / "data"),
        "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {packed.parent}".strip(),
        "PIP_CONSTRAINT": str(only),
        "PIP_ONLY_BINARY": "actiond",  # a stranger's of that name must not run anything before it is looked at
        "TERM": "xterm",
    }


def is_this_one(folder: Path, packed: Path) -> bool:
    """Is what pip has installed below this folder what was packed?"""
    (site,) = folder.glob(".venv/lib/python*/site-packages")
    with zipfile.ZipFile(packed) as ours:
        names = [name for name in ours.namelist() if ".dist-info/" not in name]
        return all((site / name).is_file() and (site / name).read_bytes() == ours.read(name) for name in names)


def main() -> int:
    """0, or 1 with the block that was not so."""
    home = Path(tempfile.mkdtemp(prefix="tutorial-"))
    home.chmod(0o711)  # Postgres does not run as root, and its user passes through
    try:
        places = {name: home / name for name in ("empty", "scratch", "data", "wheel")}
        for place in places.values():
            place.mkdir(mode=0o711)
        packed = wheel(places["wheel"])
        environment = environment_for(places["data"].parent, packed)
        blocks = blocks_of(PAGE.read_text(), "docs/tutorial.md")
        with ExitStack() as ends:
            reader = Reader(places["empty"], places["scratch"], environment, ends)
            reader.follow(blocks[:1])  # installs
            if not is_this_one(places["empty"], packed):
                raise NotAsShown("what pip has installed is not this checkout")
            reader.follow(blocks[1:])
            reader.stop()
    except NotAsShown as wrong:
        print(f"not as the page shows: {wrong}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print("every block of docs/tutorial.md does what it shows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
