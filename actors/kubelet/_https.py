"""The kubelet's own API over HTTPS: who asks, may he, and what of the kubelet is meant.

Owns authentication and authorisation, both delegated to the API server (TokenReview,
SubjectAccessReview) with upstream's attributes, and the paths. An HTTP front owns the sockets and the
client certificates; what is asked for is answered by the kubelet's actor (`_serving`).

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from actors.client import Client, ClientActor
from actors.kernel import ActorDead, AskTimeout, Future, Ref, handles
from protocol.api import Hold, StatusError, UserInfo
from protocol.following import StreamFollower
from protocol.http import HttpCall, HttpReply, StopFrames, Tunnel
from protocol.message import Address, Message
from protocol.node import (
    NodeGet,
    NodeResponse,
    PodAttach,
    PodExec,
    PodLogs,
    PodPortForward,
    PodRun,
    StreamClosed,
)

__all__ = ["KubeletServer", "ServeKubelet", "ServerConfig", "attributes"]

Object = dict[str, Any]
_TEXT = "text/plain; charset=utf-8"
_NOBODY: Any = None
_ASK_S = 30.0
_MAX_CACHED = 1000
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
FINE = (
    ("/pods", "pods"), ("/runningpods", "pods"), ("/healthz", "healthz"), ("/configz", "configz"),
    ("/statusz", "statusz"), ("/flagz", "flagz"),
)  # fmt: skip
"""Paths that a subresource of their own allows; `nodes/proxy` allows them too."""
COARSE = (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"), ("/checkpoint", "checkpoint"))
ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Upstream's defaults for a configured kubelet. Times are in seconds."""

    anonymous: bool = False
    """Requests without credentials are `system:anonymous`; they are refused otherwise."""
    authorization: str = "Webhook"
    """`Webhook` asks the API server; `AlwaysAllow` does not."""
    token_ttl_s: float = 120.0
    allowed_ttl_s: float = 300.0
    denied_ttl_s: float = 30.0
    debugging_handlers: bool = True
    """Serve exec, attach, run, port-forward and container logs."""


class ServeKubelet(Message, frozen=True):
    """This is the kubelet to serve, from now on."""

    kubelet: Address


def attributes(method: str, path: str) -> tuple[str, tuple[str, ...]]:
    """(verb, subresources of nodes of which one must be allowed) for a request."""
    verb = VERBS.get(method, method.lower())
    for prefix, subresource in COARSE:
        if path == prefix or path.startswith(prefix + "/"):
            return verb, (subresource,)
    for prefix, subresource in FINE:
        if path == prefix or path.startswith(prefix + "/"):
            return verb, (subresource, "proxy")
    return verb, ("proxy",)


