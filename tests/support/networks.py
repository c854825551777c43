"""Hosts on one machine: network namespaces with an address each, on a bridge where the server listens.

Needs root and the program `ip`. Names and addresses carry the pid of the test process, so that several do not meet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Host:
    """One of them."""

    name: str  # of its namespace
    address: str
    cable: str  # the end of its cable on the bridge

    def within(self, command: list[str]) -> list[str]:
        """This command, run there."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut_off(self) -> None:
        """Nothing arrives any more and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def connect(self) -> None:
        """It is there again."""
        _ip("link", "set", self.cable, "up")

    def lose(self) -> str:
        """From now on packets to it are lost; says how."""
        for how in (("netem", "loss", "10%"), ("tbf", "rate", "2mbit", "burst", "3k", "limit", "4k")):
            added = subprocess.run(
                ["tc", "qdisc", "replace", "dev", self.cable, "root", *how], capture_output=True, check=False
            )
            if added.returncode == 0:
                return " ".join(how)
        pytest.skip("the kernel of this machine can lose no packets on purpose: neither netem nor tbf")

    @property
    def lost(self) -> int:
        """Packets."""
        said = subprocess.run(
            ["tc", "-s", "qdisc", "show", "dev", self.cable], capture_output=True, text=True, check=True
        ).stdout
        return int(said.split("dropped ")[1].split(",")[0])


@dataclass(frozen=True, slots=True)
class Network:
    """The server's address, and the hosts that reach it."""

    address: str
    block: str  # of all of them, as pg_hba.conf has it
    hosts: list[Host]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Hosts; skips where the machine gives none."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("hosts of one's own need root and the program ip (iproute2)")
    mine = f"ad{os.getpid() % 100_000}"
    third = f"10.{213 + os.getpid() // 250 % 40}.{os.getpid() % 250}"
    hosts = [Host(f"{mine}h{number}", f"{third}.{number + 2}", f"{mine}c{number}") for number in range(count)]
    try:
        try:
            _ip("link", "add", mine, "type", "bridge")
            _ip("address", "add", f"{third}.1/24", "dev", mine)
            _ip("link", "set", mine, "up")
            for host in hosts:
                _lay(host, mine)
        except subprocess.CalledProcessError as refused:
            pytest.skip(f"this machine makes no network namespaces: {refused.stderr.decode().strip()}")
        yield Network(f"{third}.1", f"{third}.0/24", hosts)
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", mine], capture_output=True, check=False)


def _lay(host: Host, bridge: str) -> None:
    inner = f"{host.cable}i"
    _ip("netns", "add", host.name)
    _ip("link", "add", host.cable, "type", "veth", "peer", "name", inner)
    _ip("link", "set", inner, "netns", host.name)
    _ip("link", "set", host.cable, "master", bridge, "up")
    for command in (
        ["address", "add", f"{host.address}/24", "dev", inner],
        ["link", "set", inner, "up"],
        ["link", "set", "lo", "up"],
    ):
        _ip("-n", host.name, *command)
