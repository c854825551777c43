"""Optional packages, in one place: the only imports on demand outside the command line."""

from __future__ import annotations

import importlib.util


def uvloop_installed() -> bool:
    """Extra [fast]: a quicker event loop."""
    return importlib.util.find_spec("uvloop") is not None
