"""The aggregation layer: API groups that other servers answer for.

Owns which APIService a request belongs to, what is passed on and under which identity, and what the
APIService's condition says about the other server. `_forward` talks to that server.

https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from actors.apiserver._cache import Change
from actors.apiserver._forward import Forward, Forwarders, ForwardFailure
from actors.apiserver._messages import HttpCall, HttpReply
from actors.apiserver._negotiate import JSON, choose
from actors.apiserver._request import parse_path, parse_query, verb_of
from actors.kernel import ActorDead, AskTimeout, Future
from protocol import status
from protocol.api import ADMIN, ApiRequest, Resource, ServeGroup, StatusError, UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._server import ApiServer

__all__ = ["Aggregation", "extension_authentication"]

Object = dict[str, Any]
GROUP = "apiregistration.k8s.io"
_SERVICES = Resource(GROUP, "v1", "apiservices")
_CHECK_TIMEOUT_S = 5.0
_PROVIDER_S = 30.0
_NOT_PASSED = ("authorization", "connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade")
_METHODS = {
    "get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
    "deletecollection": "DELETE",
}
_PROXY_USER = "front-proxy-client"


def extension_authentication(client_ca: bytes, with_proxy: bool) -> dict[str, str]:
    """What an extension API server needs to trust this one's word about who asks."""
    if not with_proxy:
        return {"client-ca-file": client_ca.decode()}
    return {
        "client-ca-file": client_ca.decode(),
        "requestheader-allowed-names": f'["{_PROXY_USER}"]',
        "requestheader-client-ca-file": client_ca.decode(),
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }


