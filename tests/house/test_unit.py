"""The systemd files, judged by systemd's own tools. Nothing is started: these tools only read."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = (DEPLOY / "actiond@.service").read_text()
README = (DEPLOY / "README.md").read_text()


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here, and only systemd can judge its own files")
    return found


def an_instance(folder: Path, unit: str = UNIT) -> Path:
    """The template as systemd would load `actiond@main`, with a program that exists here."""
    instance = folder / "actiond@main.service"
    instance.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={program('true')}", unit, flags=re.MULTILINE))
    return instance


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    verdict = analyze("verify", an_instance(tmp_path))
    assert verdict.returncode == 0, verdict.stderr
    assert "actiond@main" not in verdict.stderr


def test_systemd_would_find_a_misspelt_line(tmp_path: Path) -> None:
    verdict = analyze("verify", an_instance(tmp_path, UNIT.replace("WatchdogSec=", "WatchDogSec=")))
    assert "WatchDogSec" in verdict.stderr


def test_the_service_is_closed_to_all_a_network_client_does_not_need(tmp_path: Path) -> None:
    verdict = analyze("security", "--offline=true", "--threshold=15", an_instance(tmp_path))
    assert verdict.returncode == 0, verdict.stdout


def test_a_service_without_its_sandbox_would_be_found_open(tmp_path: Path) -> None:
    open_unit = UNIT.replace("ProtectSystem=strict\n", "").replace("SystemCallFilter=@system-service\n", "")
    verdict = analyze("security", "--offline=true", "--threshold=15", an_instance(tmp_path, open_unit))
    assert verdict.returncode == 1


def test_every_drop_in_of_the_manual_is_understood_by_systemd(tmp_path: Path) -> None:
    drop_ins = re.findall(r"(?:^    .+\n)+", "\n".join(README.split("## More than")[1:]), flags=re.MULTILINE)
    assert len(drop_ins) >= 4
    instance = an_instance(tmp_path)
    whole = "\n".join(re.sub(r"^ +", "", text, flags=re.MULTILINE) for text in drop_ins)
    instance.write_text(f"{instance.read_text()}\n{whole}")
    verdict = analyze("verify", instance)
    assert verdict.returncode == 0, verdict.stderr
    assert "actiond@main" not in verdict.stderr


def test_the_unit_keeps_the_promises_of_the_manual() -> None:
    unit = read_unit()
    assert unit["Type"] == "notify"
    assert unit["NotifyAccess"] == "main"
    assert unit["WatchdogSec"] == "30"
    assert unit["TimeoutStopSec"] == "45"
    assert unit["KillMode"] == "mixed"
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["ExecStart"] == "/opt/actiond/bin/actiond run"
    assert unit["LoadCredential"] == "dsn:/etc/actiond/%i.dsn"
    assert unit["EnvironmentFile"] == "-/etc/actiond/%i.env"
    assert "45 s" in README
    assert "/var/lib/actiond/main" in README


def test_the_user_of_the_unit_is_the_one_that_sysusers_makes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = [program("systemd-sysusers"), f"--root={tmp_path}", str(DEPLOY / "actiond.sysusers")]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if made.returncode != 0 and "ermission" in made.stderr:
        pytest.skip("systemd-sysusers wants to be root, also for another root directory")
    assert made.returncode == 0, made.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    assert passwd.startswith(f"{read_unit()['User']}:x:")
    assert "nologin" in passwd


def read_unit() -> dict[str, str]:
    """The [Service] section; of a line that may be repeated, the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT)
    return dict(parser["Service"])
