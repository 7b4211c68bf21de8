"""Part of a runtime: streams that are open, and what their peers send.

Owns which stream leads where. What a stream does with its input, its `Session` says.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import orjson

from actors.kernel import Future, Ref, ThreadActor, handles
from actors.runtime._process_io import Deliver, tell
from protocol.message import Address
from protocol.node import RESIZE, STDIN, StreamClosed, StreamData

__all__ = ["Session", "Sessions", "internal_error", "later"]


class Session:
    """An open stream's other end: how to give it input, resize it and end it."""

    def __init__(
        self,
        write: Callable[[bytes, bool], None],
        close: Callable[[], None],
        resize: Callable[[int, int], None] | None = None,
    ) -> None:
        self.write, self.close, self.resize = write, close, resize


class Sessions(ThreadActor):
    """See the module."""

    relay: Ref
    sessions: dict[int, Session]

    def _deliver(self, peer: Address, message: Any) -> None:
        tell(self.relay, Deliver(peer, message))

    def close_sessions(self) -> None:
        """End every stream."""
        for session in self.sessions.values():
            with contextlib.suppress(Exception):  # whatever a client library says of a stream that is over
                session.close()
        self.sessions.clear()

    @handles(StreamData)
    def stream_data(self, message: StreamData) -> None:
        session = self.sessions.get(message.stream_id)
        if session is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if message.channel == STDIN:
                session.write(message.data, message.eof)
            elif message.channel == RESIZE and session.resize is not None:
                size = orjson.loads(message.data)
                session.resize(int(size["Width"]), int(size["Height"]))

    @handles(StreamClosed)
    def stream_closed(self, message: StreamClosed) -> None:
        session = self.sessions.pop(message.stream_id, None)
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()


def later(future: Future[Any], work: Callable[[], Any]) -> Future[Any]:
    """Do `work` on a thread of its own, and answer with what it returns or raises."""

    def run() -> None:
        try:
            future.resolve(work())
        except Exception as error:
            future.fail(error)

    threading.Thread(target=run, name="later", daemon=True).start()
    return future


def internal_error(problem: str) -> dict[str, Any]:
    """The Status of a stream whose command could not be started."""
    text = f"Internal error occurred: error executing command in container: {problem}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }
