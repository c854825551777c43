"""The tutorial says nothing that is not done (`make tutorial`), and what only root can do is said elsewhere, too."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import tutorial
from actiond.host.settings import Settings
from actiond.host.systemd_files import next_steps
from house.source import ROOT
from support.pages import Block, blocks_of
from support.shown import begun, same

BLOCKS = blocks_of(tutorial.PAGE.read_text(), "docs/tutorial.md")
DEPLOY = (ROOT / "deploy" / "README.md").read_text()
#: What belongs to this tutorial alone: its processor, and the folder that it writes to.
OWN = [
    "install -m 0644 receipt.py /opt/actiond/receipt.py",
    "echo 'ACTIOND_PROCESSORS=/opt/actiond/receipt.py' >> /etc/actiond/shop.env",
    "install -d -o actiond /var/lib/actiond/shop/outbox",
]


def commands(block: Block) -> list[str]:
    return [line.partition("    #")[0].strip() for line in block.text.splitlines() if line.strip()]


def test_every_block_is_of_a_kind_that_is_done() -> None:
    kinds = {(block.language, block.note.partition(": ")[0]) for block in BLOCKS}
    shell = {("sh", ""), ("sh", "fails"), ("sh", "terminal"), ("sh", "as root")}
    assert kinds <= {*shell, ("sql", ""), ("text", ""), ("python", "file")}


def test_what_root_does_is_what_the_command_and_the_page_of_deployment_say() -> None:
    (for_root,) = [block for block in BLOCKS if block.note == "as root"]
    steps = [step.partition("    #")[0] for step in next_steps("shop", "/opt/actiond/bin/actiond")]
    unknown = [
        line for line in commands(for_root) if line not in [*steps, *OWN] and line.replace("shop", "main") not in DEPLOY
    ]
    assert unknown == []
    assert "processors" in Settings.model_fields


def test_the_end_shows_a_row_that_is_completed() -> None:
    shown = [block.text for block in BLOCKS if block.language == "text"]
    assert [text for text in shown if "A-00000001  receipt    completed" in text]


def test_what_pip_has_installed_is_looked_at(tmp_path: Path) -> None:
    site = tmp_path / ".venv" / "lib" / "python3" / "site-packages"
    (site / "actiond").mkdir(parents=True)
    (site / "actiond" / "x.py").write_text("ours")
    packed = tmp_path / "actiond-1-py3-none-any.whl"
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("actiond/x.py", "ours")
    assert tutorial.is_this_one(tmp_path, packed)
    (site / "actiond" / "x.py").write_text("a stranger's")
    assert not tutorial.is_this_one(tmp_path, packed)


@pytest.mark.parametrize(
    ("shown", "said", "is_so"),
    [
        ("a b", "a b\n", True),
        ("a b", "a c\n", False),
        ("a b", "a b\nmore\n", False),
        ("a b\n…", "a b\nmore\nand more\n", True),
        ("a b\n…", "a b\n", True),
        ("…\nlast", "first\nsecond\nlast\n", True),
        ("…\nlast", "first\nlast\nanother\n", False),
        ("id  …  done", "id    17    done", True),
        ("id  …  done", "id  17\ndone", False),
        ("took …", "took ", False),
        ("[a-z]+ (x)", "abc (x)", False),
        ("[a-z]+ (x)", "[a-z]+ (x)", True),
    ],
)
def test_what_is_shown_is_compared(shown: str, said: str, is_so: bool) -> None:
    assert same(shown, said) is is_so


def test_of_a_program_that_goes_on_some_lines_are_shown() -> None:
    said = "data  /x\nDSN  y\n12:00 info  ready\n12:01 info  claimed\n"
    assert begun("DSN  …\n… info  ready", said)
    assert not begun("… info  ready\nDSN  …", said)
    assert not begun("ready", said)
