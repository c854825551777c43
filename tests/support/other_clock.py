"""A wall clock that goes wrong while somebody looks at it: a preloaded library, so the real program sees it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("other_clock.c")


@dataclass(frozen=True, slots=True)
class OtherClock:
    """`environment` for whoever is to see it."""

    file: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "ACTIOND_TEST_CLOCK": str(self.file)}

    def goes_wrong(self, by_s: float) -> None:
        """From now on by so many seconds; negative: it is slow."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("d", by_s))


@contextmanager
def other_clock() -> Iterator[OtherClock]:
    """A right one, at first. Skips the test where there is no C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres may run as another user
        clock = OtherClock(folder / "wrong_by", folder / "other_clock.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", clock.library, SOURCE, "-ldl"], check=True)
        clock.file.write_bytes(struct.pack("d", 0.0))
        yield clock
