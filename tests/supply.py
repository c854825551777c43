"""What actiond is made of: a bill of materials, and whether anything is known against it.

    make sbom      build/actiond.cdx.json: what users get (the core and every extra), without the tools of developers
    make audit     requirements.lock against what is known of its packages

The tools have an environment of their own (supply.lock), so that they are no part of what they look at. An audit that
could not look is none: it says what it does not know and ends with exit code 2; 1 is that something is known.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
SBOM = ROOT / "build" / "actiond.cdx.json"
_NAMED = 5
_PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def packages(lock: str) -> dict[str, str]:
    """Name -> version, of every package in a lock file."""
    return dict(_PINNED.findall(lock))


def without_hash(lock: str) -> list[str]:
    """Packages whose files would be taken whatever is in them; and lines that pin nothing."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return [each.split()[0] for each in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", each)]


def judged(report: Mapping[str, Any], lock: Mapping[str, str]) -> tuple[int, list[str]]:
    """(exit code, lines) of what pip-audit says. 0 only if it has looked at every package."""
    looked = {plain(each["name"]): each for each in report["dependencies"] if "skip_reason" not in each}
    skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    known = [
        f"{each['name']} {each['version']}: {flaw['id']}, {_fixed(flaw)}"
        for each in looked.values()
        for flaw in each["vulns"]
    ]
    unknown = sorted({*skipped, *(_unnamed(report, lock))})
    if known:
        return 1, known
    if unknown or not looked:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        return 2, [
            (
                f"not audited: {len(unknown)} of {len(lock)} packages could not be looked up"
                f" ({', '.join(unknown[:_NAMED])}{more}). Nothing is known of them: try again where PyPI is reached."
            )
        ]
    return 0, [f"nothing is known against the {len(looked)} packages of {LOCK.name}"]


def _unnamed(report: Mapping[str, Any], lock: Mapping[str, str]) -> Iterable[str]:
    """Pinned, and not in the report at all. Those for another platform or an older Python are in no report."""
    named = {plain(each["name"]) for each in report["dependencies"]}
    return [] if named else sorted(lock)


def _fixed(flaw: Mapping[str, Any]) -> str:
    fixed = flaw.get("fix_versions")
    return f"fixed in {', '.join(fixed)}" if fixed else "not fixed yet"


def plain(name: str) -> str:
    """As packages are compared: Typing_Extensions is typing-extensions."""
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(tool: str) -> int:
    """Exit code, see above."""
    lock = packages(LOCK.read_text())
    asked = subprocess.run(
        [tool, "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json", "-r", str(LOCK)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(asked.stdout)
    except ValueError:
        why = (asked.stderr.strip() or "it said nothing").splitlines()[-1][:300]
        print(f"not audited: pip-audit could not look ({why}). Nothing is known: try again where PyPI is reached.")
        return 2
    code, lines = judged(report, lock)
    print("\n".join(lines))
    return code


def used() -> set[str]:
    """Names of what an installed actiond with all its extras uses here: what it requires, and what that requires. Of
    others only the extras that somebody asked for, not those for their own developers."""
    found: set[tuple[str, str]] = set()
    waiting = [
        ("actiond", extra) for extra in ["", *(distribution("actiond").metadata.get_all("Provides-Extra") or ())]
    ]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for said in distribution(name).requires or ():
            needs = Requirement(said)
            if needs.marker is None or needs.marker.evaluate({"extra": extra}):
                waiting += [(plain(needs.name), wanted) for wanted in ("", *needs.extras)]
    return {name for name, _ in found} - {"actiond"}


def of_users(bom: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The same bill with no more than these."""
    kept = [each for each in bom["components"] if plain(each["name"]) in names]
    refs = {each["bom-ref"] for each in kept} | {bom["metadata"]["component"]["bom-ref"]}
    needs = [
        {"ref": each["ref"], "dependsOn": sorted(refs & set(each.get("dependsOn", ())))}
        for each in bom["dependencies"]
        if each["ref"] in refs
    ]
    return {**bom, "components": kept, "dependencies": needs}


def sbom(tool: str) -> int:
    """Write SBOM, the same for the same environment."""
    asked = subprocess.run(
        [tool, "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON",
         "-o", "-", sys.executable],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode != 0:
        print(f"no bill of materials: {(asked.stderr.strip() or 'cyclonedx-py said nothing').splitlines()[-1]}")
        return 1
    bom = of_users(json.loads(asked.stdout), used())
    bom["metadata"]["component"]["version"] = _version()
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n")
    print(
        f"{SBOM.relative_to(ROOT)}: actiond {_version()} and {len(bom['components'])} packages it uses with all extras"
    )
    return 0


def _version() -> str:
    said = re.search(r'^__version__ = "(.+)"', (ROOT / "daemon/actiond/__init__.py").read_text(), re.MULTILINE)
    assert said is not None
    return said[1]


if __name__ == "__main__":
    sys.exit({"audit": audit, "sbom": sbom}[sys.argv[1]](sys.argv[2]))
