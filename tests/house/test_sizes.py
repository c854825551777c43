"""Nothing grows beyond what one can hold in mind: files, functions; and every file says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from house.source import DAEMON, PROCESSORS, ROOT, TESTS, docstrings, python_files, short, tree_of

FILE_LINES = 300
FUNCTION_LINES = 50  # without docstrings
CODE = python_files(DAEMON, PROCESSORS)
TOOLS = python_files(TESTS / "support", TESTS / "bench", TESTS / "house")


def long_functions(text: str) -> list[str]:
    """Functions of more than FUNCTION_LINES, from `def` to their end, what is inside them counted."""
    found = []
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = sum((doc.end_lineno or 0) - doc.lineno + 1 for doc in docstrings(node).values())
            lines = (node.end_lineno or 0) - node.lineno + 1 - said
            if lines > FUNCTION_LINES:
                found.append(f"{node.name}: {lines} lines")
    return found


@pytest.mark.parametrize("path", CODE + TOOLS, ids=short)
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", CODE + TOOLS, ids=short)
def test_functions_are_short(path: Path) -> None:
    assert long_functions(path.read_text()) == []


@pytest.mark.parametrize("path", [*CODE, *TOOLS, *python_files(TESTS)], ids=short)
def test_a_module_begins_by_saying_what_it_is(path: Path) -> None:
    assert (ast.get_docstring(tree_of(path.read_text())) or "").strip()


def test_there_are_files_to_judge() -> None:
    assert ROOT / "daemon/actiond/rules/settlement.py" in CODE
    assert ROOT / "tests/support/database.py" in TOOLS


def test_a_long_function_is_found_and_its_docstring_is_not_counted() -> None:
    def function(lines: int, docstring: int) -> str:
        said = ['    """', *["    word"] * (docstring - 2), '    """'] if docstring else []
        return "\n".join(["def f():", *said, *["    pass"] * (lines - 1)])

    assert long_functions(function(lines=FUNCTION_LINES, docstring=0)) == []
    assert long_functions(function(lines=FUNCTION_LINES, docstring=30)) == []
    assert long_functions(function(lines=FUNCTION_LINES + 1, docstring=30)) == [f"f: {FUNCTION_LINES + 1} lines"]
    method = function(lines=FUNCTION_LINES + 1, docstring=0).replace("\n", "\n    ")
    assert long_functions(f"class A:\n    async {method}")
