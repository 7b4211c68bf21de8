"""Whether a pod belongs on its node at all: what a kubelet checks again of what the scheduler decided.

Owns the rules and words of upstream's `pkg/kubelet/lifecycle/predicate.go`, the sysctl allowlist
and the eviction manager's door. Pure questions about one pod and one Node; how much is left of the
node's resources is in `_admission`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from actors.kubelet._spec import BEST_EFFORT, is_critical, qos_class

__all__ = ["SAFE_SYSCTLS", "forbidden_sysctl", "foreign_os", "host_port_keys", "kept_out", "mismatch", "selects"]

Object = dict[str, Any]
Refusal = tuple[str, str]
"""(reason, message), without `Pod was rejected: `."""
SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
"""https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/"""
_NOT_AFFINE = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
_PORTS_TAKEN = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
_TAINTED = "Predicate TaintToleration failed: node(s) had untolerated taint(s)"
PortKey = tuple[str, int, str]


def host_port_keys(pod: Object) -> tuple[PortKey, ...]:
    """(protocol, host port, host IP) of the node's ports that the pod takes."""
    spec = pod["spec"]
    shared = bool(spec.get("hostNetwork"))
    return tuple(
        (p.get("protocol") or "TCP", number, p.get("hostIP") or "0.0.0.0")
        for group in ("initContainers", "containers")
        for container in spec.get(group) or ()
        for p in container.get("ports") or ()
        if (number := p.get("hostPort") or (p.get("containerPort") if shared else 0))
    )


def _clash(one: PortKey, other: PortKey) -> bool:
    return one[:2] == other[:2] and (one[2] == other[2] or "0.0.0.0" in (one[2], other[2]))


def mismatch(pod: Object, node: Object, taken: Iterable[PortKey], static: bool = False) -> Refusal | None:
    """Why the pod does not belong on this Node, `taken` being the ports that other pods have there."""
    if not selects(pod, node):
        return "NodeAffinity", _NOT_AFFINE
    wanted = host_port_keys(pod)
    if wanted and any(_clash(one, other) for other in taken for one in wanted):
        return "NodePorts", _PORTS_TAKEN
    if not static:
        for taint in (node.get("spec") or {}).get("taints") or ():
            if taint.get("effect") == "NoExecute" and not _tolerated(taint, pod):
                return "TaintToleration", _TAINTED
    return None


def selects(pod: Object, node: Object) -> bool:
    """Whether nodeSelector and required node affinity name this node, by what is known of it."""
    meta = node.get("metadata") or {}
    labels = meta.get("labels") or {}
    if not labels:
        return True
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(k) != v for k, v in selector.items()):
        return False
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    fields = {"metadata.name": meta.get("name", "")}
    return any(_term(term, labels, fields) for term in affinity.get("nodeSelectorTerms") or ())


def _term(term: Object, labels: dict[str, str], fields: dict[str, str]) -> bool:
    wanted = [(labels, e) for e in term.get("matchExpressions") or ()]
    wanted += [(fields, e) for e in term.get("matchFields") or ()]
    return bool(wanted) and all(_expression(known, one) for known, one in wanted)


def _expression(known: dict[str, str], wanted: Object) -> bool:
    operator, have = wanted.get("operator"), known.get(wanted["key"])
    values: list[str] = wanted.get("values") or []
    if operator in ("Exists", "DoesNotExist"):
        return (have is not None) == (operator == "Exists")
    if operator == "NotIn":
        return have is None or have not in values
    if have is None:
        return False
    if operator == "In":
        return have in values
    try:
        number, than = int(have), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > than if operator == "Gt" else number < than


def _tolerated(taint: Object, pod: Object) -> bool:
    return any(
        (not t.get("effect") or t["effect"] == taint.get("effect"))
        and (not t.get("key") or t["key"] == taint.get("key"))
        and (t.get("operator") == "Exists" or (t.get("value") or "") == (taint.get("value") or ""))
        for t in pod["spec"].get("tolerations") or ()
    )


def foreign_os(pod: Object, node: Object) -> Refusal | None:
    """A pod that names another operating system."""
    named = (pod["spec"].get("os") or {}).get("name")
    if named and named != "linux":
        return "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
    wanted = (pod["spec"].get("nodeSelector") or {}).get("kubernetes.io/os")
    if wanted and wanted != "linux":
        text = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return "PodOSSelectorNodeLabelDoesNotMatch", text
    return None


def forbidden_sysctl(pod: Object, unsafe: Iterable[str] = ()) -> Refusal | None:
    """A sysctl that is neither safe nor one of the patterns that the node allows."""
    spec = pod["spec"]
    allowed = (*SAFE_SYSCTLS, *unsafe)
    for one in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = str(one["name"]).replace("/", ".")
        if spec.get("hostNetwork") and name.startswith("net."):
            return "SysctlForbidden", f'forbidden sysctl: "{one["name"]}" not allowed with host net enabled'
        if spec.get("hostIPC") and name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            return "SysctlForbidden", f'forbidden sysctl: "{one["name"]}" not allowed with host ipc enabled'
        if not any(fnmatchcase(name, pattern) for pattern in allowed):
            return "SysctlForbidden", f'forbidden sysctl: "{one["name"]}" not allowlisted'
    return None


def kept_out(pod: Object, pressures: Iterable[str]) -> Refusal | None:
    """What a node under pressure does not take."""
    under = sorted(pressures)
    if not under or is_critical(pod):
        return None
    if under == ["MemoryPressure"]:
        taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
        if qos_class(pod) != BEST_EFFORT or _tolerated(taint, pod):
            return None
    return "Evicted", f"The node had condition: [{' '.join(under)}]. "
