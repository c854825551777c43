"""The files of this repository as the house rules see them: read and parsed, never imported.

A rule is a function from module names and texts to complaints, so that each rule can be shown to bite on a
module that breaks it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DAEMON = ROOT / "daemon"
PACKAGE = DAEMON / "actiond"
PROCESSORS = ROOT / "processors"
BUILT_INS = PROCESSORS / "actiond_processors"
SQL = ROOT / "sql"
TESTS = ROOT / "tests"

#: Module name -> text; a package has the name of its folder followed by `.__init__`.
Modules = dict[str, str]


def python_files(*folders: Path) -> list[Path]:
    """Every .py file below, in order."""
    return sorted(path for folder in folders for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def statements() -> list[Path]:
    """sql/*.sql: one statement each."""
    return sorted(SQL.glob("*.sql"))


def short(path: Path) -> str:
    """As in a complaint."""
    return str(path.relative_to(ROOT))


def modules_of(root: Path) -> Modules:
    """All modules below a source root."""
    return {".".join(path.relative_to(root).with_suffix("").parts): path.read_text() for path in python_files(root)}


@cache
def tree_of(text: str) -> ast.Module:
    """Parsed once."""
    return ast.parse(text)


def docstrings(tree: ast.AST) -> dict[int, ast.Constant]:
    """Texts that stand alone as a statement, by identity of their node."""
    return {
        id(node.value): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every other text; of an f-string only its beginning."""
    skipped = set(docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values[1:])
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or a chain of attributes; of anything else what can be said."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@dataclass(frozen=True)
class Import:
    """One imported name: `from a import b` is a.b."""

    name: str
    line: int
    in_function: bool

    @property
    def package(self) -> str:
        return self.name.split(".")[0]


def imports(text: str) -> Iterator[Import]:
    """Also those under `if TYPE_CHECKING` and inside functions."""
    tree = tree_of(text)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in inside)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(f"{'.' * node.level}{node.module or ''}.{alias.name}", node.lineno, id(node) in inside)
