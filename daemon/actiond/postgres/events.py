"""Events: who publishes one knows its name and nobody who hears of it.

async with connection.transaction():
    await connection.execute("update orders set paid = true ...")
    await publish(connection, "order_paid", {"order": 7}, related="order 7")

Each processor that subscribed to the name gets an action of its own, in the caller's transaction. They are nobody's
children: a handler that publishes does not wait for them, and to cancel its family leaves them alone.
"""

from __future__ import annotations

from typing import Any

from actiond.contract import lineage
from actiond.postgres.connection import Connection
from actiond.postgres.enqueue import Executes
from actiond.postgres.statements import Statements
from actiond.words import json_text

_sql = Statements()


async def publish(
    connection: Executes, event: str, data: Any = None, *, related: str | None = None, trace: str | None = None
) -> int:
    """One action for each processor that subscribed to `event`; gives how many. 0: nobody did, which is no error.

    `data` is their payload, `related` their key. `trace`: the caller's span as a W3C traceparent; in a handler: the
    action's.
    """
    heard_by: int = await connection.fetchval(
        _sql["publish_event"],
        event,
        json_text.dumps({} if data is None else data),
        related,
        trace or lineage.trace(),
    )
    return heard_by


async def subscriptions(
    connection: Connection, event: str | None = None, processor: str | None = None
) -> list[dict[str, Any]]:
    """Those to this event, or of this processor, or all."""
    return [dict(row) for row in await connection.fetch(_sql["list_subscriptions"], event, processor)]


async def subscribe(connection: Connection, event: str, processor: str) -> bool:
    """From now on; False if it was so already."""
    return await connection.fetchval(_sql["subscribe"], event, processor) is not None


async def unsubscribe(connection: Connection, event: str, processor: str) -> bool:
    """No more; False if it was not. What was published before stays."""
    return await connection.fetchval(_sql["unsubscribe"], event, processor) is not None
