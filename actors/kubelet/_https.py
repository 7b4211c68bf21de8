"""The kubelet's own API over HTTPS: who asks, may he, and what of the kubelet is meant.

Owns authentication and authorisation, both delegated to the API server (TokenReview,
SubjectAccessReview) with upstream's attributes. An HTTP front owns the sockets and the
client certificates; paths are in `_routing`, and what is asked for is answered by the kubelet's actor.

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.client import Client, ClientActor
from actors.kernel import ActorDead, AskTimeout, Future, Ref, handles
from actors.kubelet._routing import route
from protocol.api import Hold, StatusError, UserInfo
from protocol.http import HttpCall, HttpReply, StopFrames
from protocol.message import Address, Message
from protocol.node import (
    NodeGet,
    NodeResponse,
    PodLogs,
    PodRun,
    StreamClosed,
)

__all__ = ["KubeletServer", "ServeKubelet", "ServerConfig", "attributes"]

Object = dict[str, Any]
_TEXT = "text/plain; charset=utf-8"
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
        reply, feeder = await route(self, call, self.config.debugging_handlers)
        if feeder is not None and call.stream is not None:
            self.followed[call.stream.actor_urn, call.stream_id] = feeder
        return reply

    def door(self) -> Address:
        """Whom streams are opened at."""
        return self.kubelet  # type: ignore[no-any-return]

    async def logs(self, message: PodLogs) -> Any:
        """A container's log."""
        return await self.ask(self.kubelet, message, timeout=_ASK_S)

    async def run_in(self, message: PodRun) -> bytes:
        """The output of a command."""
        return await self.ask(self.kubelet, message, timeout=None)  # type: ignore[no-any-return]

    async def api_path(self, message: NodeGet) -> NodeResponse:
        """What is read at any other path."""
        return await self.ask(self.kubelet, message, timeout=_ASK_S)  # type: ignore[no-any-return]


def _node(name: str) -> UserInfo:
    return UserInfo(f"system:node:{name}", ("system:nodes", "system:authenticated"))


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Remember, and of very many forget the oldest."""
    cache.pop(key, None)
    if len(cache) >= _MAX_CACHED:
        del cache[next(iter(cache))]
    cache[key] = value
