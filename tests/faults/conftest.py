"""What tests of faults share: figures that were measured."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from house.source import ROOT

FIGURES = ROOT / "build" / "faults"


@pytest.fixture
def measured(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """measured(what=figure, ...): told, put into the report, and kept in build/faults/ under the name of the test."""
    kept: dict[str, object] = {}

    def keep(**figures: object) -> None:
        kept.update(figures)
        for name, figure in figures.items():
            print(f"{name}: {figure}")
            record_property(name, figure)
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / f"{request.node.name}.json").write_text(json.dumps(kept) + "\n")

    return keep
