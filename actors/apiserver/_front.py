"""HTTP requests: from a call to an answer, for every path that the server has.

Owns routing, the codes and headers of responses and the choice of representation. What a verb does
is in the verb's module; what bytes travel how is in `actors.apiserver.http`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from actors.apiserver import _authn as authn
from actors.apiserver import _render as rendering
from actors.apiserver._audit import Trail
from actors.apiserver._authz import Attributes
from actors.apiserver._core import Answer, Core
from actors.apiserver._disturbed import strike
from actors.apiserver._gzip import gzip
from actors.apiserver._impersonation import impersonate
from actors.apiserver._messages import HttpCall, HttpReply
from actors.apiserver._metrics import Key
from actors.apiserver._negotiate import JSON, PROTOBUF, YAML, Form, choose
from actors.apiserver._request import Path, Request, named_by, parse_path, parse_query, verb_of
from actors.apiserver._resources import Served
from actors.apiserver._watch import FrameRenderer
from actors.apiserver.flowcontrol import Rejected
from protocol import status
from protocol.api import StatusError, UserInfo
from protocol.conditions import API

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["serve"]

_TEXT = "text/plain; charset=utf-8"
_NOT_FOUND = HttpReply(404, _TEXT, b"404 page not found\n", (("x-content-type-options", "nosniff"),))
_BODIES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_GZIP_FROM_BYTES = 128 * 1024
_REQUEST_S = 60
"""What a request may take; a quarter of it is waited for a seat."""
_JSON_FORM = Form(JSON, "", JSON)


async def serve(server: ApiServer, call: HttpCall) -> HttpReply:
    """Answer one HTTP request; never raises for what a client can do wrong."""
    core = server.core
    started = core.clock.monotonic()
    trail, counters = Trail(), server.counters
    kind = "readOnly" if call.method in ("GET", "HEAD") else "mutating"
    counters.inflight[kind] += 1
    try:
        reply = await _serve(server, core, call, trail)
    except StatusError as error:
        reply = failure(core, call, error)
    except Rejected as rejected:
        reply = _too_many(rejected.retry_after_s)
    finally:
        counters.inflight[kind] -= 1
        if trail.seats:
            core.flow.leave(trail.flow, trail.seats, trail.waited)
    audit_id = call.headers.get("audit-id") or core.audit_id()
    flow = b"" if trail.flow is None else trail.flow.headers
    reply = msgspec.structs.replace(reply, flow=b"Audit-Id: %s\r\n%s" % (audit_id.encode("utf-8", "replace"), flow))
    counters.count(_counter_key(call, reply), reply.status, core.clock.monotonic() - started, len(reply.body))
    if server.auditor is not None:
        trail.audit_id = audit_id
        server.auditor.record(call, reply, trail, core.clock.now() - (core.clock.monotonic() - started))
    return reply


def _acting(core: Core, call: HttpCall, user: UserInfo, wanted: Attributes, trail: Trail) -> UserInfo:
    """Whom the request acts as: its sender, unless it impersonates somebody. Raises 400 and 403."""
    if not call.lists:
        return user
    acting = impersonate(core, call, user, wanted)
    if acting is None:
        return user
    trail.acting, trail.constraint = acting
    return acting.user


def _too_many(retry_after_s: int) -> HttpReply:
    headers = (("Retry-After", str(retry_after_s)), ("X-Content-Type-Options", "nosniff"))
    return HttpReply(429, _TEXT, b"Too many requests, please try again later.\n", headers)


async def _seat(core: Core, user: UserInfo, wanted: Attributes, options: dict[str, str], trail: Trail) -> None:
    """Take a seat for a request whose flow is limited, or wait for one. Raises `Rejected`."""
    flow, seats = trail.flow, 1
    if wanted.verb == "list":
        limit = options.get("limit", "")
        seats = core.flow.width(flow, wanted, int(limit) if limit.isdecimal() else 0)
    if not core.flow.enter(flow, seats):
        asked = options.get("timeout", "").removesuffix("s")
        patience = min(int(asked) if asked.isdecimal() else _REQUEST_S, _REQUEST_S) / 4
        trail.waited = await core.flow.wait(flow, user, wanted, seats, patience)
    trail.seats = seats


_CONNECTS = ("exec", "attach", "portforward", "proxy")
_PATHS = ("api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version", "statusz", "flagz")


def _counter_key(call: HttpCall, reply: HttpReply) -> Key:
    """The labels under which upstream counts a request."""
    path = parse_path(call.path)
    if path is None or not path.resource:
        return Key(call.method, "", "", "", call.path if call.path[1:].split("/", 1)[0] in _PATHS else "", "", "")
    applied = call.method == "PATCH" and call.headers.get("content-type", "").startswith("application/apply-patch")
    return _key(
        call.method, path.group, path.version, path.resource, path.subresource, bool(path.name), bool(path.namespace),
        reply.streaming, applied, "dryRun" in call.query,
    )  # fmt: skip


@lru_cache(4096)
def _key(
    method: str, group: str, version: str, resource: str, subresource: str, named: bool, local: bool, streaming: bool,
    applied: bool, dry_run: bool,
) -> Key:
    verb = method
    if subresource in _CONNECTS:
        verb = "CONNECT"
    elif streaming:
        verb = "WATCH"
    elif method == "GET" and not named:
        verb = "LIST"
    elif method == "DELETE" and not named:
        verb = "DELETECOLLECTION"
    elif applied:
        verb = "APPLY"
    elif method not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        verb = "other"
    scope = "resource" if named or method == "POST" else "namespace" if local else "cluster"
    return Key(verb, group, version, resource, subresource, scope, "apiserver", "All" if dry_run else "")


def failure(core: Core, call: HttpCall, error: StatusError) -> HttpReply:
    """A Status as a response; YAML for clients that want that."""
    headers: tuple[tuple[str, str], ...] = ()
    retry = error.status.get("details", {}).get("retryAfterSeconds") if error.status.get("details") else None
    if retry:
        headers = (("Retry-After", str(retry)),)
    if error.code == 401:
        headers = (("WWW-Authenticate", "Bearer"),)
    body = b"" if call.method == "HEAD" else rendering.orjson.dumps(error.status)
    if call.headers.get("accept") == YAML:
        return HttpReply(error.code, YAML, rendering.to_yaml(error.status), headers)
    return HttpReply(error.code, JSON, body, headers)


async def _serve(server: ApiServer, core: Core, call: HttpCall, trail: Trail) -> HttpReply:
    if core.issuers is not None:
        await core.issuers.prepare(authn.bearer_of(call))
    try:
        user = trail.user = authn.authenticate(core, call)
    except StatusError:
        server.counters.authenticated(None)
        raise
    server.counters.authenticated(user.name)
    options = parse_query(call.query)
    path = parse_path(call.path)
    if path is None or not path.resource:
        verb = {"GET": "get", "HEAD": "head", "POST": "post", "PUT": "put"}.get(call.method, call.method.lower())
        wanted = trail.wanted = Attributes(verb, path=call.path)
        user = _acting(core, call, user, wanted, trail)
        if core.flow.classify(user, wanted, trail):
            await _seat(core, user, wanted, options, trail)
        trail.reason = core.authorizer.require(user, wanted)
        from actors.apiserver._paths import other_path

        return await other_path(server, core, call, options, user)
    verb = verb_of(call.method, path, options)
    wanted = Attributes(
        verb or call.method.lower(), path.group, path.resource, path.subresource,
        path.namespace if path.resource != "namespaces" or path.namespace else path.name if path.name else "",
        path.name,
    )
    if "fieldSelector" in options and verb in _NARROWED:
        name = named_by(options) if verb != "deletecollection" else ""
        wanted = wanted._replace(name=name or path.name, fields=options["fieldSelector"])
    trail.wanted = wanted
    if call.lists:
        user = _acting(core, call, user, wanted, trail)
    if core.flow.classify(user, wanted, trail):
        await _seat(core, user, wanted, options, trail)
    trail.reason = core.authorizer.require(user, wanted)
    served = core.resources.get(path.group, path.version, path.resource)
    if served is None:
        return await _unserved(server, core, call, path, user, verb == "watch")
    warnings: list[str] = []
    faults = server.system.world.get(API)
    name = verb or call.method.lower()
    try:
        if faults and await strike(server, faults, user, name, path.group, path.resource, path.name):
            await _served(server, core, call, path, options, user, verb, served, warnings, trail)
            raise status.timeout("request did not complete within the allotted timeout")
        return await _served(server, core, call, path, options, user, verb, served, warnings, trail)
    except StatusError as error:
        reply = failure(core, call, error)
        return msgspec.structs.replace(reply, headers=(*reply.headers, *warning_headers(core, served, warnings)))


async def _served(
    server: ApiServer, core: Core, call: HttpCall, path: Path, options: dict[str, str], user: UserInfo, verb: str,
    served: Served, warnings: list[str], trail: Trail,
) -> HttpReply:
    if not verb:
        raise status.method_not_allowed()
    check_route(served, path, verb)
    body: Any = call.body
    content_type = call.headers.get("content-type", "").partition(";")[0].strip() or JSON
    if verb in ("create", "update") and content_type not in _BODIES and path.subresource != "proxy":
        raise status.unsupported_media_type(_BODIES)
    request = Request(
        verb, served, path.namespace, path.name, path.subresource, options, body, content_type, user,
        call.headers.get("user-agent", ""), call.query,
    )
    request.warnings, request.annotations = warnings, trail.annotations
    if verb == "watch":
        return await _watch(server, core, call, request)
    form = choose(call.headers.get("accept", "")) if path.subresource not in _RAW else _JSON_FORM
    if path.subresource in _RAW:
        from actors.apiserver._podproxy import proxy

        return await proxy(server, core, call, request, path)
    if form.shape == "Table":
        rendering.check_include(options.get("includeObject", ""))
    answer = await server.execute(request)
    return respond(core, call, request, answer, form)


_NARROWED = ("list", "watch", "deletecollection")
_RAW = ("log", "exec", "attach", "portforward", "proxy")


def respond(core: Core, call: HttpCall, request: Request, answer: Answer, form: Form) -> HttpReply:
    """A verb's answer as a response."""
    wants_gzip = "gzip" in call.headers.get("accept-encoding", "")
    if answer.list is not None and form == _JSON_FORM and "pretty" not in request.options:
        packed = answer.list.gzipped(_GZIP_FROM_BYTES) if wants_gzip else None
        if packed is not None:
            headers = (*warning_headers(core, request.served, request.warnings), *_GZIPPED)
            return HttpReply(answer.code, JSON, packed, headers)
        first, *more = answer.list.parts()
        headers = warning_headers(core, request.served, request.warnings)
        return HttpReply(answer.code, JSON, first, headers, tuple(more))
    body = rendering.render(answer, form, request.options, core.clock.now())
    headers = warning_headers(core, request.served, request.warnings)
    if wants_gzip and len(body) > _GZIP_FROM_BYTES:
        body = gzip(body)
        headers = (*headers, *_GZIPPED)
    return HttpReply(answer.code, form.content_type, body, headers)


