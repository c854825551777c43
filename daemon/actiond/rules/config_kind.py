"""What a configuration file is about: kinds of things, and the fields that each may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actiond.rules.shapes import ABSENT, Shape

#: What names a thing: ("welcome",); of a schedule ("nightly", "report").
Key = tuple[str, ...]
#: Its fields, as they stand in a file; what is not set is not there.
Fields = dict[str, Any]
#: Section of the file -> things.
State = dict[str, dict[Key, Fields]]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `default`: the column of a row that does not say; it is not written."""

    name: str
    shape: Shape
    default: Any = None

    def of_column(self, column: Any) -> Any:
        """As it stands in a file; ABSENT = it stands there not."""
        if column is None or (self.default is not None and column == self.default):
            return ABSENT
        return self.shape.shown(column)

    def of_file(self, value: Any) -> Any:
        """Likewise, of what a file says. ValueError."""
        read = self.shape.read(value)
        return ABSENT if self.default is not None and self.shape.stored(read) == self.default else read

    def column(self, fields: Mapping[str, Any]) -> Any:
        """What is stored for a thing with these fields."""
        return self.shape.stored(fields[self.name]) if self.name in fields else self.default


@dataclass(frozen=True, slots=True)
class Kind:
    """One section of the file."""

    section: str
    word: str  # of one thing
    named_by: tuple[str, ...]  # what the parts of a key are
    fields: tuple[Field, ...]
    check: Callable[[Key, Fields], None]  # of a whole thing in a file; ValueError
    overlay: bool = False  # each field is a thing of its own: one that is not in the file stays

    def field(self, name: str) -> Field | None:
        """None: there is none of this name."""
        return next((each for each in self.fields if each.name == name), None)

    def of_row(self, row: Mapping[str, Any]) -> Fields:
        """A row as it stands in a file, in the order of the fields."""
        values = {each.name: each.of_column(row[each.name]) for each in self.fields}
        return {name: value for name, value in values.items() if value is not ABSENT}

    def called(self, key: Key) -> str:
        """In a message: schedule nightly for report."""
        return f"{self.word} {' for '.join(key)}"
