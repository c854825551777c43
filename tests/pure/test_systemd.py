"""systemd's side is played by a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actiond.host.systemd import Notifier, credential


class Listener:
    """What systemd holds at the other end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(5)

    def heard(self) -> str:
        return self.socket.recv(65_536).decode()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    listening = Listener(str(tmp_path / "notify"))
    with listening.socket:
        yield listening


@pytest.fixture
def notifier(listener: Listener) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": listener.name})


def test_ready_says_so_with_a_status(listener: Listener, notifier: Notifier) -> None:
    assert notifier.ready("serving 3 processors")
    assert listener.heard() == "READY=1\nSTATUS=serving 3 processors"


def test_a_status_can_change_alone(listener: Listener, notifier: Notifier) -> None:
    assert notifier.status("12 rows done")
    assert listener.heard() == "STATUS=12 rows done"


def test_a_status_cannot_smuggle_in_another_word(listener: Listener, notifier: Notifier) -> None:
    notifier.status("bad\nREADY=1\r\nMAINPID=1\u2028x")
    assert listener.heard() == "STATUS=bad READY=1 MAINPID=1 x"


def test_a_status_may_hold_any_character(listener: Listener, notifier: Notifier) -> None:
    assert notifier.status("größer als 7, half a pair: \ud800")
    assert listener.heard() == "STATUS=größer als 7, half a pair: ?"


def test_the_watchdog_is_fed(listener: Listener, notifier: Notifier) -> None:
    assert notifier.watchdog()
    assert listener.heard() == "WATCHDOG=1"


def test_stopping_says_so_with_a_status(listener: Listener, notifier: Notifier) -> None:
    assert notifier.stopping("2 batches to finish")
    assert listener.heard() == "STOPPING=1\nSTATUS=2 batches to finish"


def test_more_time_is_asked_for_in_microseconds(listener: Listener, notifier: Notifier) -> None:
    assert notifier.extend_timeout(12.5)
    assert listener.heard() == "EXTEND_TIMEOUT_USEC=12500000"


def test_a_reload_is_told_with_its_time(listener: Listener, notifier: Notifier) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert notifier.reloading()
    word, at = listener.heard().split("\n")
    assert word == "RELOADING=1"
    assert at.startswith("MONOTONIC_USEC=")
    assert before <= int(at.partition("=")[2]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="abstract sockets are Linux' own")
def test_an_abstract_socket_is_reached_too(tmp_path: Path) -> None:
    listening = Listener(f"@actiond{tmp_path}")
    with listening.socket:
        assert Notifier({"NOTIFY_SOCKET": listening.name}).watchdog()
        assert listening.heard() == "WATCHDOG=1"


@pytest.mark.parametrize("name", ["", "vsock:2:9999", "notify"])
def test_without_a_socket_of_ours_nothing_is_said(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name})
    said = [
        notifier.ready("x"),
        notifier.status("x"),
        notifier.watchdog(),
        notifier.stopping("x"),
        notifier.extend_timeout(1),
        notifier.reloading(),
    ]
    assert not any(said)
    assert not Notifier({}).ready("x")


@pytest.mark.parametrize("name", ["/nowhere/at/all", "/" + "x" * 200, "/dev/null"])
def test_a_listener_that_is_away_does_no_harm(name: str) -> None:
    assert not Notifier({"NOTIFY_SOCKET": name}).ready("x")


def test_a_listener_that_does_not_listen_stops_nobody(listener: Listener, notifier: Notifier) -> None:
    while notifier.watchdog():
        pass  # until its socket is full
    assert not notifier.watchdog()
    assert not notifier.status("x")


def test_the_watchdog_wants_to_be_fed_three_times_in_its_patience() -> None:
    ours = str(os.getpid())
    assert Notifier({"WATCHDOG_USEC": "30000000"}).watchdog_interval_s == 10.0
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ours}).watchdog_interval_s == 10.0


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "unknown"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
    ],
)
def test_without_a_watchdog_of_ours_nothing_is_fed(environ: dict[str, str]) -> None:
    assert Notifier(environ).watchdog_interval_s is None


def test_a_credential_is_read_without_the_line_break_of_its_editor(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://actiond@/app\n")
    assert credential("dsn", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "postgresql://actiond@/app"


def test_a_credential_nobody_put_aside_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert credential("dsn", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert credential("empty", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert credential("dsn", {}) is None


def test_a_credential_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "dsn").mkdir()
    with pytest.raises(OSError, match="dsn"):
        credential("dsn", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
