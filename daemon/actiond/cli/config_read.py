"""The configuration file, read: YAML without its traps, and every error with its line and what is allowed.

Plain `true`, `false`, `null` and numbers as JSON writes them are what they look like; everything else is text: `no`,
`22:00`, `2026-03-28`, `0123`. Nothing is made of tags, there are no aliases, and no name stands twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from actiond.postgres.config_kinds import KINDS, SCHEDULES
from actiond.rules.config_kind import Fields, Key, Kind, State
from actiond.rules.shapes import ABSENT, said
from actiond.words.errors import ConfigFileInvalid

VERSION = 1
_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"null|~|")
_SWITCH = re.compile(r"true|false")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_DIGITS_MAX = 4_000  # of a whole number: Python reads no longer ones
#: Tag, pattern of the whole text, first characters; also what has to be quoted to stay a text.
PLAIN = (
    ("null", _NULL, ["n", "~", ""]),
    ("bool", _SWITCH, ["t", "f"]),
    ("int", _WHOLE, list("-0123456789")),
    ("float", _NUMBER, list("-0123456789")),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in its base

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """No aliases: a short file may be a gigabyte with them."""
        if self.check_event(yaml.AliasEvent):
            at: yaml.Event = self.get_event()  # type: ignore[no-untyped-call]
            raise _Wrong(_line(at), "an alias is not read here: write it out")
        return super().compose_node(parent, index)


for _tag, _pattern, _first in PLAIN:
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern.pattern})\\Z"), _first)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says."""

    file: str
    state: State = field(default_factory=dict)
    lines: dict[tuple[str, Key], int] = field(default_factory=dict)

    def wrong(self, section: str, key: Key, why: str) -> ConfigFileInvalid:
        """The error of one thing."""
        return ConfigFileInvalid(f"{self.file}:{self.lines.get((section, key), 1)}: {why}")


class _Wrong(Exception):
    """At this line: why."""


def read(text: str, file: str) -> Document:
    """All of it, checked as far as a file can be. ConfigFileInvalid."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        return _document(root, file)
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line = text.count("\n", 0, getattr(wrong, "position", 0)) if mark is None else mark.line
        why = getattr(wrong, "problem", None) or getattr(wrong, "reason", None) or "it is no YAML"
        raise ConfigFileInvalid(f"{file}:{line + 1}: {why}") from None
    except _Wrong as wrong:
        line, why = wrong.args
        raise ConfigFileInvalid(f"{file}:{line}: {why}") from None
    except RecursionError:
        raise ConfigFileInvalid(f"{file}: nested too deeply") from None


def _document(root: yaml.Node | None, file: str) -> Document:
    if root is None:
        raise _Wrong(1, f"it is empty; it begins with `version: {VERSION}`")
    document = Document(file)
    sections = {kind.section: kind for kind in KINDS}
    members = dict(_members(root, "the file"))
    version = members.pop("version", None)
    if version is None or _value(version[1]) != VERSION or isinstance(_value(version[1]), bool):
        line = 1 if version is None else version[0]
        raise _Wrong(line, f"it begins with `version: {VERSION}`, the format that this actiond reads")
    for name, (line, node) in members.items():
        if name not in sections:
            raise _Wrong(line, f"there is no section {name!r} (there are: version, {', '.join(sections)})")
        document.state[name] = {}
        for key, at, things in _things(sections[name], node):
            document.state[name][key] = _fields(sections[name], key, at, things)
            document.lines[name, key] = at
    _one_switch_a_name(document)
    return document


def _things(kind: Kind, node: yaml.Node) -> Iterator[tuple[Key, int, yaml.Node]]:
    """Each thing of a section: its key, its line, its fields."""
    found: list[tuple[Key, int, yaml.Node]] = [((), _line(node), node)]
    for part in kind.named_by:
        found = [
            ((*key, name), line, below)
            for key, _, above in found
            for name, (line, below) in _members(above, f"{kind.section}: each {part}").items()
        ]
    yield from found


def _fields(kind: Kind, key: Key, line: int, node: yaml.Node) -> Fields:
    given: Fields = {}
    for name, (at, value) in _members(node, kind.called(key)).items():
        known = kind.field(name)
        if known is None:
            allowed = ", ".join(each.name for each in kind.fields)
            raise _Wrong(at, f"{kind.called(key)}: there is no field {name!r} (there are: {allowed})")
        try:
            given[name] = known.of_file(_value(value))
        except ValueError as wrong:
            raise _Wrong(at, f"{kind.called(key)}: {name}: {wrong}") from None
    fields = {each.name: given[each.name] for each in kind.fields if given.get(each.name, ABSENT) is not ABSENT}
    try:
        kind.check(key, fields)
    except ValueError as wrong:
        raise _Wrong(line, f"{kind.called(key)}: {wrong}") from None
    return fields


def _one_switch_a_name(document: Document) -> None:
    said_by: dict[str, tuple[Key, Any]] = {}
    for key, fields in document.state.get(SCHEDULES.section, {}).items():
        switch = fields.get("name_enabled", True)
        first, before = said_by.setdefault(key[0], (key, switch))
        if switch != before:
            why = (
                f"schedule {key[0]}: name_enabled is one switch for all its processors; {first[1]} says {said(before)}"
            )
            raise _Wrong(document.lines[SCHEDULES.section, key], why)


def _line(at: yaml.Node | yaml.Event) -> int:
    return 1 if at.start_mark is None else at.start_mark.line + 1


def _members(node: yaml.Node, what: str) -> dict[str, tuple[int, yaml.Node]]:
    """Name -> line, value."""
    if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null":
        return {}
    if not isinstance(node, yaml.MappingNode) or node.tag != _TAG + "map":
        raise _Wrong(_line(node), f"{what} has names with values (`name: value`)")
    found: dict[str, tuple[int, yaml.Node]] = {}
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise _Wrong(_line(name), f"{what}: a name is a text")
        if name.value in found:
            raise _Wrong(_line(name), f"{what}: {name.value!r} stands there twice")
        found[name.value] = (_line(name), value)
    return found


def _value(node: yaml.Node) -> Any:
    """As JSON."""
    if isinstance(node, yaml.MappingNode):
        return {name: _value(each) for name, (_, each) in _members(node, "it").items()}
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(each) for each in node.value]
    text, tag = str(node.value), str(node.tag).removeprefix(_TAG)
    if isinstance(node, yaml.ScalarNode) and tag == "str":
        return text
    pattern = {name: each for name, each, _ in PLAIN}.get(tag)
    if not isinstance(node, yaml.ScalarNode) or pattern is None or not pattern.fullmatch(text):
        raise _Wrong(_line(node), f"what is tagged {node.tag} is not read here")
    if tag == "int":
        if len(text) > _DIGITS_MAX:
            raise _Wrong(_line(node), "a number of too many digits")
        return int(text)
    return {"null": None, "bool": text == "true"}[tag] if tag != "float" else float(text)