_GZIPPED = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))


_DEPRECATED = {
    ("", "v1", "ComponentStatus"): (19, "v1 ComponentStatus is deprecated in v1.19+"),
    ("", "v1", "Endpoints"): (33, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
}


def warning_headers(core: Core, served: Served, warnings: list[str]) -> tuple[tuple[str, str], ...]:
    """One Warning header per warning, each text once."""
    found = _deprecations(core, served)
    if not warnings:
        return found
    more = tuple(("Warning", f'299 - "{_quoted(text)}"') for text in dict.fromkeys(warnings))
    return (*found, *(header for header in more if header not in found))


def _deprecations(core: Core, served: Served) -> tuple[tuple[str, str], ...]:
    """The warning that a version of a kind carries with every answer."""
    kind = served.kind
    texts: list[str] = []
    deprecated = _DEPRECATED.get((kind.group, kind.version, kind.kind))
    if deprecated is not None and core.config.minor >= deprecated[0]:
        texts.append(deprecated[1])
    if served.custom is not None:
        texts += served.custom.deprecation(served)
    return tuple(("Warning", f'299 - "{_quoted(text)}"') for text in texts) if texts else ()


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean.replace("\\", "\\\\").replace('"', '\\"')


def check_route(served: Served, path: Path, verb: str) -> None:
    """Refuse paths and methods that the resource does not have. Raises 404 or 405."""
    kind = served.kind
    if kind.namespaced and not path.namespace:
        if path.name:
            raise status.page_not_found()
        if verb not in ("list", "watch"):
            raise status.method_not_allowed() if kind.verbs != ("create",) else status.page_not_found()
    elif path.namespace and not kind.namespaced:
        raise status.page_not_found()
    if path.subresource:
        subresource = kind.subresource(path.subresource)
        if subresource is None or (path.rest and path.subresource != "proxy"):
            if served.custom is not None:
                raise status.not_found(kind.group, kind.resource, path.name)
            raise status.page_not_found()
        if verb not in subresource.verbs:
            raise status.method_not_allowed()
        return
    if path.name and not any(named in kind.verbs for named in ("get", "update", "patch", "delete")):
        raise status.page_not_found()
    if verb in ("create", "deletecollection", "list") and path.name:
        raise status.method_not_allowed()
    if verb in ("update", "patch", "get", "delete") and not path.name:
        raise status.method_not_allowed()
    if verb not in kind.verbs:
        raise status.method_not_allowed()


async def _unserved(
    server: ApiServer, core: Core, call: HttpCall, path: Path, user: UserInfo, streams: bool
) -> HttpReply:
    """A group, version or resource that is not served here: another server's, or nobody's."""
    service = server.aggregation.find(path.group, path.version)
    if service is not None:
        return await server.aggregation.pass_on(call, user, service, streams)
    if core.resources.builtin_group(path.group):
        raise status.page_not_found()
    return _NOT_FOUND


async def _watch(server: ApiServer, core: Core, call: HttpCall, request: Request) -> HttpReply:
    if call.stream is None:
        raise status.bad_request("a watch needs a connection that can stream")
    form = choose(call.headers.get("accept", ""), watching=True)
    include = request.options.get("includeObject", "")
    shape = None
    if form.shape == "Table":
        rendering.check_include(include)
        shape = rendering.table_shape(request.served, core.clock.now, include, form.meta)
    elif form.shape:
        shape = rendering.partial_shape(form.meta)
    elif form.media != JSON:
        shape = _same
    served = request.served
    renderer = FrameRenderer(
        served.kind.api_version, served.from_storage, rendering.event_bytes(form.media), shape
    )
    await server.open_watch(request, call.stream, call.stream_id, renderer)
    content_type = form.content_type + (";stream=watch" if form.media == PROTOBUF else "")
    return HttpReply(200, content_type, headers=warning_headers(core, served, request.warnings), streaming=True)


def _same(obj: dict[str, Any]) -> dict[str, Any]:
    return obj
