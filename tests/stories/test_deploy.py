"""actiond deploy: what it prints, what it writes, what it leaves alone; and that systemd understands what it wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from actiond.host.settings import Settings
from support.command import actiond

pytestmark = pytest.mark.slow

UNIT = "etc/systemd/system/actiond@.service"


def written(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


async def deploy(*arguments: str, stdin: str = ""):
    return await actiond("deploy", "systemd", "--instance", "main", *arguments, stdin=stdin)


async def test_without_a_place_it_prints_everything_and_what_comes_next() -> None:
    said = await deploy()
    assert said.code == 0
    for place in (
        "# /etc/systemd/system/actiond@.service",
        "# /etc/actiond/main.env",
        "# /etc/sysusers.d/actiond.conf",
    ):
        assert place in said.out
    assert "LoadCredential=dsn:/etc/actiond/%i.dsn" in said.out
    assert said.out.strip().endswith("systemctl status actiond@main")
    whole = json.loads((await deploy("--json")).out)
    assert [file["mode"] for file in whole["files"]] == ["0644", "0644", "0600"]
    assert "systemctl enable --now actiond@main" in whole["next"]


async def test_it_writes_what_systemd_understands(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "actiond"
    program.parent.mkdir()
    program.symlink_to(shutil.which("true") or "/bin/true")
    said = await deploy("--to", str(tmp_path), "--program", str(program))
    assert said.code == 0, said.err
    unit = tmp_path / UNIT
    assert f"ExecStart={program} run\n" in unit.read_text()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "etc").rglob("*") if path.is_file()}
    assert modes == {"actiond@.service": 0o644, "actiond.conf": 0o644, "main.env": 0o600}
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    instance = tmp_path / "actiond@main.service"
    instance.write_text(unit.read_text())
    for question in (["verify"], ["security", "--offline=true", "--threshold=15"]):
        judged = subprocess.run(  # noqa: ASYNC221 - quick, and nothing else runs here
            [analyze, "--no-pager", *question, str(instance)], capture_output=True, text=True, check=False, timeout=60
        )
        assert judged.returncode == 0, judged.stderr
        assert "actiond@main" not in judged.stderr


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    said = await deploy("--to", str(tmp_path), "--dry-run")
    assert said.out.count("would be written") == 3
    assert written(tmp_path) == []


async def test_settings_are_kept_and_a_unit_is_replaced_only_when_one_says_yes(tmp_path: Path) -> None:
    await deploy("--to", str(tmp_path))
    unit, settings = tmp_path / UNIT, tmp_path / "etc/actiond/main.env"
    settings.write_text("ACTIOND_THREADS=7\n")
    assert (await deploy("--to", str(tmp_path))).out.count("unchanged") == 2
    unit.write_text("[Unit]\n")
    said = await deploy("--to", str(tmp_path), stdin="n\n")
    assert (said.code, unit.read_text()) == (130, "[Unit]\n")
    said = await deploy("--to", str(tmp_path), stdin="y\n")
    assert "kept as it is" in said.out
    assert "ExecStart" in unit.read_text()
    unit.write_text("[Unit]\n")
    assert (await deploy("--to", str(tmp_path), "--yes")).code == 0
    assert settings.read_text() == "ACTIOND_THREADS=7\n"


async def test_no_dsn_is_written(tmp_path: Path) -> None:
    await deploy("--to", str(tmp_path))
    assert [path for path in written(tmp_path) if path.suffix == ".dsn"] == []


@pytest.mark.parametrize("name", ["", "a b", "../main", "a/b", "-x", "%i", "a" * 65], ids=ascii)
async def test_a_name_that_cannot_be_one_is_refused_in_a_line(name: str) -> None:
    said = await actiond("deploy", "systemd", f"--instance={name}")
    assert said.code == 2
    assert "cannot be the name of an instance" in said.line


@pytest.mark.parametrize("program", ["actiond", "/opt/my apps/actiond", "/opt/%n"])
async def test_a_program_that_cannot_stand_in_a_unit_is_refused_in_a_line(program: str) -> None:
    said = await deploy("--program", program)
    assert said.code == 2
    assert "cannot stand in a unit" in said.line


async def test_a_program_that_the_unit_would_hide_is_told() -> None:
    assert "closes the folder of /home/ada/bin/actiond" in (await deploy("--program", "/home/ada/bin/actiond")).line


async def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    said = await deploy("--to", str(tmp_path))
    assert said.code == 1
    assert "actiond@.service cannot be" in said.line


def test_the_manual_names_the_files_that_credentials_may_have() -> None:
    manual = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    for name in ("dsn", "listen_dsn", "/run/secrets/actiond_dsn"):
        assert f"`{name}`" in manual
    assert {"dsn", "listen_dsn"} <= set(Settings.model_fields)
    assert "deploy systemd --instance main" in manual