class Aggregation:
    """What one API server passes on."""

    def __init__(self, server: ApiServer, core: Core) -> None:
        self.server = server
        self.core = core
        self.forwarders = Forwarders(server)
        self._checked: Future[None] | None = None
        """Set while the other servers are being asked."""
        self._again = False
        """Something has changed meanwhile."""
        self._watched: set[tuple[str, str]] = set()
        """The Services of other servers, by namespace and name."""
        core.store.cache(GROUP, "apiservices").listeners.append(self._registered)
        core.store.cache("", "services").listeners.append(lambda change: self._moved(change, ""))
        slices = core.store.cache("discovery.k8s.io", "endpointslices")
        slices.listeners.append(lambda change: self._moved(change, "kubernetes.io/service-name"))
        self._provided: dict[tuple[str, str], ServeGroup] = {}

    def find(self, group: str, version: str) -> Object | None:
        """The APIService of another server for a group version, or None."""
        found: Object | None = self.core.get(GROUP, "apiservices", "", f"{version}.{group}")
        return found if found is not None and (found.get("spec") or {}).get("service") else None

    async def provide(self, message: ServeGroup) -> None:
        """An actor of this process answers for a group version from now on."""
        self._provided[message.group, message.version] = message
        await self.check()

    def provider(self, group: str, version: str) -> Any:
        """Who answers for a group version in this process, or None: an APIService must say so."""
        found = self._provided.get((group, version))
        service = self.find(group, version) if found is not None else None
        if found is None or service is None:
            return None
        where = service["spec"]["service"]
        return found.address if (where.get("namespace"), where.get("name")) == found.service else None

    async def ask_provider(self, address: Any, request: ApiRequest) -> Object:
        """Its answer. Raises `StatusError`."""
        try:
            return await self.server.ask(address, request, timeout=_PROVIDER_S)  # type: ignore[no-any-return]
        except (ActorDead, AskTimeout):
            raise status.service_unavailable("the server is currently unable to handle the request") from None

    async def answer(self, service: Object, request: ApiRequest) -> Object | None:
        """Another server's answer to a client in this process. Raises `StatusError`."""
        provider = self.provider(request.resource.group, request.resource.version)
        if provider is not None:
            return await self.ask_provider(provider, request)
        method = _METHODS.get(request.verb)
        if method is None:
            raise status.method_not_allowed()
        reply = await self.pass_on(_call_of(method, request), request.user, service, False)
        try:
            body: Any = orjson.loads(reply.body) if reply.body else None
        except orjson.JSONDecodeError:
            body = None
        if reply.status < 400:
            return body if isinstance(body, dict) else None
        if isinstance(body, dict) and body.get("kind") == "Status":
            raise StatusError(body)
        if reply.status == 404:
            raise status.page_not_found()
        text = reply.body[:2048].decode("utf-8", "replace").strip()
        raise status.failure(reply.status, "ServiceUnavailable" if reply.status == 503 else "", text)

    async def _answer_here(self, call: HttpCall, user: UserInfo, address: Any) -> HttpReply:
        path, options = parse_path(call.path), parse_query(call.query)
        verb = verb_of(call.method, path, options) if path is not None else ""
        if path is None or verb not in ("get", "list") or path.subresource:
            raise status.method_not_allowed()
        if choose(call.headers.get("accept", "")).shape == "Table":
            options = {**options, "as": "Table"}
        what = Resource(path.group, path.version, path.resource)
        request = ApiRequest(verb, what, path.namespace, path.name, options=options, user=user)
        return HttpReply(200, JSON, orjson.dumps(await self.ask_provider(address, request)))

    async def pass_on(self, call: HttpCall, user: UserInfo, service: Object, streams: bool) -> HttpReply:
        """Another server's answer."""
        here = self.provider(service["spec"].get("group", ""), service["spec"]["version"])
        if here is not None:
            return await self._answer_here(call, user, here)
        if not _condition(service):  # new: nobody has asked it yet
            await self.check()
            service = self.core.get(GROUP, "apiservices", "", service["metadata"]["name"]) or service
        if _condition(service).get("status") != "True":
            return _failed("service unavailable")
        try:
            message = self._message(call, user, service, call.stream if streams else None)
        except ForwardFailure:
            return _failed("service unavailable")
        try:
            reply, feeder = await self.forwarders.send(message)
        except ForwardFailure as error:
            return _failed(f"error trying to reach service: {error}")
        if reply.streaming and call.stream is not None:
            self.server.follow(call.stream, call.stream_id, feeder)
        return reply

    def _message(
        self, call: HttpCall, user: UserInfo, service: Object, stream: Any = None, timeout_s: float = 60.0
    ) -> Forward:
        from actors.apiserver.admission._webhook_call import CallFailure, endpoint_of

        spec = service["spec"]
        try:
            endpoint = endpoint_of(self.core, {"service": spec["service"]}, 1)
        except CallFailure as error:
            raise ForwardFailure(str(error)) from None
        return Forward(
            endpoint.host, endpoint.port, endpoint.server_name, base64.b64decode(spec.get("caBundle") or ""),
            bool(spec.get("insecureSkipTLSVerify")), self.core.config.proxy_client, _request(call, user, endpoint.server_name),
            stream, call.stream_id, timeout_s,
        )

    # --- whether the other servers are there ------------------------------------------------

    def _registered(self, change: Change) -> None:
        """An APIService has come, or says something else than before."""
        new, old = ((entry.object.get("spec") or {}) if entry is not None else {} for entry in (change.new, change.old))
        if new != old and (new.get("service") or old.get("service")):
            self._wake()

    def _moved(self, change: Change, label: str) -> None:
        """A Service or its endpoints have changed: those of another server, perhaps."""
        entry = change.new or change.old
        if entry is None or not self._watched:
            return
        name = (entry.object["metadata"].get("labels") or {}).get(label, "") if label else entry.name
        if (entry.namespace, name) in self._watched:
            self._wake()

    def _wake(self) -> None:
        self._again = True
        if self._checked is None and self.server.ready.done:
            self.server.background(self.check())

    async def check(self) -> None:
        """Ask every other server what it serves; write down whether it answered."""
        self._again = True
        while self._checked is not None:
            await self._checked
        if not self._again:
            return  # who was first has seen it
        done = self._checked = Future()
        try:
            while self._again:
                self._again = False
                await self._check_all()
        finally:
            self._checked = None
            done.set(None)

    async def _check_all(self) -> None:
        known: dict[tuple[str, str], list[Object]] = {}
        remote = [service for service in self.core.list(GROUP, "apiservices") if (service.get("spec") or {}).get("service")]
        places = (service["spec"]["service"] for service in remote)
        self._watched = {(place.get("namespace", ""), place.get("name", "")) for place in places}
        for service in remote:
            condition, resources = await self._check(service)
            if resources is not None:
                known[service["spec"].get("group", ""), service["spec"]["version"]] = resources
            await self._tell(service, condition)
        self.core.resources.set_remote(known)

    async def _check(self, service: Object) -> tuple[Object, list[Object] | None]:
        spec = service["spec"]
        where = spec["service"]
        if self.provider(spec.get("group", ""), spec["version"]) is not None:
            provided = self._provided[spec.get("group", ""), spec["version"]]
            passed = {"status": "True", "reason": "Passed", "message": "all checks passed"}
            return passed, list(provided.resources)
        name = f'service/{where["name"]} in "{where["namespace"]}"'
        if self.core.get("", "services", where["namespace"], where["name"]) is None:
            return {"status": "False", "reason": "ServiceNotFound", "message": f"{name} is not present"}, None
        lacking = self._lacking(where, name)
        if lacking:
            return {"status": "False", **lacking}, None
        path = f"/apis/{spec['group']}/{spec['version']}"
        call = HttpCall("GET", path, "", {"accept": "application/json"}, b"")
        try:
            message = self._message(call, UserInfo("system:kube-aggregator", ("system:masters",)), service, timeout_s=_CHECK_TIMEOUT_S)
        except ForwardFailure as error:
            return {"status": "False", "reason": "FailedDiscoveryCheck", "message": str(error)}, None
        url = f"https://{message.host}:{message.port}{path}"
        wrong = f"failing or missing response from {url}: "
        try:
            reply, _ = await self.forwarders.send(message)
            if not 200 <= reply.status < 300:
                wrong += f"bad status from {url}: {reply.status}"
                return {"status": "False", "reason": "FailedDiscoveryCheck", "message": wrong}, None
            resources = orjson.loads(reply.body)["resources"]
        except (ForwardFailure, ValueError, KeyError, TypeError) as error:
            wrong += f"Get {orjson.dumps(url).decode()}: {error}"
            return {"status": "False", "reason": "FailedDiscoveryCheck", "message": wrong}, None
        fine = [entry for entry in resources if isinstance(entry, dict) and entry.get("name") and entry.get("kind")]
        return {"status": "True", "reason": "Passed", "message": "all checks passed"}, fine

    def _lacking(self, where: Object, name: str) -> Object:
        """What a Service with an address of its own lacks to be another server's."""
        service = self.core.get("", "services", where["namespace"], where["name"]) or {}
        spec = service.get("spec") or {}
        if spec.get("type", "ClusterIP") != "ClusterIP":
            return {}
        number = where.get("port") or 443
        port = next((port for port in spec.get("ports") or () if port.get("port") == number), None)
        if port is None:
            return {"reason": "ServicePortError", "message": f"{name} is not listening on port {number}"}
        slices = [
            piece
            for piece in self.core.list("discovery.k8s.io", "endpointslices", where["namespace"])
            if (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == where["name"]
        ]
        if not slices:
            return {"reason": "EndpointsNotFound", "message": f"cannot find endpointslices for {name}"}
        called = port.get("name") or ""
        for piece in slices:
            ready = any((e.get("conditions") or {}).get("ready") is not False for e in piece.get("endpoints") or ())
            if ready and any((p.get("name") or "") == called and p.get("port") for p in piece.get("ports") or ()):
                return {}
        text = f'endpointslices for {name} have no addresses with port name "{called}"'
        return {"reason": "MissingEndpoints", "message": text}

    async def _tell(self, service: Object, condition: Object) -> None:
        old = _condition(service)
        if all(old.get(key) == value for key, value in condition.items()):
            return
        same = old.get("status") == condition["status"]
        since = old.get("lastTransitionTime") if same else self.core.clock.rfc3339()
        entry = {"type": "Available", "status": condition["status"], "lastTransitionTime": since, **condition}
        metadata = service["metadata"]
        try:
            await self.server.request(
                ApiRequest(
                    "patch", _SERVICES, "", metadata["name"], "status", {"status": {"conditions": [entry]}},
                    "application/merge-patch+json", {}, ADMIN, user_agent="kube-apiserver",
                )
            )
        except StatusError as error:
            self.core.actor.log.warning("apiservice_status", name=metadata["name"], error=str(error))


def _call_of(method: str, request: ApiRequest) -> HttpCall:
    """A request by message as a request by HTTP."""
    what = request.resource
    words = ["apis", what.group, what.version, *(("namespaces", request.namespace) if request.namespace else ())]
    words += [what.resource, *filter(None, (request.name, request.subresource))]
    path = "/" + "/".join(quote(word, safe="*/") for word in words)
    headers = {"accept": "application/json"}
    body = b""
    if request.body is not None:
        body = orjson.dumps(request.body)
        headers["content-type"] = request.patch_type or "application/json"
    if request.user_agent:
        headers["user-agent"] = request.user_agent
    return HttpCall(method, path, urlencode(request.options), headers, body)


def _condition(service: Object) -> Object:
    conditions = (service.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == "Available"), {})


