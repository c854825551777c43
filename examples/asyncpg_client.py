"""Asking for work from asyncio, in the caller's own transaction. Run with: python examples/asyncpg_client.py"""

import asyncio
import os

import asyncpg

from actiond import enqueue, enqueue_many


async def main() -> None:
    connection = await asyncpg.connect(os.environ["ACTIOND_DSN"])
    try:
        async with connection.transaction():
            one = await enqueue(connection, "welcome", {"to": "ada@example.org"}, related="customer 1", delay="1 s")
            many = await enqueue_many(connection, "welcome", [{"to": f"user{n}@example.org"} for n in range(3)])
        print("asked for", one, *many)
    finally:
        await connection.close()


asyncio.run(main())
