"""What is forbidden in texts of this repository, each as a function from a text to where it was found."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from house.source import docstrings, dotted, strings, tree_of

_SQL = re.compile(
    r"\s*(select\s|insert\s+into\s|update\s+[\w.\"]+\s+(\w+\s+)?set\s|delete\s+from\s|with\s+(recursive\s+)?\w+\s+as\s"
    r"|create\s+(or|table|temp|schema|database|index|unique|function|view|trigger|sequence|role|extension)\b"
    r"|alter\s+(table|role|database|system|sequence|index)\s|drop\s+(table|schema|database|index|function)\s"
    r"|set\s+(local\s+|session\s+)?(\w+[_.]\w+|role|timezone)\s*(=|to\s)|(un)?listen\s+\w+\s*$|notify\s+\w+\s*(,|$)|begin\s*$|commit\s*$)",
    re.IGNORECASE,
)
_DANGEROUS_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
_DANGEROUS_CALLS = {"eval", "exec", "__import__", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen"}
#: The date of the machine. Python knows only durations: when something happened is the database's word.
_DATES = {"now", "utcnow", "today", "time", "time_ns", "fromtimestamp", "utcfromtimestamp", "localtime", "gmtime"}
_DATE_HOLDERS = {"datetime", "date", "time", "datetime.datetime", "datetime.date"}

NOT_OURS = re.compile(
    r"\b(reaper|ctx|max_concurrency|group_id|tenant|tenant_id|cancel_requested)\b"
    r"|\bparallel\b(?! (safe|restricted|unsafe)\b)"
    r"|\.(again|keep|dead)\(|(?<![\w.])(listen|notify)\s+actiond\b(?!_)|pg_notify\('actiond'",
    re.IGNORECASE,
)
_CAPITAL_STATUS = re.compile(r"""(?P<q>['"`])(PENDING|Pending|RUNNING|Running|HELD|Held|COMPLETED|FAILED|CANCELED|"""
                             r"""CANCELLED|Cancelled|Queued|QUEUED|cancelled)(?P=q)""")  # fmt: skip


def calls(text: str) -> list[tuple[int, str]]:
    return [(node.lineno, dotted(node.func)) for node in ast.walk(tree_of(text)) if isinstance(node, ast.Call)]


def sleeps(text: str) -> list[str]:
    """Also sleep(0): there are anyio.lowlevel.checkpoint and support.database.eventually."""
    return [f"{line}: {name}" for line, name in calls(text) if name.split(".")[-1] == "sleep"]


def timed_asserts(text: str) -> list[str]:
    """Machines are noisy: a wait has a bound, a benchmark has a figure, a test asserts neither."""
    return [
        f"{node.lineno}: {name}"
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Assert)
        for _, name in calls(ast.unparse(node))
        if name.rpartition(".")[2] in ("monotonic", "perf_counter", "monotonic_ns", "perf_counter_ns")
    ]


def prints(text: str) -> list[str]:
    return [f"{line}: {name}" for line, name in calls(text) if name in ("print", "pprint", "pprint.pprint")]


def past_the_door(text: str) -> list[str]:
    """What a command prints by itself, and not by cli/say or cli/output, which let nothing through to a terminal."""
    doors = ("click.echo", "click.secho", "click.confirm", "click.style", "sys.stdout.write", "sys.stderr.write")
    return [f"{line}: {name}" for line, name in calls(text) if name in doors]


def dates(text: str) -> list[str]:
    return [
        f"{line}: {name}"
        for line, name in calls(text)
        if name.rpartition(".")[0] in _DATE_HOLDERS and name.rpartition(".")[2] in _DATES
    ]


def dangers(text: str) -> list[str]:
    """Code made of data."""
    imported = [
        f"{node.lineno}: import {alias.name}"
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (*node.names, *([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else ()))
        if alias.name.split(".")[0] in _DANGEROUS_MODULES
    ]
    return imported + [f"{line}: {name}" for line, name in calls(text) if name in _DANGEROUS_CALLS]


def sql_texts(text: str) -> list[str]:
    return [f"{node.lineno}: {node.value[:60]!r}" for node in strings(tree_of(text)) if _SQL.match(node.value)]


def _names(node: ast.expr | None) -> list[str]:
    """What an except clause names; a bare one names BaseException."""
    if node is None:
        return ["BaseException"]
    return [dotted(each) for each in (node.elts if isinstance(node, ast.Tuple) else [node])]


def catches_all(text: str) -> list[str]:
    """except Exception, except BaseException, bare except, suppress(Exception)."""
    caught = [(n.lineno, _names(n.type)) for n in ast.walk(tree_of(text)) if isinstance(n, ast.ExceptHandler)]
    caught += [
        (node.lineno, [dotted(argument) for argument in node.args])
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress"
    ]
    return [f"{line}: {name}" for line, names in caught for name in names if name in ("Exception", "BaseException")]


def swallowed_cancellations(text: str) -> list[str]:
    """Clauses that catch a cancellation and have no `raise` in them."""
    cancellations = ("BaseException", "CancelledError", "asyncio.CancelledError", "GeneratorExit")
    found = [
        f"{node.lineno}: {name}"
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.ExceptHandler)
        for name in _names(node.type)
        if name in cancellations and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    return found + [
        f"{node.lineno}: suppress"
        for node in ast.walk(tree_of(text))
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress"
        for argument in node.args
        if dotted(argument) in cancellations
    ]


def names_in_python(text: str) -> str:
    """Code and texts, without comments and docstrings."""
    said = {(doc.lineno, doc.col_offset) for doc in docstrings(tree_of(text)).values()}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kept = [t.string for t in tokens if t.type != tokenize.COMMENT and t.start not in said]
    return " ".join(kept).replace(" . ", ".").replace(" (", "(")


def names_in_sql(text: str) -> str:
    return re.sub(r"--.*", "", text)


def names_in_docs(text: str) -> str:
    """Code in fences and between backticks: prose may explain what others call a thing."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def not_ours(names: str, allowed: Iterable[str] = ()) -> list[str]:
    found = [match.group() for match in NOT_OURS.finditer(names)] + [m.group() for m in _CAPITAL_STATUS.finditer(names)]
    return [name for name in found if name not in allowed]
