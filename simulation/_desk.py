"""Faults over HTTP, for tests in any language: `/kubekka/chaos` of the API server.

    GET    /kubekka/chaos           the verbs, and what was injected
    POST   /kubekka/chaos           {"verb": "kill", "target": "scheduler", "for": "20s"}
    DELETE /kubekka/chaos/3         end a fault (without a number: all)
    POST   /kubekka/clock           {"advance": "5m"} for a virtual clock, or {"auto": true};
                                    answers when that time has come, and all is done that was due

Whoever may use these paths may break everything: RBAC gives them to the administrator alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from actors.kernel import Actor, Future, LiveSystem, TimeKeeper, VirtualClock, handles
from protocol import status
from protocol.conditions import PathCall, PathReply
from simulation._faults import VERBS, FaultError, Faults
from simulation._schema import read_duration

__all__ = ["ChaosDesk"]


class ChaosDesk(Actor):
    """Answers these paths."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    @handles(PathCall)
    async def call(self, message: PathCall) -> PathReply:
        """One request."""
        try:
            return PathReply(200, orjson.dumps(await self._answer(message)))
        except (FaultError, ValueError) as error:
            return PathReply(400, orjson.dumps(status.bad_request(str(error)).status))
        except LookupError as error:
            return PathReply(404, orjson.dumps(status.failure(404, "NotFound", str(error)).status))

    async def _answer(self, message: PathCall) -> Any:
        _, _, kind, *rest = message.path.split("/")
        if kind == "clock":
            return await self._clock(message)
        if message.method == "GET":
            verbs = {name: {"about": v.about, "takes": [*v.parameters, "for"]} for name, v in VERBS.items()}
            return {"verbs": verbs, "faults": [injection.describe() for injection in self.faults.log]}
        if message.method == "DELETE":
            numbers = [int(rest[0])] if rest else [i.id for i in self.faults.log]
            for number in numbers:
                await self.faults.finish(number)
            return {"ended": numbers}
        if message.method != "POST":
            raise LookupError(f"{message.method} is no method of {message.path}")
        given = self._body(message)
        verb, length = str(given.pop("verb", "")), given.pop("for", None)
        injection = await self.faults.begin(verb, given, None if length is None else read_duration(length))
        return injection.describe()

    async def _clock(self, message: PathCall) -> Any:
        system = self.system
        if message.method == "POST":
            given = self._body(message)
            if not isinstance(system, LiveSystem) or not isinstance(system.clock, VirtualClock):
                raise ValueError("the clock of this cluster cannot be moved: start it with a virtual one")
            keeper = system.world.setdefault("keeper", TimeKeeper(system))
            if "advance" in given:
                seconds = read_duration(given["advance"])
                await self._done(system.loop.create_task(keeper.pass_time(seconds, excused=1)))
            if "auto" in given:
                system.loop.create_task(keeper.set_auto(bool(given["auto"])))
        return {"now": system.clock.rfc3339_micro()}

    @staticmethod
    async def _done(task: asyncio.Task[None]) -> None:
        """Wait for a task of the loop."""
        future: Future[None] = Future()
        task.add_done_callback(lambda _: future.set(None))
        await future
        task.result()

    @staticmethod
    def _body(message: PathCall) -> dict[str, Any]:
        try:
            given = orjson.loads(message.body)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"the body is no JSON: {error}") from None
        if not isinstance(given, dict):
            raise ValueError('the body is an object such as {"verb": "kill", "target": "scheduler"}')
        return given
