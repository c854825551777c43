"""What somebody changed by hand: the schema as it is, against what migrate would make of this version's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actiond.words.findings import Finding

Row = Mapping[str, Any]

_FUNCTION = re.compile(
    r"^create or replace function actiond\.(?P<name>\w+)\s*\((?P<head>.*?)\$(?P<tag>\w*)\$(?P<body>.*?)\$(?P=tag)\$",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_AGAIN = "apply all functions again: `delete from actiond.migration where version = 0`, then `actiond migrate`"


@dataclass(frozen=True, slots=True)
class Function:
    """What of a function can be compared."""

    name: str
    body: str
    definer: bool  # runs with its owner's rights
    pinned: bool  # has a search_path of its own


def functions_in(text: str) -> list[Function]:
    """Of sql/functions, one text."""
    return [
        Function(
            each["name"],
            each["body"],
            "security definer" in each["head"].lower(),
            bool(re.search(r"\bset search_path", each["head"], re.IGNORECASE)),
        )
        for each in _FUNCTION.finditer(text)
    ]


def functions(made: Sequence[Function], found: Sequence[Function]) -> Iterator[Finding]:
    """Those of this version that are gone or differ. Others may stand beside them."""
    there = set(found)
    names = {each.name for each in found}
    for each in made:
        if each in there:
            continue
        what = "is not what this version made" if each.name in names else "is missing"
        yield Finding("function_changed", f"actiond.{each.name} {what}", _AGAIN)


def catalog(made: Sequence[Row], found: Sequence[Row]) -> Iterator[Finding]:
    """Rows of sql/schema.sql against rows of sql/doctor_catalog.sql."""
    wanted = {(row["kind"], row["name"]): row["said"] for row in made}
    there = {(row["kind"], row["name"]): row for row in found}
    for key, said in wanted.items():
        row = there.get(key)
        if row is None:
            yield _gone(*key, said)
        elif row["said"] != said:
            yield _differs(*key, said, row["said"])
        elif not row["valid"]:
            yield _invalid(*key)
    for (kind, name), row in there.items():
        if (kind, name) not in wanted:
            yield _added(kind, name, row["said"], bool(row["valid"]))


def _gone(kind: str, name: str, said: str) -> Finding:
    if kind == "index":
        return Finding("index_missing", f"{name} is missing", f"`{_concurrently(said)}`")
    if kind == "trigger":
        return Finding("trigger_missing", f"the trigger {name} is missing", f"`{said}`")
    return Finding("table_changed", f"{kind} {name} is missing", f"put it back as it was: {said}")


def _differs(kind: str, name: str, said: str, found: str) -> Finding:
    if kind == "index":
        return Finding(
            "index_missing", f"{name} is another index: {found}", f"`drop index {name}`, then `{_concurrently(said)}`"
        )
    if kind == "trigger":
        return Finding("trigger_missing", f"the trigger {name} is another one: {found}", _AGAIN)
    return Finding("table_changed", f"{kind} {name} is: {found}", f"put it back as it was: {said}")


def _invalid(kind: str, name: str) -> Finding:
    if kind == "index":
        return Finding("index_invalid", f"{name} was not finished", f"`reindex index concurrently {name}`")
    table, own = name.split(".", 1)
    if kind == "trigger":
        return Finding(
            "trigger_missing",
            f"the trigger {name} is switched off",
            f"`alter table actiond.{table} enable trigger {own}`",
        )
    return Finding(
        "table_changed",
        f"{kind} {name} was never validated",
        f"`alter table actiond.{table} validate constraint {own}`",
    )


def _added(kind: str, name: str, said: str, valid: bool) -> Finding:
    if kind == "index" and not valid:
        return Finding("index_invalid", f"{name}, which is not actiond's, was not finished", f"`drop index {name}`")
    if kind == "index":
        return Finding("index_added", f"{name} is not actiond's: {said}", f"`drop index {name}`, if nothing needs it")
    return Finding("table_changed", f"{kind} {name} is not actiond's: {said}", "take it away, or keep it in mind")


def _concurrently(said: str) -> str:
    return re.sub(r"^CREATE (UNIQUE )?INDEX ", lambda m: f"create {(m[1] or '').lower()}index concurrently ", said)


def plan(nodes: Sequence[Row]) -> Iterator[Finding]:
    """The steps of the plan of a claim: each look at actiond.action must go by the index of what is due, or by id."""
    for node in nodes:
        if node.get("Relation Name") != "action" or node["Node Type"] == "ModifyTable":
            continue
        index = node.get("Index Name")
        if node["Node Type"] != "Index Scan" or index not in ("action_due", "action_pkey"):
            by = f" of {index}" if index else ""
            yield Finding(
                "claim_plan",
                f"the claim looks for rows by {node['Node Type']}{by}",
                "see index_missing and index_invalid; else `analyze actiond.action`",
            )
