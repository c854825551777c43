"""The manual tells the truth: its Python compiles, its SQL runs, its tables are those of the code."""

from __future__ import annotations

import ast
import re

import asyncpg
import pytest

from actiond.words.log_fields import COMMON_FIELDS
from actiond.words.log_lines import LogLine
from house.source import ROOT, short
from support.pages import Block, blocks_of

PAGES = sorted(page for page in (ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")) if page.exists())
#: Before a block of SQL that is not meant to run as it stands.
NOT_RUN = "not run"
#: Its blocks run one after the other, on databases of their own (tests/tutorial.py).
TUTORIAL = "docs/tutorial.md"
BLOCKS = [block for page in PAGES for block in blocks_of(page.read_text(), short(page))]


def written_in(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


async def run(conn: asyncpg.Connection, sql: str) -> None:
    """In a transaction that leaves nothing behind."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(sql)
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("block", written_in("python"), ids=str)
def test_python_in_the_manual_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    "block", [block for block in written_in("sql") if block.note != NOT_RUN and block.page != TUTORIAL], ids=str
)
async def test_sql_in_the_manual_runs(block: Block, conn: asyncpg.Connection) -> None:
    await run(conn, block.text)


def test_the_readme_shows_both_sides() -> None:
    readme = ROOT / "README.md"
    if len(readme.read_text().splitlines()) > 50:
        languages = {block.language for block in BLOCKS if block.page == "README.md"}
        assert {"python", "sql"} <= languages


def test_links_inside_the_repository_lead_somewhere() -> None:
    broken = [
        f"{short(page)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_line_of_the_log_has_its_place_in_the_manual() -> None:
    assert lines_named_in((ROOT / "docs" / "log.md").read_text()) == {*LogLine, *COMMON_FIELDS}


def lines_named_in(page: str) -> set[str]:
    """Names at the start of a row of a table."""
    return set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))


# The rules themselves.

A_PAGE = """
# Title

```python
await f()
```

<!-- not run -->

```sql
select nonsense
```

1. A list:
   ```sql
   select 1;
   insert into actiond.action (processor) values ('a');
   ```
   ```
   no language
   ```
"""


def test_blocks_are_found_with_their_language_and_their_place() -> None:
    blocks = blocks_of(A_PAGE, "page.md")
    assert [(str(block), block.language, block.note) for block in blocks] == [
        ("page.md:4", "python", ""),
        ("page.md:10", "sql", NOT_RUN),
        ("page.md:15", "sql", ""),
        ("page.md:19", "", ""),
    ]
    assert blocks[2].text.startswith("select 1;\n")


async def test_wrong_sql_is_found_and_nothing_of_right_sql_stays(conn: asyncpg.Connection) -> None:
    _, wrong, right, _ = blocks_of(A_PAGE)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await run(conn, wrong.text)
    await run(conn, right.text)
    assert await conn.fetchval("select count(*) from actiond.action") == 0


def test_wrong_python_is_found() -> None:
    with pytest.raises(SyntaxError):
        test_python_in_the_manual_compiles(Block("page.md", 1, "python", "def f(:"))


def test_pages_are_found() -> None:
    assert ROOT / "README.md" in PAGES
