"""The paths of the kubelet's own API, and what of the kubelet each of them means.

Owns path and query syntax (upstream's `pkg/kubelet/server/server.go`). Whoever answers is given as a
`KubeletVerbs`: the kubelet itself, or a server that asks one. It decides nothing about callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from protocol.following import StreamFollower
from protocol.http import HttpCall, HttpReply, Tunnel
from protocol.message import Address
from protocol.node import NodeGet, NodeResponse, PodAttach, PodExec, PodLogs, PodPortForward, PodRun, StreamOpened

__all__ = ["DEBUGGING", "KubeletVerbs", "route"]

_TEXT = "text/plain; charset=utf-8"
_NOBODY: Any = None
Options = Mapping[str, list[str]]
Answer = tuple[HttpReply, Address | None]


class KubeletVerbs(Protocol):
    """What a kubelet can be asked for. All raise `StatusError`."""

    def door(self) -> Address:
        """Whom streams are opened at."""

    async def logs(self, message: PodLogs) -> bytes | StreamOpened:
        """A container's log."""

    async def run_in(self, message: PodRun) -> bytes:
        """The output of a command."""

    async def api_path(self, message: NodeGet) -> NodeResponse:
        """What is read at any other path."""


async def route(verbs: KubeletVerbs, call: HttpCall, debugging: bool = True) -> Answer:
    """(answer, who feeds it if it streams). Raises `StatusError`. Without `debugging` there are no exec, attach,
    run, port-forward and container logs."""
    parts = [unquote(p) for p in call.path.strip("/").split("/")]
    options = parse_qs(call.query, keep_blank_values=True)
    head = parts[0]
    if head in DEBUGGING:
        if not debugging:
            return HttpReply(405, _TEXT, b"Debug endpoints are disabled.\n"), None
        return await DEBUGGING[head](verbs, call, parts[1:], options)
    if head == "checkpoint":
        text = b'{"kind":"Status","message":"checkpointing containers is not supported by this runtime","code":500}'
        return (HttpReply(500, "application/json", text) if call.method == "POST" else _not_allowed()), None
    if call.method not in ("GET", "HEAD"):
        return _not_allowed(), None
    found = await verbs.api_path(NodeGet(call.path, call.query))
    return HttpReply(found.status, found.content_type, found.body), None


async def _logs(verbs: KubeletVerbs, call: HttpCall, where: list[str], options: Options) -> Answer:
    if len(where) != 3 or call.method not in ("GET", "HEAD"):
        return (_missing() if call.method in ("GET", "HEAD") else _not_allowed()), None
    follow = _flag(options, "follow")
    since = options.get("sinceTime", [""])[0]
    try:
        numbers = [_number(options, name) for name in ("sinceSeconds", "tailLines", "limitBytes")]
        moment = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else None
    except ValueError:
        return HttpReply(400, _TEXT, b'{"message": "Unable to decode query."}'), None
    peer: Any = StreamFollower(call.stream, call.stream_id) if follow and call.stream is not None else None
    message = PodLogs(
        where[0], where[1], where[2], peer is not None, _flag(options, "previous"), _flag(options, "timestamps"),
        numbers[0], moment, numbers[1], numbers[2], peer, call.stream_id,
    )  # fmt: skip
    found = await verbs.logs(message)
    if isinstance(found, StreamOpened):
        return HttpReply(200, "text/plain", streaming=True), found.address
    return HttpReply(200, "text/plain", found), None


async def _run(verbs: KubeletVerbs, call: HttpCall, where: list[str], options: Options) -> Answer:
    if call.method != "POST":
        return _not_allowed(), None
    if len(where) not in (3, 4):
        return _missing(), None
    words = tuple(options.get("command") or ()) or tuple((options.get("cmd") or [""])[0].split(" "))
    return HttpReply(200, _TEXT, await verbs.run_in(PodRun(where[0], where[1], where[-1], words))), None


def _stream(verb: str) -> Callable[..., Awaitable[Answer]]:
    async def open_stream(verbs: KubeletVerbs, call: HttpCall, where: list[str], options: Options) -> Answer:
        if len(where) not in ((2, 3) if verb == "portforward" else (3, 4)):
            return _missing(), None
        if call.headers.get("upgrade", "").lower() not in ("websocket", "spdy/3.1"):
            return HttpReply(400, _TEXT, b"unable to upgrade: missing upgrade headers in request\n"), None
        message = _stream_message(verb, where, options)
        if message is None:
            return HttpReply(400, _TEXT, b"you must specify at least 1 of stdin, stdout, stderr\n"), None
        return HttpReply(101, tunnel=Tunnel(verbs.door(), message, verb)), None

    return open_stream


def _stream_message(verb: str, where: list[str], options: Options) -> Any:
    if verb == "portforward":
        ports = tuple(int(p) for text in options.get("port") or () for p in text.split(",") if p.isdigit())
        return PodPortForward(where[0], where[1], ports, _NOBODY, 0)
    flags = {
        "stdin": _flag(options, "input") or _flag(options, "stdin"),
        "stdout": _flag(options, "output") or _flag(options, "stdout"),
        "tty": _flag(options, "tty"),
    }
    flags["stderr"] = (_flag(options, "error") or _flag(options, "stderr")) and not flags["tty"]
    if not (flags["stdin"] or flags["stdout"] or flags["stderr"]):
        return None
    if verb == "attach":
        return PodAttach(where[0], where[1], where[-1], _NOBODY, 0, **flags)
    return PodExec(where[0], where[1], where[-1], tuple(options.get("command") or ()), _NOBODY, 0, **flags)


DEBUGGING: Mapping[str, Callable[..., Awaitable[Answer]]] = {
    "containerLogs": _logs,
    "run": _run,
    "exec": _stream("exec"),
    "attach": _stream("attach"),
    "portForward": _stream("portforward"),
}


def _flag(options: Options, name: str) -> bool:
    return (options.get(name) or ["false"])[0] in ("1", "true", "True")


def _number(options: Options, name: str) -> int | None:
    text = (options.get(name) or [""])[0]
    return int(text) if text else None


def _missing() -> HttpReply:
    return HttpReply(404, _TEXT, b"404 page not found\n")


def _not_allowed() -> HttpReply:
    return HttpReply(405, _TEXT, b"405: Method Not Allowed\n")
