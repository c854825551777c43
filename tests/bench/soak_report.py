"""What the samples of a soak say: a figure for everything that must not grow, and a plot of all of it.

The first tenth is left out of the figures: caches fill, pools open.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

import leather
from tests.bench.figure import Figure, table

Sample = dict[str, Any]  # one line of build/soak.jsonl

PLOTTED = {
    "memory_mb": "resident memory of the steady daemon, MB",
    "files": "its open files",
    "threads": "its threads",
    "tasks": "its asyncio tasks",
    "dead_tuples": "dead tuples of actiond.action",
    "queue_mb": "size of actiond.action with its indexes, MB",
    "latency_p50_ms": "from INSERT to handler, median, ms",
    "latency_p99_ms": "from INSERT to handler, 99 of 100, ms",
}


def figures(samples: Sequence[Sample], lost: int, detail: str) -> list[Figure]:
    """Printed as a table, too."""
    samples = samples[len(samples) // 10 :]
    hours = [sample["at_s"] / 3600 for sample in samples]
    memory = [sample["memory_mb"] for sample in samples]
    slope = linear_regression(hours, memory).slope
    found = [
        Figure("soak_lost", lost, detail),
        Figure("soak_memory_slope", slope, f"{memory[0]:.0f} MB at first, {memory[-1]:.0f} MB in the end"),
        *(_growth(f"soak_{name}", samples, name) for name in ("files", "threads", "tasks")),
        *(
            _ratio(f"soak_{name}", samples, name)
            for name in ("dead_tuples", "queue_mb", "latency_p50_ms", "latency_p99_ms")
        ),
    ]
    print(table(found), flush=True)
    return found


def _halves(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    """Medians of the first and of the second half."""
    values = [sample[name] for sample in samples if sample[name] is not None]
    middle = len(values) // 2
    return median(values[:middle]), median(values[middle:])


def _growth(figure: str, samples: Sequence[Sample], name: str) -> Figure:
    first, second = _halves(samples, name)
    return Figure(figure, second - first, f"median {first:g}, then {second:g}")


def _ratio(figure: str, samples: Sequence[Sample], name: str) -> Figure:
    first, second = _halves(samples, name)
    return Figure(figure, second / max(first, 0.001), f"median {first:g}, then {second:g}")


def plot(samples: Sequence[Sample], path: Path) -> None:
    """All of it over time in minutes, one small chart each."""
    grid = leather.Grid()
    for name, title in PLOTTED.items():
        points = [(sample["at_s"] / 60, sample[name]) for sample in samples if sample[name] is not None]
        if not points:
            continue
        chart = leather.Chart(title)
        chart.add_line(points, width=1)
        chart.add_x_axis(name="minutes")
        chart.add_y_scale(0, max(value for _, value in points) * 1.1 or 1)
        grid.add_one(chart)
    grid.to_svg(str(path), width=1200, height=1400)


if __name__ == "__main__":
    with Path(sys.argv[1]).open() as lines:  # build/soak.jsonl of a run that is going on, or was stopped
        so_far = [json.loads(line) for line in lines]
    figures(so_far, 0, "not known before the end")
    plot(so_far, Path(sys.argv[1]).with_suffix(".svg"))
