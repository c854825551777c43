"""How many rows may start: a bucket of tokens, one for all daemons, that fills at a steady rate.

Each row takes a token at its claim. So over any time t at most `burst` + t * rate rows are claimed, and over the
period that the rate names at most `burst` - 1 more than it allows: with a burst of one, never more than it says.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NO_RATE = "none"
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"([1-9]\d{0,6}) ?/ ?(?:([1-9]\d{0,4}) ?)?(s|min|h|d)")  # as the schema has it, and a few spaces
_USUAL_BURST_S = 0.1  # what comes in so long may start at once, unless the author says another burst
_TOGETHER_S = 0.05  # at high rates tokens are gathered this long, so that a claim brings more than one row
_SHORTEST_S = 0.001
_NEARLY = 1e-9  # a sum of fractions is a token short by less than this


@dataclass(frozen=True, slots=True)
class Rate:
    """Rows a second, and how many tokens are kept at most."""

    per_s: float
    burst: int

    @classmethod
    def of(cls, text: str, burst: int | None = None) -> Rate | None:
        """ "100/min", "300/5 min" -> that rate; "none" -> None. ValueError for anything else."""
        if text == NO_RATE:
            return None
        count, length, unit = _parts(text)
        per_s = count / (length * _UNITS[unit])
        return cls(per_s, burst or max(1, math.floor(per_s * _USUAL_BURST_S)))

    def filled(self, tokens: float | None, elapsed_s: float) -> float:
        """What the bucket holds, so long after it held `tokens` (None: nobody ever took one). Below zero never less."""
        if tokens is None:
            return float(self.burst)
        return min(float(self.burst), tokens + max(0.0, elapsed_s) * self.per_s)

    def wait_s(self, tokens: float) -> float:
        """How long until it is worth a claim; 0 = it is now."""
        if whole(tokens):
            return 0.0
        to_one_s, to_full_s = (1 - tokens) / self.per_s, (self.burst - tokens) / self.per_s
        return max(to_one_s, min(_TOGETHER_S, to_full_s), _SHORTEST_S)


def whole(tokens: float) -> int:
    """How many rows they allow."""
    return max(0, math.floor(tokens + _NEARLY))


def written(text: object) -> str:
    """As it is stored: "100 / min" -> "100/min". ValueError for what is no rate."""
    if text == NO_RATE:
        return NO_RATE
    count, length, unit = _parts(text)
    return f"{count}/{unit}" if length == 1 else f"{count}/{length} {unit}"


def doubled(text: str) -> str:
    """ "100/min" -> "200/min", in one word for a shell."""
    count, length, unit = _parts(text)
    each = unit if length == 1 else f"{length} {unit}"
    return f"{2 * count}/{each}" if length == 1 else f"'{2 * count}/{each}'"


def _parts(text: object) -> tuple[int, int, str]:
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"a rate as '10/s', '100/min', '300/5 min', '1000/d', or 'none', not {text!r}")
    return int(found[1]), int(found[2] or 1), found[3]
