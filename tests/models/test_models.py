"""The protocols as Spin models: each correct model passes, each of its bugs fails.

Spin turns a model into a C program that walks every interleaving. The models stand beside this file, with the
names of the files they are about.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
MODELS = Path(__file__).parent
needs_spin = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("cc")), reason="needs spin and a C compiler (apt-get install spin gcc)"
)


def bugs_of(model: Path) -> list[str]:
    return sorted(set(re.findall(r"BUG_\w+", model.read_text())))


def verdict(model: Path, folder: Path, *defines: str) -> int:
    """How many errors Spin finds: it stops at the first."""
    flags = [f"-D{each}" for each in defines]
    subprocess.run(["spin", *flags, "-a", str(model)], cwd=folder, check=True, capture_output=True)
    subprocess.run(["cc", "-O1", "-w", "-o", "pan", "pan.c", "-DMEMLIM=2048"], cwd=folder, check=True)
    liveness = ["-a", "-f"] if "ltl " in model.read_text() else []
    done = subprocess.run(["./pan", "-m200000", *liveness], cwd=folder, check=True, capture_output=True, text=True)
    assert "max search depth too small" not in done.stdout
    found = re.search(r"errors: (\d+)", done.stdout)
    assert found, done.stdout
    return int(found.group(1))


@needs_spin
@pytest.mark.parametrize("model", sorted(MODELS.glob("*.pml")), ids=lambda path: path.stem)
def test_a_correct_model_keeps_its_promises(model: Path, tmp_path: Path) -> None:
    assert verdict(model, tmp_path) == 0


@needs_spin
@pytest.mark.parametrize(
    ("model", "bug"),
    [(model, bug) for model in sorted(MODELS.glob("*.pml")) for bug in bugs_of(model)],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_a_model_with_a_bug_is_found_out(model: Path, bug: str, tmp_path: Path) -> None:
    assert verdict(model, tmp_path, bug) > 0
