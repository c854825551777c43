"""docs/reliability.md names tests: they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from house.source import ROOT, TESTS, python_files, tree_of

SERVERS = ("disks", "networks", "notifications", "refusals", "standbys")
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def written_in(files: list[Path]) -> set[str]:
    """Names of test functions."""
    return {
        node.name
        for file in files
        for node in ast.walk(tree_of(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def unknown(page: str, tests: set[str]) -> list[str]:
    """Tests that a page names and nobody has written."""
    return sorted(set(re.findall(r"`(test_\w+)`", page)) - tests)


def test_every_test_that_the_page_names_exists() -> None:
    assert unknown(PAGE, written_in(python_files(TESTS))) == []


def test_every_story_of_faulty_handlers_is_on_the_page() -> None:
    stories = written_in([TESTS / "stories" / name for name in ("test_executors.py", "test_workers.py")])
    assert sorted(stories - set(re.findall(r"`(test_\w+)`", PAGE))) == [
        "test_a_handler_in_a_process_sees_that_its_action_was_canceled"  # no fault
    ]


def test_every_fault_of_servers_and_networks_is_on_the_page() -> None:
    written = written_in([TESTS / "faults" / f"test_{name}.py" for name in SERVERS])
    assert sorted(written - set(re.findall(r"`(test_\w+)`", PAGE))) == []


def test_a_test_that_nobody_wrote_is_found() -> None:
    assert unknown("`test_a` and `test_b`, in `tests/test_c.py`", {"test_a"}) == ["test_b"]
