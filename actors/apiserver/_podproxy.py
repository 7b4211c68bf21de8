"""logs, exec, attach, port-forward and proxies: requests that a node answers.

Owns the checks before a request is handed to the node's kubelet as a message (`protocol.node`).

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from actors.apiserver._authz import Attributes
from actors.apiserver._backend import Backend, exchange, node_of, pod_backend, request_bytes, service_backend, upgrade
from actors.apiserver._core import Answer, Core
from actors.apiserver._kubelets import kubelet_of, log_target, stream_target
from actors.apiserver._messages import HttpCall, HttpReply, Tunnel
from actors.apiserver._options import integer
from actors.apiserver._request import Path, Request, query_values, truthy
from actors.apiserver.strategies import FieldError
from actors.kernel import ActorDead, AskTimeout
from protocol import status
from protocol.following import StreamFollower
from protocol.message import Address
from protocol.node import (
    NodeAnswer,
    NodeCall,
    NodeGet,
    PodAttach,
    PodExec,
    PodLogs,
    PodPortForward,
)

if TYPE_CHECKING:
    from actors.apiserver._server import ApiServer

__all__ = ["in_process", "proxy"]

Object = dict[str, Any]
_TEXT = "text/plain"
_LOG_TIMEOUT_S = 30.0
_NOBODY: Any = None


async def proxy(server: ApiServer, core: Core, call: HttpCall, request: Request, path: Path) -> HttpReply:
    """Answer an HTTP request to one of these subresources."""
    sub = request.subresource
    if sub == "log":
        return await _log(core, call, request)
    if sub == "proxy":
        return await _proxy(core, call, request, path)
    verb = "create"
    if request.verb != verb:  # a GET that upgrades is as powerful as a POST
        core.authorizer.require(
            request.user, Attributes(verb, "", request.served.kind.resource, sub, request.namespace, request.name)
        )
    pod = _pod(core, request)
    message = _stream_request(request, pod)
    await _admitted(core, request)
    upgrade = call.headers.get("upgrade", "").lower()
    if upgrade not in ("websocket", "spdy/3.1"):
        raise status.bad_request("Upgrade request required")
    elsewhere = kubelet_of(core, _node_name(pod))
    if elsewhere is not None:
        return elsewhere.tunnel(call, stream_target(message))
    address = _node(core, pod)
    return HttpReply(101, tunnel=Tunnel(address, message, sub))


_OPTIONS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}


async def _admitted(core: Core, request: Request) -> None:
    """Ask admission about a connection. Raises `StatusError`."""
    from actors.apiserver._subresources import admitted
    from actors.apiserver.admission import CONNECT

    sub, options = request.subresource, request.options
    sent: Object = {"kind": _OPTIONS[sub], "apiVersion": "v1"}
    sent |= {name: True for name in ("stdin", "stdout", "stderr", "tty") if truthy(options.get(name))}
    if options.get("container"):
        sent["container"] = options["container"]
    if sub == "exec":
        sent["command"] = list(query_values(request.query, "command"))
    if sub == "portforward":
        sent["ports"] = [int(p) for value in query_values(request.query, "ports") for p in value.split(",") if p]
    await admitted(core, request, request.served.kind, request.name, sub, sent, CONNECT)


async def in_process(core: Core, request: Request) -> Answer:
    """Logs for a client in this process: the text is under `log`."""
    if request.subresource != "log":
        raise status.bad_request("streams need a connection that can upgrade")
    pod = _pod(core, request)
    message = _log_request(request, pod)
    if not (pod.get("spec") or {}).get("nodeName"):
        return Answer(obj={"log": ""})
    elsewhere = kubelet_of(core, _node_name(pod))
    if elsewhere is not None:
        data = _good(await elsewhere.pass_on("GET", log_target(message))).body
    else:
        data = await _asked(core, _node(core, pod), message)
    return Answer(obj={"log": data.decode("utf-8", "replace")})


async def node_json(core: Core, node: str, path: str) -> Object:
    """The JSON at a path of a node's own API, for a client in this process."""
    elsewhere = kubelet_of(core, node)
    if elsewhere is not None:
        body = _good(await elsewhere.pass_on("GET", f"/{path}")).body
    else:
        body = (await _asked(core, node_address(core, node), NodeGet(f"/{path}", "", node))).body
    try:
        found: Object = orjson.loads(body)
    except ValueError:
        raise status.internal_error("the kubelet's answer is no JSON") from None
    return found


def _pod(core: Core, request: Request) -> Object:
    pod = core.get("", "pods", request.namespace, request.name)
    if pod is None:
        raise status.not_found("", "pods", request.name)
    return pod


def _node_name(pod: Object) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise status.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def _node(core: Core, pod: Object) -> Address:
    return node_address(core, _node_name(pod))


def _good(reply: HttpReply) -> HttpReply:
    """A kubelet's answer, if it is one. Raises what it refused with."""
    if reply.status < 300:
        return reply
    text = reply.body.decode("utf-8", "replace").strip()
    if reply.status == 400:
        raise status.bad_request(text)
    if reply.status == 404:
        raise status.failure(404, "NotFound", text)
    raise status.internal_error(f"{text or 'the kubelet answered ' + str(reply.status)}")


def node_address(core: Core, node: str) -> Address:
    """Where a node's kubelet can be asked. Raises 500 when it has not said so."""
    address = core.nodes.get(node)
    if address is None:
        raise status.internal_error(f"error dialing backend: the kubelet of node {node} is not connected")
    return address


# --- logs -------------------------------------------------------------------------------------


