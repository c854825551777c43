"""host/http_address: what is written, who can reach it, and sockets that are really bound."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from actiond.host.http_address import Address, bind, bound, parse, release
from actiond.words.errors import OperatorError


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:9464", Address(host="127.0.0.1", port=9464), True),
        ("127.8.9.1:0", Address(host="127.8.9.1", port=0), True),
        ("localhost:80", Address(host="localhost", port=80), True),
        ("[::1]:9464", Address(host="::1", port=9464), True),
        ("/run/actiond/http.sock", Address(path="/run/actiond/http.sock"), True),
        ("0.0.0.0:9464", Address(host="0.0.0.0", port=9464), False),
        ("[::]:9464", Address(host="::", port=9464), False),
        ("10.0.0.1:9464", Address(host="10.0.0.1", port=9464), False),
        ("localhost.example.org:1", Address(host="localhost.example.org", port=1), False),
        ("127.0.0.1.example.org:1", Address(host="127.0.0.1.example.org", port=1), False),
    ],
)
def test_an_address_is_read_and_told_whether_others_reach_it(text: str, address: Address, loopback: bool) -> None:
    assert parse(text) == address
    assert address.loopback is loopback
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "http://127.0.0.1:80", "::1:80", "a b:1"),
        *("run/x", "127.0.0.1:94 64", "/" + "x" * 101, "127.0.0.1:9464/metrics", "127.0.0.1:\u0661"),
    ],
)
def test_what_is_no_address_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9464|at most 100 bytes"):
        parse(text)


def test_a_port_is_bound_and_known() -> None:
    sock = bind(parse("127.0.0.1:0"))
    address = bound(sock, parse("127.0.0.1:0"))
    assert address.port == sock.getsockname()[1] != 0
    with pytest.raises(OperatorError, match=f"ACTIOND_HTTP: {address} cannot be listened on: Address already in use"):
        bind(address)
    release(sock, address)
    release(bind(address), address)


def test_a_host_that_does_not_exist_is_told_in_one_line() -> None:
    with pytest.raises(OperatorError, match=r"ACTIOND_HTTP: nowhere\.invalid:1 cannot be listened on: "):
        bind(parse("nowhere.invalid:1"))


def test_a_unix_socket_is_closed_to_others_and_goes_with_its_daemon(tmp_path: Path) -> None:
    address = parse(str(tmp_path / "http.sock"))
    sock = bind(address)
    assert Path(address.path).stat().st_mode & 0o777 == 0o660
    with pytest.raises(OperatorError, match="Address already in use"):
        bind(address)
    release(sock, address)
    assert not Path(address.path).exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OperatorError, match="Address already in use"):
        bind(parse(str(path)))
    assert path.read_text() == "mine"
    with pytest.raises(OperatorError, match="No such file or directory"):
        bind(parse(str(tmp_path / "no folder" / "http.sock")))


def test_the_socket_of_the_dead_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    release(bind(parse(str(path))), parse(str(path)))
