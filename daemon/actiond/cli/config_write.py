"""The configuration file, written: the same configuration is the same text, so that it stands well in git.

Queries stand as blocks, as they were written. What could be read as something else, here or by another reader of YAML,
stands in quotes: 'no', '22:00', '2026-03-28'.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from actiond.cli.config_read import PLAIN, VERSION
from actiond.postgres.config_kinds import KINDS
from actiond.rules.config_kind import Kind, State

_ABOUT = {
    "processors": "What operators have overridden of processors. What is not here is as declared.",
    "schedules": "Name, processor: when to wake it or, with data, insert an action. What is not here is as by default.",
    "plans": "Mass actions. What is not here is as by default.",
}
_HEAD = """\
# Configuration of actiond, as `actiond config export` writes it: what people have set, and nothing of what runs.
# `actiond config diff FILE` says what it would change in another database, `actiond config import FILE` does it.
"""


class _Dumper(yaml.SafeDumper):
    def analyze_scalar(self, scalar: str) -> Any:
        """A query may have tabs, and spaces at the end of a line."""
        found = super().analyze_scalar(scalar)
        found.allow_block = found.allow_block or _as_block(scalar)
        return found

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is written by reference."""
        return True


def _all_seen(text: str) -> bool:
    """Ends of lines besides \\n would come back as \\n, and who looks the file over would overlook what nobody sees:
    these stand in quotes, escaped."""
    return text.isprintable() or all(c.isprintable() or c in "\n\t" for c in text)


def _escaped(text: str) -> str:
    """What nobody sees stands in quotes only, and there it may be written so."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(ord(c)) for c in text)


def _escape(point: int) -> str:
    return f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"


def _as_block(text: str) -> bool:
    """Several lines, of which the last one says something: what follows a block must not become a part of it."""
    return "\n" in text and bool(text.strip()) and not text.endswith("\n\n") and _all_seen(text)


def _str(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if _as_block(value) else '"' if "\n" in value or not _all_seen(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _str)
for _tag, _pattern, _first in PLAIN:  # what our own reader takes for something else, beside what YAML 1.1 does
    _Dumper.add_implicit_resolver(f"tag:actiond,{_tag}", re.compile(f"(?:{_pattern.pattern})\\Z"), _first)


def write(state: State, sections: list[str]) -> str:
    """The text of the file, with these sections."""
    parts = [f"{_HEAD}version: {VERSION}\n"]
    for kind in KINDS:
        if kind.section in sections:
            text = yaml.dump(
                {kind.section: tree(kind, state)},
                Dumper=_Dumper,
                sort_keys=False,
                allow_unicode=True,
                width=1_000_000,
                default_flow_style=False,
            )
            parts.append(f"# {_ABOUT[kind.section]}\n{_escaped(text)}")
    return "\n".join(parts)


def tree(kind: Kind, state: State) -> dict[str, Any]:
    """A section as it is nested, in the order of the names."""
    found: dict[str, Any] = {}
    for key, fields in sorted(state[kind.section].items()):
        there = found
        for part in key[:-1]:
            there = there.setdefault(part, {})
        there[key[-1]] = fields
    return found