async def _log(core: Core, call: HttpCall, request: Request) -> HttpReply:
    pod = _pod(core, request)
    message = _log_request(request, pod)
    if not (pod.get("spec") or {}).get("nodeName"):
        return HttpReply(204, "")
    elsewhere = kubelet_of(core, _node_name(pod))
    if elsewhere is not None:
        return _good(await elsewhere.pass_on("GET", log_target(message), call, streams=message.follow))
    address: Any = _node(core, pod)
    if not message.follow or call.stream is None:
        data = await _asked(core, address, message)
        return HttpReply(200, _TEXT, data)
    peer = StreamFollower(call.stream, call.stream_id)
    message = PodLogs(
        message.namespace,
        message.pod,
        message.container,
        True,
        message.previous,
        message.timestamps,
        message.since_seconds,
        message.since_time,
        message.tail_lines,
        message.limit_bytes,
        peer,
        call.stream_id,
    )
    opened = await _asked(core, address, message)
    core.server.follow(call.stream, call.stream_id, opened.address)
    return HttpReply(200, _TEXT, streaming=True)


async def _asked(core: Core, address: Any, message: Any) -> Any:
    try:
        return await core.actor.ask(address, message, timeout=_LOG_TIMEOUT_S)
    except (ActorDead, AskTimeout) as error:
        raise status.internal_error(f"error dialing backend: {error}") from None


def _log_request(request: Request, pod: Object) -> PodLogs:
    options = request.options
    errors: list[FieldError] = []
    numbers: dict[str, int | None] = {}
    for field, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        text = options.get(field)
        number = integer(text) if text else None
        if number is not None and number < least:
            errors.append(
                FieldError(
                    "FieldValueInvalid",
                    field,
                    f"Invalid value: {number}: must be greater than " + ("or equal to 0" if least == 0 else "0"),
                )
            )
        numbers[field] = number
    if options.get("sinceTime") and numbers["sinceSeconds"] is not None:
        errors.append(
            FieldError(
                "FieldValueForbidden", "", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            )
        )
    if errors:
        raise status.invalid("", "PodLogOptions", request.name, errors)
    container = _container(pod, options.get("container", ""))
    since = options.get("sinceTime")
    return PodLogs(
        request.namespace,
        request.name,
        container,
        truthy(options.get("follow")),
        truthy(options.get("previous")),
        truthy(options.get("timestamps")),
        numbers["sinceSeconds"],
        datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else None,
        numbers["tailLines"],
        numbers["limitBytes"],
    )


def _container(pod: Object, wanted: str) -> str:
    """The container that is meant. Raises 400."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    names = [c["name"] for c in spec.get("containers") or ()]
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or ()]
    if wanted:
        if wanted not in (*names, *inits, *ephemeral):
            raise status.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) == 1 and not inits and not ephemeral:
        return str(names[0])
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise status.bad_request(text)


# --- streams ----------------------------------------------------------------------------------


def _stream_request(request: Request, pod: Object) -> Any:
    options, sub = request.options, request.subresource
    if not (pod.get("spec") or {}).get("nodeName"):
        raise status.bad_request(f"pod {request.name} does not have a host assigned")
    if sub == "portforward":
        ports = [int(p) for value in query_values(request.query, "ports") for p in value.split(",") if p]
        return PodPortForward(request.namespace, request.name, tuple(ports), _NOBODY, 0)
    container = _container(pod, options.get("container", ""))
    stdin, tty = truthy(options.get("stdin")), truthy(options.get("tty"))
    stdout = truthy(options.get("stdout"))
    stderr = truthy(options.get("stderr")) and not tty
    if sub == "attach":
        return PodAttach(request.namespace, request.name, container, _NOBODY, 0, stdin, stdout, stderr, tty)
    command = tuple(query_values(request.query, "command"))
    if not command:
        raise status.bad_request("you must specify at least one command for the container")
    return PodExec(request.namespace, request.name, container, command, _NOBODY, 0, stdin, stdout, stderr, tty)


# --- proxies ----------------------------------------------------------------------------------


async def _proxy(core: Core, call: HttpCall, request: Request, path: Path) -> HttpReply:
    """A pod's or a service's port, or GET of a node's own API."""
    kind = request.served.kind.kind
    if kind in ("Pod", "Service"):
        find = pod_backend if kind == "Pod" else service_backend
        return await _relayed(core, call, find(core, request.namespace, request.name))
    name = node_of(request.name)
    if core.get("", "nodes", "", name) is None:
        raise status.not_found("", "nodes", name)
    target = "/" + path.rest + (f"?{call.query}" if call.query else "")
    elsewhere = kubelet_of(core, name)
    if elsewhere is not None:
        if call.headers.get("upgrade"):
            return elsewhere.tunnel(call, target)
        return await elsewhere.pass_on(call.method, target, call, streams=call.method == "GET")
    passed = msgspec.structs.replace(call, path="/" + path.rest)
    answer: NodeAnswer = await _asked(core, node_address(core, name), NodeCall(passed, request.name))
    if answer.feeder is not None and call.stream is not None:
        server: Any = core.server
        server.follow(call.stream, call.stream_id, answer.feeder)
    return answer.reply


async def _relayed(core: Core, call: HttpCall, backend: Backend) -> HttpReply:
    rest = re.sub(
        r"^.*?/(?:pods|services)/[^/]+/proxy", "", call.path, count=1
    )  # as it came: escapes and a final slash matter to the pod
    query = f"?{call.query}" if call.query else ""
    if not rest and call.method in ("GET", "HEAD"):
        return HttpReply(301, "", b"", (("Location", f"{call.path}/{query}"),))
    data = request_bytes(call, (rest or "/") + query, backend)
    if call.headers.get("upgrade"):
        return await upgrade(core, backend, data)
    return await exchange(core, backend, data, call)
