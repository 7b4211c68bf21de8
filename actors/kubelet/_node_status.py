"""The Node object and the Lease as a kubelet writes them. Pure: values in, objects out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._status import rfc3339
from protocol.cri import Image, VersionResponse
from protocol.quantity import format_quantity, parse_quantity, quantity_format

__all__ = ["allocatable", "lease_object", "node_conditions", "node_object", "node_status", "parse_capacity"]

Object = dict[str, Any]
MAX_IMAGES = 50
PRESSURES = (
    (
        "MemoryPressure",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
        "KubeletHasInsufficientMemory",
        "kubelet has insufficient memory available",
    ),
    (
        "DiskPressure",
        "KubeletHasNoDiskPressure",
        "kubelet has no disk pressure",
        "KubeletHasDiskPressure",
        "kubelet has disk pressure",
    ),
    (
        "PIDPressure",
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
        "KubeletHasInsufficientPID",
        "kubelet has insufficient PID available",
    ),
)


def parse_capacity(text: str) -> dict[str, str]:
    """`cpu=2,memory=4Gi,pods=5` as a dict; raises ValueError or QuantityError (one of it)."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, amount = part.strip().partition("=")
        if not equals or not name:
            raise ValueError(f"not a capacity: {part!r} (want cpu=2,memory=4Gi,pods=5)")
        parse_quantity(amount)
        found[name] = amount
    return found


def allocatable(config: KubeletConfig) -> dict[str, str]:
    """Capacity less what is reserved."""
    found = dict(config.capacity)
    for name, amount in config.reserved.items():
        if name in found:
            left = max(parse_quantity(found[name]) - parse_quantity(amount), parse_quantity("0"))
            found[name] = format_quantity(left, quantity_format(found[name]))
    return found


def node_conditions(pressures: frozenset[str], old: Sequence[Object], now: float) -> list[Object]:
    """The four conditions; transition times are kept where the status is the same."""
    known = {c["type"]: c for c in old}
    wanted = []
    for kind, good, good_text, bad, bad_text in PRESSURES:
        under = kind in pressures
        wanted.append((kind, "True" if under else "False", bad if under else good, bad_text if under else good_text))
    wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    stamp = rfc3339(now)
    found = []
    for kind, value, reason, message in wanted:
        before = known.get(kind)
        same = before is not None and before.get("status") == value
        found.append(
            {
                "type": kind,
                "status": value,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": before["lastTransitionTime"] if before is not None and same else stamp,
                "reason": reason,
                "message": message,
            }
        )
    return found


def _identity(config: KubeletConfig, name: str, what: str) -> str:
    if config.machine_id:
        return config.machine_id
    digest = hashlib.sha256(f"{what} of {name}".encode()).hexdigest()
    if what == "machine":
        return digest[:32]
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def node_status(
    name: str,
    config: KubeletConfig,
    version: VersionResponse,
    images: Sequence[Image],
    pressures: frozenset[str],
    old: Object,
    now: float,
) -> Object:
    """The whole status."""
    prefix = version.runtime_name
    status: Object = {
        "addresses": [
            *({"type": "InternalIP", "address": ip} for ip in config.node_ips),
            {"type": "Hostname", "address": name},
        ],
        "allocatable": allocatable(config),
        "capacity": dict(config.capacity),
        "conditions": node_conditions(pressures, old.get("conditions") or (), now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": {
            "architecture": config.architecture,
            "bootID": _identity(config, name, "boot"),
            "containerRuntimeVersion": f"{prefix}://{version.runtime_version}",
            "kernelVersion": config.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": config.kubelet_version,
            "machineID": _identity(config, name, "machine"),
            "operatingSystem": "linux",
            "osImage": config.os_image,
            "systemUUID": _identity(config, name, "system"),
        },
    }
    if version.features is not None:
        able = {
            "recursiveReadOnlyMounts": "recursive-read-only-mounts" in version.features,
            "userNamespaces": "user-namespaces" in version.features,
        }
        status["runtimeHandlers"] = [{"name": "", "features": able}]
        status["features"] = {"supplementalGroupsPolicy": "supplemental-groups-policy" in version.features}
    shown = sorted(images, key=lambda i: -i.size_bytes)[:MAX_IMAGES]
    if shown:
        status["images"] = [{"names": [*i.repo_digests, *i.repo_tags], "sizeBytes": i.size_bytes} for i in shown]
    return status


def node_object(name: str, config: KubeletConfig, status: Object) -> Object:
    """The Node that a kubelet registers."""
    labels = {
        "beta.kubernetes.io/arch": config.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": config.architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **config.labels,
    }
    annotations: Mapping[str, str] = {
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        **config.annotations,
    }
    spec: Object = {}
    if config.pod_cidr:
        spec["podCIDR"] = config.pod_cidr
        spec["podCIDRs"] = [config.pod_cidr]
    if config.taints:
        spec["taints"] = [dict(t) for t in config.taints]
    if config.provider_id:
        spec["providerID"] = config.provider_id
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": dict(annotations)},
        "spec": spec,
        "status": status,
    }


def lease_object(name: str, node_uid: str, config: KubeletConfig, renew_time: str) -> Object:
    """The heartbeat in kube-node-lease."""
    meta: Object = {"name": name, "namespace": "kube-node-lease"}
    if node_uid:
        meta["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}]
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
        "spec": {"holderIdentity": name, "leaseDurationSeconds": config.lease_duration_s, "renewTime": renew_time},
    }