def _failed(text: str) -> HttpReply:
    return HttpReply(503, "text/plain; charset=utf-8", f"{text}\n".encode(), (("X-Content-Type-Options", "nosniff"),))


def _request(call: HttpCall, user: UserInfo, host: str) -> bytes:
    """The request as it is sent on: without the client's credentials, with its identity instead."""
    target = call.path + (f"?{call.query}" if call.query else "")
    lines = [f"{call.method} {target} HTTP/1.0", f"Host: {host}"]
    for name, value in call.headers.items():
        if name not in _NOT_PASSED and not name.startswith(("x-remote-", "impersonate-", "sec-websocket")):
            lines.append(f"{name}: {value}")
    if call.peer_address:
        lines.append(f"X-Forwarded-For: {call.peer_address}")
    lines.append(f"X-Remote-User: {_safe(user.name)}")
    if user.uid:
        lines.append(f"X-Remote-Uid: {_safe(user.uid)}")
    lines += [f"X-Remote-Group: {_safe(group)}" for group in user.groups]
    for key, values in user.extra.items():
        lines += [f"X-Remote-Extra-{quote(key.lower(), safe='-._~')}: {_safe(value)}" for value in values]
    if call.body or call.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(call.body)}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "replace") + call.body


def _safe(text: str) -> str:
    """A header's value: a name with line ends in it must not become more headers."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

