"""Folders are floors: imports go down, or stay inside a folder, and never run in a circle."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from house.source import BUILT_INS, DAEMON, PACKAGE, PROCESSORS, Modules, dotted, imports, modules_of, tree_of

FLOORS = {
    "words": 0,
    "rules": 1,
    "contract": 2,
    "postgres": 3,
    "host": 3,
    "batch": 4,
    "loops": 5,
    "service": 6,
    "demo": 7,
    "torture": 7,
    "cli": 8,
    "testing": 9,
}
ROOF = 10
#: Modules beside the floors. They may import what they need; nobody below imports them.
ON_THE_ROOF = {"__init__", "__main__"}
#: Floors from which one may speak as an author or a user does: `import actiond`.
KNOWS_THE_PUBLIC_NAMES = {"demo", "cli"}
#: Imports on demand: the lazy group of commands, optional packages, and what every run of pytest loads.
IMPORTS_ON_DEMAND = {
    "actiond.cli.main",
    "actiond.contract.encryption",
    "actiond.contract.json_schema",
    "actiond.host.extras",
    "actiond_pytest.__init__",
}
#: These import what they find by name, besides the two above.
IMPORTS_BY_NAME = {*IMPORTS_ON_DEMAND, "actiond.host.discovery"}
#: Built-ins that need an extra: what of it they import.
OF_AN_EXTRA = {"actiond_processors.http_call": {"httpx"}, "actiond_processors.mail_session": {"aiosmtplib"}}
NOT_PURE = {"anyio", "asyncio", "asyncpg", "random", "structlog", "threading", "time"}


def target(imported: str, modules: Modules) -> str:
    """The module behind an imported name of our own: actiond.words.status.Status -> actiond.words.status."""
    parts = imported.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in modules:
            return name
        if f"{name}.__init__" in modules:
            return f"{name}.__init__"
    return imported


def standing(module: str) -> tuple[int, str]:
    """(floor, folder) of a module of actiond; KeyError for one that stands nowhere."""
    parts = module.split(".")
    if len(parts) == 2 and parts[1] in ON_THE_ROOF:
        return ROOF, ""
    if len(parts) == 2:
        raise KeyError(module)
    return FLOORS[parts[1]], parts[1]


def on_no_floor(modules: Modules) -> list[str]:
    found = []
    for module in modules:
        try:
            standing(module)
        except KeyError:
            found.append(f"{module} stands on no floor")
    return found


def upward(modules: Modules) -> list[str]:
    """Imports of a higher floor, of the other folder of one floor, of the roof."""
    found = []
    for module, text in modules.items():
        floor, folder = standing(module)
        for each in imports(text):
            if each.package != "actiond":
                continue
            there, their_folder = standing(target(each.name, modules))
            allowed = there < floor or (there == floor and their_folder == folder)
            if there == ROOF and folder in KNOWS_THE_PUBLIC_NAMES:
                allowed = target(each.name, modules) == "actiond.__init__"
            if not allowed:
                found.append(f"{module}:{each.line} (floor {floor}) imports {each.name} (floor {there})")
    return found


def circles(modules: Modules) -> list[str]:
    graph = {
        module: {target(each.name, modules) for each in imports(text) if each.package == "actiond"}
        for module, text in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        return [" -> ".join(circle.args[1])]
    return []


def inside_functions(modules: Modules) -> list[str]:
    return [
        f"{module}:{each.line} imports {each.name} inside a function"
        for module, text in modules.items()
        for each in imports(text)
        if each.in_function and module not in IMPORTS_ON_DEMAND
    ]


def by_name(modules: Modules) -> list[str]:
    return [
        f"{module}:{node.lineno} imports by name"
        for module, text in modules.items()
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in ("import_module", "__import__", "spec_from_file_location")
        and module not in IMPORTS_BY_NAME
    ]


def foreign(modules: Modules, allowed: set[str]) -> list[str]:
    """Imports of what is neither in the standard library nor allowed."""
    return [
        f"{module}:{each.line} imports {each.name}"
        for module, text in modules.items()
        for each in imports(text)
        if each.package not in sys.stdlib_module_names and each.package not in allowed
    ]


def folder(modules: Modules, *names: str) -> Modules:
    return {module: text for module, text in modules.items() if module.split(".")[1] in names}


def impure(modules: Modules) -> list[str]:
    """What waits, tells the time or rolls dice."""
    waits = [
        f"{module}:{node.lineno} has an async function"
        for module, text in modules.items()
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.AsyncFunctionDef)
    ]
    return waits + [
        f"{module}:{each.line} imports {each.name}"
        for module, text in modules.items()
        for each in imports(text)
        if each.package in NOT_PURE
    ]


ACTIOND = modules_of(DAEMON)
BUILT_IN = modules_of(PROCESSORS)


def test_every_file_stands_on_a_floor() -> None:
    assert on_no_floor(ACTIOND) == []


def test_every_floor_is_a_package_that_says_what_it_is() -> None:
    folders = [PACKAGE, BUILT_INS, *(PACKAGE / name for name in FLOORS)]
    silent = [folder.name for folder in folders if not ast.get_docstring(tree_of((folder / "__init__.py").read_text()))]
    assert silent == []


def test_a_source_root_is_no_package() -> None:
    assert not (DAEMON / "__init__.py").exists()
    assert not (PROCESSORS / "__init__.py").exists()


def test_modules_import_only_from_lower_floors_or_their_own_folder() -> None:
    assert upward(ACTIOND) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(ACTIOND) == []


def test_imports_stand_at_the_top_of_the_file() -> None:
    assert inside_functions(ACTIOND | BUILT_IN) == []


def test_modules_are_imported_by_name_in_few_places() -> None:
    assert by_name(ACTIOND | BUILT_IN) == []


def test_imports_are_absolute() -> None:
    assert [m for m, text in (ACTIOND | BUILT_IN).items() for each in imports(text) if each.name.startswith(".")] == []


def test_only_the_doors_to_the_database_know_asyncpg() -> None:
    others = {module: text for module, text in ACTIOND.items() if not module.startswith("actiond.postgres.")}
    assert [module for module, text in others.items() for each in imports(text) if each.package == "asyncpg"] == []


def test_words_and_rules_need_nothing_installed() -> None:
    pure = {module: text for module, text in ACTIOND.items() if module != "actiond.rules.cron"}
    assert foreign(folder(pure, "words", "rules"), {"actiond"}) == []
    assert foreign(folder(ACTIOND, "rules"), {"actiond", "cronsim"}) == []  # cronsim is arithmetic and nothing else


def test_words_and_rules_do_not_wait_and_do_not_know_the_time() -> None:
    assert impure(folder(ACTIOND, "words", "rules")) == []


def test_built_in_processors_know_only_the_public_names() -> None:
    needs = {"actiond", "actiond_processors", "anyio", "pydantic"}
    for module, text in BUILT_IN.items():
        assert foreign({module: text}, needs | OF_AN_EXTRA.get(module, set())) == []
    public = ACTIOND.keys() - {"actiond.__init__"}
    assert [m for m, text in BUILT_IN.items() for each in imports(text) if target(each.name, ACTIOND) in public] == []


def test_nothing_in_the_daemon_imports_the_built_in_processors() -> None:
    assert [m for m, text in ACTIOND.items() for each in imports(text) if each.package == "actiond_processors"] == []


# The rules themselves: each finds a module that breaks it.

SMALL_HOUSE = {
    "actiond.__init__": "from actiond.contract.action import Action",
    "actiond.words.__init__": "",
    "actiond.words.errors": "",
    "actiond.contract.__init__": "",
    "actiond.contract.action": "from actiond.words import errors",
    "actiond.postgres.__init__": "",
    "actiond.postgres.store": "",
    "actiond.host.__init__": "",
    "actiond.host.log": "",
    "actiond.cli.main": "import actiond",
}


def test_a_house_that_keeps_the_rules_is_left_in_peace() -> None:
    assert on_no_floor(SMALL_HOUSE) + upward(SMALL_HOUSE) + circles(SMALL_HOUSE) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("actiond.words.errors", "from actiond.contract.action import Action"),
        ("actiond.words.errors", "from actiond.contract import action"),
        ("actiond.words.errors", "import actiond.contract.action"),
        ("actiond.words.errors", "if TYPE_CHECKING:\n    from actiond.contract.action import Action"),
        ("actiond.host.log", "from actiond.postgres.store import Store"),
        ("actiond.postgres.store", "from actiond.host import log"),
        ("actiond.postgres.store", "import actiond"),
        ("actiond.postgres.store", "from actiond import Action"),
        ("actiond.cli.main", "import actiond.testing"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(module: str, text: str) -> None:
    assert upward({**SMALL_HOUSE, "actiond.testing.__init__": "", module: text})


def test_a_file_on_no_floor_is_found() -> None:
    assert on_no_floor({"actiond.helpers": ""})
    assert on_no_floor({"actiond.utils.text": ""})


def test_a_circle_inside_a_folder_is_found() -> None:
    a_circle = {"actiond.words.a": "from actiond.words.b import b", "actiond.words.b": "import actiond.words.a"}
    assert circles({**SMALL_HOUSE, **a_circle})


def test_an_import_inside_a_function_is_found() -> None:
    assert inside_functions({"actiond.words.a": "def f():\n    import json"})
    assert inside_functions({"actiond.words.a": "class A:\n    async def f(self):\n        from json import dumps"})
    assert by_name({"actiond.words.a": "importlib.import_module('json')"})


def test_waiting_and_the_clock_are_found_in_rules() -> None:
    assert impure({"actiond.rules.a": "import time"})
    assert impure({"actiond.rules.a": "from asyncio import sleep"})
    assert impure({"actiond.rules.a": "async def f(): ..."})
    assert foreign({"actiond.rules.a": "import pydantic"}, {"actiond"})
