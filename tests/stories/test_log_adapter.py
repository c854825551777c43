"""Who else gets the log: an adapter that works, that is slow, that breaks, that does not exist; and whom lines name."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from support.command import actiond
from support.database import eventually
from support.rows import ask, until

pytestmark = pytest.mark.slow

ADAPTER = """
import json, os, threading
from pathlib import Path

def deliver(event):
    with Path(os.environ["DELIVERED"]).open("a") as file:
        file.write(json.dumps(event) + "\\n")

class Nested:
    @staticmethod
    def broken(event):
        raise ValueError("no: postgresql://app:s3cretpassword@db/app")

def slow(event):
    threading.Event().wait(600)

number = 7
"""
WORK = """
import logging


@processor("work")
async def work(action):
    logging.getLogger("library").warning("inside %s", action.data)
    action.log.info("said", password="hunter22secret")


@processor("threaded")
def threaded(action):
    logging.getLogger("library").warning("in a thread %s", action.data)


@batch_processor("many")
async def many(batch):
    logging.getLogger("library").warning("in a batch %s", batch[0].data)
    batch.complete()
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "my_adapter.py").write_text(ADAPTER)
    return {"PYTHONPATH": str(tmp_path), "DELIVERED": str(tmp_path / "delivered")}


async def test_an_adapter_gets_every_event_as_a_dict_redacted(db, conn, start, processor_file, env) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env={**env, "ACTIOND_LOG_ADAPTER": "my_adapter:deliver"}).ready()
    await until(conn, await ask(conn, "work", "x"), "completed")
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    delivered = delivered_to(env)
    by_name = {event["event"]: event for event in delivered}
    assert {"daemon_starting", "daemon_ready", "said", "daemon_stopped"} <= by_name.keys()
    assert by_name["said"]["password"] == "[hidden]"
    assert {"level", "timestamp", "processor", "run_id", "action_id"} <= by_name["said"].keys()
    printed = [line["event"] for line in daemon.lines if line["event"] != "log_adapter_invalid"]
    assert [event["event"] for event in delivered] == printed


def delivered_to(env: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(env["DELIVERED"]).read_text().splitlines()]


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        ("my_adapter:nobody", "AttributeError"),
        ("no_such_module:deliver", "ModuleNotFoundError"),
        ("my_adapter", "is not of the form module:callable"),
        ("my_adapter:number", "cannot be called"),
        (":deliver", "is not of the form module:callable"),
    ],
)
async def test_one_that_does_not_load_costs_one_warning(db, conn, start, processor_file, env, adapter, says) -> None:
    daemon = await start(db.dsn, processor_file(WORK), env={**env, "ACTIOND_LOG_ADAPTER": adapter}).ready()
    await until(conn, await ask(conn, "work", "x"), "completed")
    (line,) = daemon.heard("log_adapter_invalid")
    assert says in line["error"]
    assert (line["adapter"], line["level"]) == (adapter, "warning")


async def test_one_that_raises_is_told_once_a_minute_and_work_goes_on(db, conn, start, processor_file, env) -> None:
    env = {**env, "ACTIOND_LOG_ADAPTER": "my_adapter:Nested.broken"}
    daemon = await start(db.dsn, processor_file(WORK), env=env).ready()
    await until(conn, await ask(conn, "work", *["x"] * 20), "completed")
    (line,) = daemon.heard("log_adapter_failed")
    assert line["error"] == "ValueError: no: postgresql://app:[hidden]@db/app"
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends() == 0
    assert len(daemon.heard("log_adapter_failed")) == 1


async def test_one_that_is_slow_holds_up_neither_the_log_nor_the_end(db, conn, start, processor_file, env) -> None:
    env = {**env, "ACTIOND_LOG_ADAPTER": "my_adapter:slow"}
    daemon = await start(db.dsn, processor_file(WORK), env=env).ready()
    await until(conn, await ask(conn, "work", *["x"] * 20), "completed")
    await eventually(lambda: len(daemon.heard("said")) == 20)
    daemon.signal(signal.SIGTERM)
    assert await daemon.ends(within_s=10) == 0


async def test_what_a_library_logs_in_a_handler_names_the_action(db, conn, start, processor_file) -> None:
    daemon = await start(db.dsn, processor_file(WORK)).ready()
    for processor, inside in (("work", "inside a"), ("threaded", "in a thread a"), ("many", "in a batch a")):
        (row,) = await until(conn, await ask(conn, processor, "a"), "completed")
        line = await daemon.says("library_warned", message=inside)
        assert (line["processor"], line["action_id"]) == (processor, row["id"])
        assert line["run_id"] == (await daemon.says("batch_claimed", processor=processor))["run_id"]
    await daemon.says("batch_ended", processor="many")


async def test_an_error_of_the_log_adapter_does_not_stop_a_command(db) -> None:
    assert (await actiond("status", dsn=db.dsn, env={"ACTIOND_LOG_ADAPTER": "nowhere"})).code == 0
