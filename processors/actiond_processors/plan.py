"""The processor of plans: a run of one is an action of it, and every daemon has it.

    select actiond.plan_run('monthly invoices');

    begin: is it on, does no other run, has the source what the mapping names; while its flag is off it waits
      |
    pages, each a transaction: rows of the source become actions, children of the run; and how far it came
      |
    wait until no child is open (looking now and then, where too many failures are to end it)
      |
    end: totals, the report, the plan that follows

Killed at any point it goes on behind the last page that was committed. Without a key there is one page.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from actiond import SUDDEN_DEATH, Action, Batch, Statements, batch_processor

FLAG_OFF = "1 h"  # until a run looks again whose flag is off; what switches the flag on lets it go on at once
A_TURN_S = 20.0  # then others may have their turn
LOOK_S = 5.0  # between looks at how many have failed, once all are made
LOOK_SHARE = 4  # before: looks take at most a fifth of the time
ENOUGH = 20  # actions that must have ended before a share of them says anything
ABORT_CHUNK = 5_000
#: What is asked makes no sense, or may not be: a wrong query, a value that does not fit, a right that is missing.
HOPELESS = ("AC", "42", "22", "23", "0A")

_sql = Statements()


class NoKey(Exception):
    """Rows of the source have no key."""

    sqlstate = "22004"


@batch_processor("actiond.plan", batch_size=1, retries=100, retry_interval="5 s", timeout="1 h")
async def plan(batch: Batch[Any]) -> None:
    """One turn of one run."""
    (action,) = batch
    state = action.state or {}
    try:
        async with batch.transaction([]) as connection:
            await connection.execute(_sql["plan_asked_by"], action.created_by)
        if state.get("over"):
            await _end(batch, action, state)
        elif state.get("filled"):
            await _watch(batch, action, state)
        else:
            await _fill(batch, action, state)
    except Exception as refused:
        sqlstate = getattr(refused, "sqlstate", None) or ""
        if not sqlstate.startswith(HOPELESS):
            raise
        said, hint = str(refused.args[0] if refused.args else refused), getattr(refused, "hint", None)
        action.fail(f"{said}. {hint}" if hint else said, SUDDEN_DEATH)


async def _fill(batch: Batch[Any], action: Action[Any], state: dict[str, Any]) -> None:
    """Pages, until the source has no more."""
    filling = _Filling(action, state)
    while not action.withdrawn and action.outcome is None:
        async with batch.transaction([action]) as connection:
            await filling.page(connection)


@dataclass(slots=True)
class _Filling:
    """One turn of making actions."""

    action: Action[Any]
    state: dict[str, Any]
    plan: Any = None  # what plan_begin says of it
    texts: Any = None
    began_s: float = field(default_factory=time.monotonic)
    look_at_s: float = 0.0  # when to look again at how many have failed

    async def page(self, connection: Any) -> None:
        """One page, and how far it came."""
        action = self.action
        if action.withdrawn:  # held or canceled between two pages
            return
        if self.texts is None:
            self.plan = await _begun(connection, action, self.state)
            if self.plan is None:
                return
            self.state = _going(self.state) or {"edition": self.plan["edition"], "made": 0, "last": None}
            self.texts = await _texts(connection, action, self.plan)
        elif not await connection.fetchval(_sql["flag_on"], self.plan["flag"]):
            action.defer("0 s", state=self.state)  # the next turn waits: it locks the plan before it reads the flag
            return
        made, last = await self._make(connection)
        percent = self.plan["abort_percent"]
        self.state = {**self.state, "made": self.state["made"] + made, "last": last}
        if made == 0 or self.texts["next"] is None:
            self.state["filled"] = True
            _settle(action, self.state, percent)
        elif percent is not None and await self._failing(connection, percent):
            self.state["filled"] = True  # no more pages: _watch ends it
            action.defer("0 s", state=self.state)
        elif time.monotonic() - self.began_s > A_TURN_S:
            action.defer("0 s", state=self.state)
        else:
            await connection.execute(_sql["plan_reached"], action.id, json.dumps(self.state))

    async def _failing(self, connection: Any, percent: float) -> bool:
        """Has too much failed? A look counts all that was made: the next one waits LOOK_SHARE times as long."""
        if time.monotonic() < self.look_at_s:
            return False
        began_s = time.monotonic()
        totals = await connection.fetchrow(_sql["family_totals"], self.action.id, 0)
        now_s = time.monotonic()
        self.look_at_s = now_s + LOOK_SHARE * (now_s - began_s)
        return _too_many(totals, percent)

    async def _make(self, connection: Any) -> tuple[int, str | None]:
        about, last = (self.action.id, self.plan["processor"]), self.state["last"]
        if last is None:
            row = await connection.fetchrow(self.texts["first"], *about)
        else:
            row = await connection.fetchrow(self.texts["next"], *about, last)
        return row["made"], row["last"]


def _settle(action: Action[Any], state: dict[str, Any], abort_percent: float | None) -> None:
    if abort_percent is None or not state["made"]:
        action.wait_for_children(state={**state, "over": True})
    else:
        action.defer(f"{LOOK_S} s", state=state)


async def _begun(connection: Any, action: Action[Any], state: dict[str, Any]) -> Any:
    """The plan; None where there is nothing to do, and the action is marked."""
    name = action.data.get("plan") if isinstance(action.data, dict) else None
    if not isinstance(name, str):
        action.fail('its data must be {"plan": "name"}', SUDDEN_DEATH)
        return None
    found = await connection.fetchrow(_sql["plan_begin"], name, action.id)
    if found is None:
        action.fail(f"there is no plan {name!r}", SUDDEN_DEATH)
    elif "edition" in state and state["edition"] != found["edition"]:
        made = state.get("made", 0)
        action.fail(f"plan {name!r} was changed after this run had begun; it has made {made} actions", SUDDEN_DEATH)
    elif "edition" not in state and not found["enabled"]:
        action.cancel(f"plan {name!r} is off")
    elif "edition" not in state and found["overlap"] == "skip" and found["other"] is not None:
        action.cancel(f"run {found['other']} of plan {name!r} is still open")
    elif not await connection.fetchval(_sql["flag_on"], found["flag"]):
        action.defer(FLAG_OFF, state={**state, "flag": found["flag"]})
    else:
        return found
    return None


def _going(state: dict[str, Any]) -> dict[str, Any]:
    """How far the run is, without the flag that it waited for."""
    return {name: value for name, value in state.items() if name != "flag"}


async def _texts(connection: Any, action: Action[Any], found: Any) -> Any:
    """The statements of the plan, for the columns that its source has. Raises what Postgres says of a wrong query."""
    columns = (await connection.prepare(found["query"])).get_attributes()
    names = [column.name for column in columns]
    types = [str(column.type.oid) for column in columns]
    texts = await connection.fetchrow(_sql["plan_texts"], action.data["plan"], names, types)
    if found["key"] is not None and "edition" not in (action.state or {}):
        counted = await connection.fetchrow(texts["counted"])
        if counted["no_key"]:
            raise NoKey(
                f"the key {found['key']!r} is NULL in some rows ({counted['no_key']}): they would never be read"
            )
    return texts


def _too_many(totals: Any, percent: float) -> bool:
    ended = totals["completed"] + totals["failed"]
    return bool(ended >= ENOUGH and 100 * totals["failed"] > percent * ended)


async def _watch(batch: Batch[Any], action: Action[Any], state: dict[str, Any]) -> None:
    """Every action is made, or no more shall be: has too much failed?"""
    async with batch.transaction([action]) as connection:
        if action.withdrawn:
            return
        found = await connection.fetchrow(_sql["plan_begin"], action.data["plan"], action.id)
        percent = found["abort_percent"] if found is not None else None
        totals = await connection.fetchrow(_sql["family_totals"], action.id, 0)
        if percent is not None and (state.get("aborted") or _too_many(totals, percent)):
            canceled = await connection.fetchval(_sql["plan_abort"], action.id, ABORT_CHUNK)
            state = {**state, "aborted": f"more than {percent:g} % failed"}
            if canceled < ABORT_CHUNK:
                action.wait_for_children(state={**state, "over": True})
            else:
                action.defer("0 s", state=state)
        elif percent is None or totals["completed"] + totals["failed"] + totals["canceled"] == totals["total"]:
            action.wait_for_children(state={**state, "over": True})
        else:
            action.defer(f"{LOOK_S} s", state=state)


async def _end(batch: Batch[Any], action: Action[Any], state: dict[str, Any]) -> None:
    """No child is open."""
    async with batch.transaction([action]) as connection:
        totals = await connection.fetchrow(_sql["family_totals"], action.id, 100)
        said = _report(action, totals, state.get("aborted"))
        ended = await connection.fetchrow(
            _sql["plan_end"], action.data["plan"], action.id, json.dumps(said), said["clean"], totals["total"]
        )
        result = {**said, **({"followed_by": ended["followed"]} if ended["followed"] else {})}
        if state.get("aborted"):
            action.fail(f"aborted: {state['aborted']} ({said['failed']} of {said['total']})", SUDDEN_DEATH)
        else:
            action.complete(result)


def _report(action: Action[Any], totals: Any, aborted: str | None) -> dict[str, Any]:
    """What a run came to, as its result has it, and who is notified."""
    ended = totals["completed"] + totals["failed"]
    return {
        "plan": action.data["plan"],
        "run": action.id,
        "clean": totals["completed"] == totals["total"] and not aborted,
        "total": totals["total"],
        "completed": totals["completed"],
        "failed": totals["failed"],
        "canceled": totals["canceled"],
        "success_percent": round(100 * totals["completed"] / ended, 2) if ended else None,
        "failed_ids": totals["failed_ids"],
        **({"aborted": aborted} if aborted else {}),
    }
