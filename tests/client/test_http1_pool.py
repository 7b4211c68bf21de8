"""Connections to an API server: how opening one ends."""

from __future__ import annotations

import asyncio

from actors.client._http1 import Pool


def test_whoever_gives_up_while_a_connection_opens_is_let_go() -> None:
    """Whatever moment it is: a cancellation that is swallowed leaves a task that nobody can end."""

    async def try_all_moments() -> list[int]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], None, "")
        swallowed = []
        for turns in range(12):
            task = asyncio.ensure_future(pool.open())
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                task.result().close()
                continue
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                swallowed.append(turns)
                task.result().close()
        server.close()
        return swallowed

    assert asyncio.run(try_all_moments()) == []
