"""What a log line is: a level, a name, fields, and when it is printed, written like a signature.

`once per processor` behind it marks a line that can flood: for the same processor it is printed at most once a
minute, and says in `repeated` how often it was held back; `once per daemon` means one such line a minute.
"""

from __future__ import annotations

import re
from enum import StrEnum

_SIGNATURE = re.compile(r"(?P<level>\w+) (?P<name>\w+)\((?P<fields>[\w, ]*)\)(?: once per (?P<per>[\w, ]+))?")


class Line(StrEnum):
    """One line of the log. Its value is its name."""

    level: str
    fields: tuple[str, ...]
    when: str
    once_per: tuple[str, ...] | None

    def __new__(cls, signature: str, when: str) -> Line:
        read = _SIGNATURE.fullmatch(signature)
        assert read is not None, f"not the signature of a log line: {signature}"
        line = str.__new__(cls, read["name"])
        line._value_ = read["name"]
        line.level = read["level"]
        line.fields = tuple(re.findall(r"\w+", read["fields"]))
        line.when = when
        line.once_per = None
        if per := read["per"]:
            line.once_per = () if per == "daemon" else tuple(re.findall(r"\w+", per))
        return line
