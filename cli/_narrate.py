"""Messages told as sentences, for `demo` and `trace`.

It knows what each message of the protocol means and nothing of where it comes from; what has no
meaning to a reader (heartbeats, reads, bookkeeping) is passed over.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import TraceRecord
from protocol import cri
from protocol.api import ApiRequest
from protocol.etcd import Put, Txn

__all__ = ["component", "narrate", "subject"]

COMPONENTS = {
    "apiserver": "API server",
    "etcd": "etcd",
    "scheduler": "scheduler",
    "desk": "you",
    "outside": "you",
}


def component(path: str) -> str:
    """Who an actor's path is, in words: `controller-manager/replicaset-controller` is `replicaset
    controller`, `node-1/kubelet/...` is `kubelet node-1`."""
    parts = path.split("/")
    if parts[0] == "controller-manager":
        return parts[1].replace("-", " ") if len(parts) > 1 else "controller manager"
    if parts[0].startswith("kube-proxy-"):
        return f"kube-proxy {parts[0].removeprefix('kube-proxy-')}"
    if len(parts) > 1 and parts[1] in ("kubelet", "runtime"):
        return f"{parts[1]} {parts[0]}"
    return COMPONENTS.get(parts[0], parts[0])


def narrate(record: TraceRecord) -> str | None:
    """What this message means, or None when it tells a reader nothing."""
    if record.kind not in ("tell", "ask"):
        return None
    message = record.message
    if isinstance(message, ApiRequest):
        return _request(message)
    teller = _CRI.get(type(message))
    if teller is not None:
        return teller(message)
    if isinstance(message, Txn):
        return _transaction(message)
    return None


def subject(record: TraceRecord) -> str:
    """Which object the message is about, as `pods/web-abc`; empty if none."""
    message = record.message
    if isinstance(message, ApiRequest):
        name = message.name or _name_of(message.body)
        return f"{message.resource.resource}/{name}"
    config = getattr(message, "config", None) or getattr(message, "sandbox_config", None)
    name = getattr(getattr(config, "metadata", config), "name", "")
    return f"pods/{name}" if name else ""


QUIET_RESOURCES = {"leases", "events"}


def _request(request: ApiRequest) -> str | None:
    resource = request.resource.resource
    if resource in QUIET_RESOURCES or request.verb in ("get", "list", "watch"):
        return None
    what = f"{resource.removesuffix('s')} {request.name or _name_of(request.body)}"
    if request.verb == "create" and request.subresource == "binding":
        target = ((request.body or {}).get("target") or {}).get("name", "?")
        return f"binds {what} to {target}"
    if request.verb == "create" and request.subresource:
        return f"asks for {request.subresource} of {what}"
    if request.verb == "create":
        return f"creates {what}"
    if request.subresource == "status":
        return f"reports the status of {what}{_status_of(request.body)}"
    if request.verb in ("update", "patch"):
        return f"{'applies' if 'apply' in request.patch_type else 'changes'} {what}{_change_of(request.body)}"
    if request.verb == "delete":
        return f"deletes {what}"
    return f"deletes all {resource} that it selects"


def _name_of(body: Any) -> str:
    meta = body.get("metadata") if isinstance(body, dict) else None
    meta = meta or {}
    return str(meta.get("name") or f"{meta.get('generateName', '')}*")


def _change_of(body: Any) -> str:
    spec = body.get("spec") if isinstance(body, dict) else None
    if isinstance(spec, dict) and "replicas" in spec:
        return f" (replicas: {spec['replicas']})"
    if isinstance(spec, dict) and spec.get("taints"):
        return f" (taints: {', '.join(t['key'].rpartition('/')[2] + ':' + t['effect'] for t in spec['taints'])})"
    return ""


def _status_of(body: Any) -> str:
    status = body.get("status") if isinstance(body, dict) else None
    if not isinstance(status, dict):
        return ""
    facts = [str(status["phase"])] if "phase" in status else []
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready":
            facts.append(f"Ready={condition.get('status')}")
    for field in ("readyReplicas", "availableReplicas"):
        if field in status:
            facts.append(f"{field}={status[field]}")
    if status.get("podIP"):
        facts.append(f"IP {status['podIP']}")
    return f": {', '.join(facts)}" if facts else ""


def _transaction(txn: Txn) -> str | None:
    puts = [op for op in txn.success if isinstance(op, Put)]
    if not puts or b"/leases/" in puts[0].key or b"/events/" in puts[0].key:
        return None
    return f"stores {puts[0].key.decode(errors='replace')}"


_CRI: dict[type, Any] = {
    cri.RunPodSandbox: lambda m: "starts the pause container, which holds the pod's namespaces and IP",
    cri.PullImage: lambda m: f"pulls the image {m.image}",
    cri.CreateContainer: lambda m: f"creates container {m.config.name}, joined to the pause container",
    cri.StartContainer: lambda m: "starts the container",
    cri.StopContainer: lambda m: (
        f"stops the container (grace {m.timeout_s:g} s)" if hasattr(m, "timeout_s") else "stops the container"
    ),
    cri.StopPodSandbox: lambda m: "stops the pause container; the pod's IP is free again",
    cri.RemovePodSandbox: lambda m: "removes the sandbox",
}
