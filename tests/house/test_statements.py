"""sql/*.sql: one statement a file, with a header that is true, that prepares, and that somebody uses."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from actiond.postgres.connection import connect
from house.source import (
    BUILT_INS,
    DAEMON,
    PACKAGE,
    PROCESSORS,
    SQL,
    dotted,
    modules_of,
    python_files,
    statements,
    strings,
    tree_of,
)
from support.database import Database, Server

NAMES = [path.stem for path in statements()]
MODULES = modules_of(DAEMON) | modules_of(PROCESSORS)
SAID = {node.value for text in MODULES.values() for node in strings(tree_of(text))}
FUNCTIONS = {
    (module, node.name)
    for module, text in MODULES.items()
    for node in ast.walk(tree_of(text))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
}


@dataclass(frozen=True)
class Statement:
    """A file: the comment at its top, and what the server gets to see."""

    text: str

    @property
    def header(self) -> list[str]:
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("--"):
                break
            lines.append(line[2:].strip())
        return lines

    @property
    def body(self) -> str:
        return "\n".join(re.sub(r"--.*", "", line) for line in self.text.splitlines())

    @property
    def described(self) -> set[int]:
        """Numbers of the parameters that the header explains, on the lines that are indented for it."""
        lines = re.findall(r"^--   .*", self.text, re.MULTILINE)
        return {int(number) for line in lines for number in re.findall(r"\$(\d+)", line)}

    @property
    def used(self) -> set[int]:
        return {int(number) for number in re.findall(r"\$(\d+)", self.body)}

    @property
    def callers(self) -> list[str]:
        """Places as `action_store.step` or `cli/wake`; remarks such as `every second` are no places."""
        said = " ".join(self.header).partition("called by:")[2]
        return [each.strip() for each in said.split(",") if re.fullmatch(r"[\w./]+", each.strip())]


def statement(name: str) -> Statement:
    return Statement((SQL / f"{name}.sql").read_text())


def complaints(name: str, found: Statement) -> list[str]:
    """What the header lacks."""
    header = "\n".join(found.header)
    said = []
    if not re.match(rf"{name}: \S.*[.?:]|{name}: \S", header):
        said.append(f"the first line is not `-- {name}: what it is for`")
    if not found.described and "no parameters" not in header:
        said.append("neither $1 nor `no parameters`")
    if found.described != found.used:
        said.append(f"parameters: the header has {sorted(found.described)}, the statement {sorted(found.used)}")
    if not re.search(r"^returns \S", header, re.MULTILINE):
        said.append("no line `returns ...`")
    if not found.callers:
        said.append("no line `called by: ...`")
    if ";" in found.body:
        said.append("a semicolon: one statement, no end mark")
    return said


def exists(place: str) -> bool:
    """Is there such a module, or such a function in such a module? People always exist."""
    if place == "people":
        return True
    dotted_place = "." + place.replace("/", ".")
    module, _, function = dotted_place.rpartition(".")
    return any(f".{each}".endswith(dotted_place) for each in MODULES) or any(
        name == function and f".{each}".endswith(module) for each, name in FUNCTIONS if module
    )


def asked_for(text: str) -> set[str]:
    """Names between brackets after something called sql or statements."""
    return {
        node.slice.value
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and re.search(r"(^|_|\.)(sql|statements)$", dotted(getattr(node.value, "func", node.value)).lower())
    }


@pytest.fixture(scope="module")
def schema(server: Server, template: str) -> Iterator[Database]:
    """One migrated database for the whole file: nothing here writes."""
    database = asyncio.run(server.create(template))
    yield database
    asyncio.run(server.drop(database))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_has_a_header_that_says_what_goes_in_and_what_comes_out(name: str) -> None:
    assert complaints(name, statement(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_callers_that_a_header_names_exist(name: str) -> None:
    assert [place for place in statement(name).callers if not exists(place)] == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_statement_prepares_as_the_daemon_would_prepare_it(name: str, schema: Database) -> None:
    connection = await connect(schema.dsn)  # with an empty search_path
    try:
        prepared = await connection.prepare(statement(name).text)
        assert len(prepared.get_parameters()) == len(statement(name).used)
    finally:
        await connection.close()


async def test_a_statement_that_names_a_missing_column_would_be_found(schema: Database) -> None:
    connection = await connect(schema.dsn)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await connection.prepare("select a.lease from actiond.action a")
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.prepare("select from action")
    await connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_used_by_name(name: str) -> None:
    assert name in SAID


def test_every_statement_that_is_asked_for_exists() -> None:
    asked = set().union(*(asked_for(path.read_text()) for path in python_files(PACKAGE, BUILT_INS)))
    assert len(asked) > 20
    assert asked - set(NAMES) == set()


def test_every_file_of_sql_has_a_place() -> None:
    known = {SQL, SQL / "migrations", SQL / "functions"}
    assert [
        path for path in SQL.rglob("*") if path.is_file() and (path.suffix != ".sql" or path.parent not in known)
    ] == []


# The rules themselves.


def test_a_header_that_lies_is_found() -> None:
    good = "-- beat: I am alive.\n--   $1 daemon int\n--   returns nothing\n--   called by: presence\nselect $1"
    assert complaints("beat", Statement(good)) == []
    assert complaints("heartbeat", Statement(good))
    assert complaints("beat", Statement(good.replace("$1 daemon", "daemon")))
    assert complaints("beat", Statement(good.replace("select $1", "select $1, $2")))
    assert complaints("beat", Statement(good.replace("returns", "gives")))
    assert complaints("beat", Statement(good.replace("called by: presence", "")))
    assert complaints("beat", Statement(good + ";"))


def test_a_caller_that_does_not_exist_is_found() -> None:
    assert exists("action_store.step")
    assert exists("presence")
    assert exists("postgres/enqueue")
    assert not exists("action_store.leap")
    assert not exists("absence")


def test_a_name_in_brackets_is_found(tmp_path: Path) -> None:
    assert asked_for("self._sql['a']; _statements['b']; Statements()['c']; row['d']; self._sql[name]") == {
        "a",
        "b",
        "c",
    }
