"""docs/troubleshooting.md knows every reason of `explain` and every finding of `doctor`, in the words of the code."""

from __future__ import annotations

import re

from actiond.rules.explanation import REASONS
from actiond.rules.gate import name
from actiond.words.findings import CATALOG
from house.source import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has this title."""
    _, _, after = page.partition(f"| {first} |")
    rows = re.match(r"[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)*)", after)
    assert rows, first
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def test_the_table_of_reasons_is_that_of_the_gate() -> None:
    assert [row[:2] for row in table(PAGE, "reason")] == [[f"`{name(each)}`", each.value] for each in REASONS]


def test_the_table_of_findings_is_that_of_the_doctor() -> None:
    assert table(PAGE, "finding") == [
        [f"`{name}`", severity.name.lower(), why] for name, (severity, why) in CATALOG.items()
    ]


def test_a_row_that_is_missing_would_be_found() -> None:
    page = PAGE.replace("| `orphans` |", "| `orphan` |")
    assert table(page, "finding") != table(PAGE, "finding")
    assert len(table(PAGE, "finding")) == len(CATALOG)
