"""Commands of actiond without the start of Python: forked from a process that has imported all of them.

    forking.run(["status", "--json"], env) -> (exit code, standard output, standard error)

A test run calls some hundreds of commands, and half a second of each is Python reading modules. The process that is
forked has done that and nothing else: no connection, no event loop, no thread. What runs in the child is the command's
own main(), with the environment, the standard streams and the exit code of a process of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_REQUEST = 1 << 20  # bytes: arguments and environment


def run(arguments: Sequence[str], env: Mapping[str, str], stdin: bytes, within_s: float) -> tuple[int, bytes, bytes]:
    """TimeoutError if it did not end in time; then it was killed. Blocks."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(within_s)
            asking.connect(_address())
            request = json.dumps([list(arguments), dict(env), str(Path.cwd())]).encode()
            socket.send_fds(asking, [request], [given.fileno(), out.fileno(), err.fileno()])
            code = int(asking.recv(64))  # the server kills the command when this end is closed
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


@cache
def _address() -> str:
    """Of the server of this process, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="actiond-commands-")
    address = str(Path(folder.name) / "socket")
    server = subprocess.Popen(
        [sys.executable, "-m", "support.forking", address],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    def end() -> None:
        server.stdin.close()  # type: ignore[union-attr]
        server.wait()
        folder.cleanup()

    atexit.register(end)
    return address


def _serve(address: str) -> None:
    """Until standard input ends. One thread: a fork beside others could take a lock that nobody ever gives back."""
    from actiond.cli.main import COMMANDS, main

    for module, _ in COMMANDS.values():
        __import__(f"actiond.cli.{module}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    askers: dict[int, tuple[socket.socket, int]] = {}  # by pidfd
    while True:
        waiting = [sys.stdin, listener, *askers, *(asker for asker, _ in askers.values())]
        ready, _, _ = select.select(waiting, [], [])
        if sys.stdin in ready:
            return
        for pidfd, (asker, pid) in list(askers.items()):
            if asker in ready:  # it closed its end: it waits no longer
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if asker in ready or pidfd in ready:
                _, status = os.waitpid(pid, 0)
                if pidfd in ready:
                    asker.send(str(os.waitstatus_to_exitcode(status)).encode())
                asker.close()
                os.close(pidfd)
                del askers[pidfd]
        if listener in ready:
            asker, _ = listener.accept()
            request, streams, _, _ = socket.recv_fds(asker, _REQUEST, 3)
            pid = os.fork()
            if pid == 0:
                listener.close()
                asker.close()
                _become(*json.loads(request), streams, main)
            for stream in streams:
                os.close(stream)
            askers[os.pidfd_open(pid)] = (asker, pid)


def _become(arguments: list[str], env: dict[str, str], folder: str, streams: list[int], main: object) -> None:
    code = 1
    try:
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(folder)
        sys.argv = ["actiond", *arguments]
        sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as this process lives
        try:
            code = main()  # type: ignore[operator]
        except SystemExit as ends:
            code = ends.code if isinstance(ends.code, int) else 0 if ends.code is None else 1
            if isinstance(ends.code, str):
                print(ends.code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code or 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