class KubeletServer(ClientActor):
    """Answers `HttpCall`s for one kubelet. `apiserver`: whom authentication and authorisation are
    asked of; `user`: as whom, where that is not decided by a kubeconfig."""

    def __init__(
        self, node_name: str, apiserver: Ref, config: ServerConfig | None = None, user: UserInfo | None = None
    ) -> None:
        super().__init__()
        self.node_name = node_name
        self.config = config or ServerConfig()
        self.client = Client(self, apiserver, user=user or _node(node_name), user_agent="kubelet")
        self.kubelet: Any = None
        self.tokens: dict[str, tuple[float, UserInfo | None]] = {}
        self.verdicts: dict[tuple[Any, ...], tuple[float, bool]] = {}
        self.followed: dict[tuple[str, int], Address] = {}

    @handles(ServeKubelet)
    def serve_kubelet(self, message: ServeKubelet) -> None:
        self.kubelet = message.kubelet

    @handles(Hold)
    async def hold(self, message: Hold) -> None:
        """Never answered: the asker hears of this actor's end."""
        await Future()

    @handles(StopFrames)
    def stop_frames(self, message: StopFrames) -> None:
        """The client that followed a log is gone."""
        feeder = self.followed.pop((message.stream.actor_urn, message.stream_id), None)
        if feeder is not None:
            feeder.tell(StreamClosed(message.stream_id))

    @handles(HttpCall)
    async def http(self, message: HttpCall) -> HttpReply:
        """One request."""
        try:
            user = await self.authenticate(message)
            if user is None:
                return HttpReply(401, _TEXT, b"Unauthorized")
            verb, subresources = attributes(message.method, message.path)
            if not await self.allowed(user, verb, subresources):
                words = (
                    f"Forbidden (user={user.name}, verb={verb}, resource=nodes, "
                    f"subresource(s)=[{' '.join(subresources)}])"
                )
                return HttpReply(403, _TEXT, words.encode())
        except StatusError as error:
            return HttpReply(500, _TEXT, f"Authorization error: {error.message}".encode())
        if self.kubelet is None:
            return HttpReply(503, _TEXT, b"the kubelet has not started yet\n")
        try:
            return await self.answer(message)
        except StatusError as error:
            return HttpReply(error.code, _TEXT, error.message.encode())
        except (ActorDead, AskTimeout) as error:
            return HttpReply(503, _TEXT, f"the kubelet does not answer: {error}\n".encode())

    # -- who, and whether he may

    async def authenticate(self, call: HttpCall) -> UserInfo | None:
        """The user, or None for nobody. Raises `StatusError` when the API server cannot tell."""
        if call.peer is not None:
            return msgspec.structs.replace(call.peer, groups=(*call.peer.groups, "system:authenticated"))
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token.strip():
            return await self._reviewed(token.strip())
        return ANONYMOUS if self.config.anonymous else None

    async def _reviewed(self, token: str) -> UserInfo | None:
        now = self.clock.monotonic()
        known = self.tokens.get(token)
        if known is not None and now < known[0]:
            return known[1]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        told = (await self.client.create("tokenreviews", body)).get("status") or {}
        user = None
        if told.get("authenticated"):
            named = told.get("user") or {}
            extra = {k: tuple(v) for k, v in (named.get("extra") or {}).items()}
            user = UserInfo(named.get("username", ""), tuple(named.get("groups") or ()), named.get("uid", ""), extra)
        _keep(self.tokens, token, (now + self.config.token_ttl_s, user))
        return user

    async def allowed(self, user: UserInfo, verb: str, subresources: tuple[str, ...]) -> bool:
        """Whether one of the subresources is. Raises `StatusError` when the API server cannot tell."""
        if self.config.authorization == "AlwaysAllow":
            return True
        for subresource in subresources:
            if await self._may(user, verb, subresource):
                return True
        return False

    async def _may(self, user: UserInfo, verb: str, subresource: str) -> bool:
        now = self.clock.monotonic()
        key = (user.name, user.groups, user.uid, verb, subresource)
        known = self.verdicts.get(key)
        if known is not None and now < known[0]:
            return known[1]
        spec: Object = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {k: list(v) for k, v in user.extra.items()},
            "resourceAttributes": {
                "verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self.node_name,
            },
        }  # fmt: skip
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        verdict = bool(((await self.client.create("subjectaccessreviews", body)).get("status") or {}).get("allowed"))
        ttl = self.config.allowed_ttl_s if verdict else self.config.denied_ttl_s
        _keep(self.verdicts, key, (now + ttl, verdict))
        return verdict

    # -- paths

    async def answer(self, call: HttpCall) -> HttpReply:
        """What the path asks for. Raises `StatusError`."""
        parts = [unquote(p) for p in call.path.strip("/").split("/")]
        options = parse_qs(call.query, keep_blank_values=True)
        head = parts[0]
        if head in _DEBUGGING:
            if not self.config.debugging_handlers:
                return HttpReply(405, _TEXT, b"Debug endpoints are disabled.\n")
            return await _DEBUGGING[head](self, call, parts[1:], options)
        if head == "checkpoint":
            text = b'{"kind":"Status","message":"checkpointing containers is not supported by this runtime","code":500}'
            return HttpReply(500, "application/json", text) if call.method == "POST" else _not_allowed()
        if call.method not in ("GET", "HEAD"):
            return _not_allowed()
        found: NodeResponse = await self.ask(self.kubelet, NodeGet(call.path, call.query), timeout=_ASK_S)
        return HttpReply(found.status, found.content_type, found.body)

    async def _logs(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]]) -> HttpReply:
        if len(where) != 3 or call.method not in ("GET", "HEAD"):
            return _missing() if call.method in ("GET", "HEAD") else _not_allowed()
        follow = _flag(options, "follow")
        since = options.get("sinceTime", [""])[0]
        try:
            numbers = [_number(options, name) for name in ("sinceSeconds", "tailLines", "limitBytes")]
            moment = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else None
        except ValueError:
            return HttpReply(400, _TEXT, b'{"message": "Unable to decode query."}')
        peer: Any = StreamFollower(call.stream, call.stream_id) if follow and call.stream is not None else None
        message = PodLogs(
            where[0], where[1], where[2], peer is not None, _flag(options, "previous"), _flag(options, "timestamps"),
            numbers[0], moment, numbers[1], numbers[2], peer, call.stream_id,
        )  # fmt: skip
        found = await self.ask(self.kubelet, message, timeout=_ASK_S)
        if peer is None:
            return HttpReply(200, "text/plain", found)
        assert call.stream is not None
        self.followed[call.stream.actor_urn, call.stream_id] = found.address
        return HttpReply(200, "text/plain", streaming=True)

    async def _run(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]]) -> HttpReply:
        if call.method != "POST":
            return _not_allowed()
        if len(where) not in (3, 4):
            return _missing()
        words = tuple(options.get("command") or ()) or tuple((options.get("cmd") or [""])[0].split(" "))
        message = PodRun(where[0], where[1], where[-1], words)
        return HttpReply(200, _TEXT, await self.ask(self.kubelet, message, timeout=None))

    async def _stream(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]], verb: str) -> HttpReply:
        if len(where) not in ((2, 3) if verb == "portforward" else (3, 4)):
            return _missing()
        if call.headers.get("upgrade", "").lower() not in ("websocket", "spdy/3.1"):
            return HttpReply(400, _TEXT, b"unable to upgrade: missing upgrade headers in request\n")
        message: Any
        if verb == "portforward":
            ports = tuple(int(p) for text in options.get("port") or () for p in text.split(",") if p.isdigit())
            message = PodPortForward(where[0], where[1], ports, _NOBODY, 0)
        else:
            flags = {
                "stdin": _flag(options, "input") or _flag(options, "stdin"),
                "stdout": _flag(options, "output") or _flag(options, "stdout"),
                "tty": _flag(options, "tty"),
            }
            flags["stderr"] = (_flag(options, "error") or _flag(options, "stderr")) and not flags["tty"]
            if not (flags["stdin"] or flags["stdout"] or flags["stderr"]):
                return HttpReply(400, _TEXT, b"you must specify at least 1 of stdin, stdout, stderr\n")
            if verb == "attach":
                message = PodAttach(where[0], where[1], where[-1], _NOBODY, 0, **flags)
            else:
                command = tuple(options.get("command") or ())
                message = PodExec(where[0], where[1], where[-1], command, _NOBODY, 0, **flags)
        return HttpReply(101, tunnel=Tunnel(self.kubelet, message, verb))

    async def _exec(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]]) -> HttpReply:
        return await self._stream(call, where, options, "exec")

    async def _attach(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]]) -> HttpReply:
        return await self._stream(call, where, options, "attach")

    async def _port_forward(self, call: HttpCall, where: list[str], options: Mapping[str, list[str]]) -> HttpReply:
        return await self._stream(call, where, options, "portforward")


_DEBUGGING: Mapping[str, Any] = {
    "containerLogs": KubeletServer._logs,
    "run": KubeletServer._run,
    "exec": KubeletServer._exec,
    "attach": KubeletServer._attach,
    "portForward": KubeletServer._port_forward,
}


def _node(name: str) -> UserInfo:
    return UserInfo(f"system:node:{name}", ("system:nodes", "system:authenticated"))


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Remember, and of very many forget the oldest."""
    cache.pop(key, None)
    if len(cache) >= _MAX_CACHED:
        del cache[next(iter(cache))]
    cache[key] = value


def _flag(options: Mapping[str, list[str]], name: str) -> bool:
    return (options.get(name) or ["false"])[0] in ("1", "true", "True")


def _number(options: Mapping[str, list[str]], name: str) -> int | None:
    text = (options.get(name) or [""])[0]
    return int(text) if text else None


def _missing() -> HttpReply:
    return HttpReply(404, _TEXT, b"404 page not found\n")


def _not_allowed() -> HttpReply:
    return HttpReply(405, _TEXT, b"405: Method Not Allowed\n")
