"""Pages that are made from code are up to date, and the file an operator edits says what holds without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actiond.host import pages, settings
from house.source import ROOT

MADE = ("deploy/actiond.env", "docs/settings.md", "docs/log.md", "docs/metrics.md")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages as they would be made now."""
    root = tmp_path_factory.mktemp("made")
    for path in MADE:
        (root / path).parent.mkdir(exist_ok=True)
    pages.write(root)
    return root


@pytest.mark.parametrize("path", MADE)
def test_a_page_that_is_made_from_code_is_up_to_date(made: Path, path: str) -> None:
    assert (ROOT / path).read_text() == (made / path).read_text(), "run: make pages"


def test_no_other_page_is_made(made: Path) -> None:
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == set(MADE)


def test_the_shipped_file_changes_nothing_and_every_line_of_it_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = pages.env_file().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    offered = dict(re.findall(r"^#(ACTIOND_\w+)=(.*)$", "\n".join(lines), re.MULTILINE))
    assert {name.removeprefix(settings.PREFIX).lower() for name in offered} == set(settings.Settings.model_fields)
    for name in offered:
        monkeypatch.delenv(name, raising=False)
    default = settings.read()
    for name, value in offered.items():
        monkeypatch.setenv(name, value)
    assert settings.read() == default


def test_every_setting_says_what_it_does_and_its_unit() -> None:
    for name, field in settings.Settings.model_fields.items():
        assert field.description, name
        if name.endswith("_s"):
            assert (field.description or "").startswith("Seconds"), name
