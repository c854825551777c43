"""`actiond schedule` refuses what makes no sense before it asks any database."""

from __future__ import annotations

import pytest

from actiond.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["add", "x", "p"], "either --cron or --every"),
        (["add", "x", "p", "--cron", "@daily", "--every", "1 h"], "either --cron or --every"),
        (["add", "x", "p", "--cron", "61 * * * *"], "'61' is no minute"),
        (["add", "x", "p", "--cron", "0 0 30 2 *"], "'30', in the months '2', is no day"),
        (["add", "x", "p", "--cron", "@daily", "--timezone", "berlin"], "did you mean Europe/Berlin?"),
        (["add", "x", "p", "--every", "1 h", "--timezone", "berlin"], "did you mean Europe/Berlin?"),
        (["add", "x", "p", "--every", "0.1 s"], "from 1 second to 366 days"),
        (["add", "x", "p", "--every", "1 h", "--data", "{"], "--data is no JSON"),
        (["add", "x", "p", "--every", "1 h", "--related", "r"], "a wake is about no record"),
        (["add", "x", "p,q", "--every", "1 h"], "'p,q' is no name of a processor"),
        (["explain"], "say which"),
        (["explain", "x", "--cron", "@daily"], "either a NAME"),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIOND_DSN", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["schedule", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert line in said.err
