"""What every cluster has from its first second: namespaces, roles, priority classes and the like.

Owns the list of these objects. Each is created when it is missing and never overwritten, so what an
administrator changed stays changed. They are written straight to the store, many in one transaction:
they are known to be valid, and a test's cluster must start in milliseconds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver import managedfields
from actors.apiserver._aggregation import extension_authentication
from actors.apiserver._bootstrap_flow import flow_objects
from actors.apiserver._bootstrap_roles import role_objects

if TYPE_CHECKING:
    from actors.apiserver._cache import ResourceCache
    from actors.apiserver._core import Core
    from actors.apiserver._server import ApiServer

__all__ = ["bootstrap", "owned_flow_object"]

Object = dict[str, Any]
_MANAGER = "kube-apiserver"
_FLOW_MANAGER = "api-priority-and-fairness-config-producer-v1"
_FLOW_STATUS_MANAGER = "api-priority-and-fairness-config-consumer-v1"
_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_EPOCH = "1970-01-01T00:00:00Z"
_BATCH = 100
_GROUP_PRIORITIES = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500,
    "node.k8s.io": 16300, "discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
    "storagemigration.k8s.io": 16800,
}
_VERSION_PRIORITIES = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}

_prepared: dict[int, list[bytes]] = {}
"""By minor version: objects as JSON, with their managedFields. Never changes once made."""


async def bootstrap(server: ApiServer) -> None:
    """Create what is missing."""
    core = server.core
    wanted: list[tuple[ResourceCache, str, Object]] = []
    now = core.clock.rfc3339()
    for text in (*_static(core), *(orjson.dumps(_owned(core, _MANAGER, obj)) for obj in _of_this_cluster(core))):
        obj = orjson.loads(text.replace(_EPOCH.encode(), now.encode()))
        group, _, version = obj["apiVersion"].rpartition("/")
        served = core.resources.by_kind(group, version, obj["kind"])
        if served is None:
            continue
        metadata = obj["metadata"]
        key = served.key(metadata.get("namespace", ""), metadata["name"])
        if key in served.cache.all.entries:
            continue
        metadata["uid"], metadata["creationTimestamp"] = core.uid(), now
        wanted.append((served.cache, key, served.stored(obj)))
    for start in range(0, len(wanted), _BATCH):
        await core.store.create_many(wanted[start : start + _BATCH])


def _static(core: Core) -> list[bytes]:
    """The objects that are the same in every cluster, with owners, prepared once per process."""
    minor = core.config.minor
    found = _prepared.get(minor)
    if found is None:
        made = [_owned(core, _MANAGER, obj) for obj in _common(core)]
        made += [_owned(core, _FLOW_MANAGER, obj) for obj in flow_objects(_EPOCH)]
        found = _prepared[minor] = [orjson.dumps(obj) for obj in made]
    return found


def _owned(core: Core, manager: str, obj: Object) -> Object:
    group, _, version = obj["apiVersion"].rpartition("/")
    type_ = core.schema.by_gvk(group, version, obj["kind"])
    if type_ is None:
        return obj
    served = core.resources.by_kind(group, version, obj["kind"])
    resource = served.kind.resource if served is not None else ""
    managedfields.update(
        type_, None, obj, manager, api_version=obj["apiVersion"], now=_EPOCH,
        reset=managedfields.reset_filter(group, resource, ""),
    )
    if obj["kind"] == "FlowSchema":
        condition: Object = {".": {}, **{f"f:{k}": {} for k in sorted(obj["status"]["conditions"][0])}}
        fields = {"f:status": {"f:conditions": {'k:{"type":"Dangling"}': condition}}}
        obj["metadata"]["managedFields"].insert(
            0,
            {"manager": _FLOW_STATUS_MANAGER, "operation": "Apply", "apiVersion": obj["apiVersion"], "time": _EPOCH,
             "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": "status"},
        )
    return obj


def owned_flow_object(core: Core, obj: Object) -> Object:
    """A default flow schema or priority level with its managedFields."""
    return _owned(core, _FLOW_MANAGER, obj)


def _common(core: Core) -> Iterator[Object]:
    for name in _NAMESPACES:
        yield {
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }
    yield from role_objects(core.config.minor)
    for name, value, text in (
        ("system-node-critical", 2000001000,
         "Used for system critical pods that must not be moved from their current node."),
        ("system-cluster-critical", 2000000000,
         "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ):
        yield {
            "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name, "generation": 1},
            "value": value, "description": text, "preemptionPolicy": "PreemptLowerPriority",
        }
    seen: dict[tuple[str, str], None] = {}
    for served in core.resources:
        if served.custom is None and served.kind.group != "apiregistration.k8s.io":
            seen[served.kind.group, served.kind.version] = None
    seen["apiregistration.k8s.io", "v1"] = None
    for group, version in seen:
        yield api_service(group, version)


def api_service(group: str, version: str, automanaged: str = "onstart") -> Object:
    """The APIService of a group version that is served here."""
    spec: Object = {}
    if group:
        spec["group"] = group
    spec["version"] = version
    spec["groupPriorityMinimum"] = _GROUP_PRIORITIES.get(group, 1000)
    spec["versionPriority"] = _VERSION_PRIORITIES.get((group, version), 15)
    condition = {
        "type": "Available", "status": "True", "lastTransitionTime": _EPOCH, "reason": "Local",
        "message": "Local APIServices are always available",
    }
    return {
        "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {
            "name": f"{version}.{group}", "labels": {"kube-aggregator.kubernetes.io/automanaged": automanaged}
        },
        "spec": spec, "status": {"conditions": [condition]},
    }


def _of_this_cluster(core: Core) -> Iterator[Object]:
    """The objects that say where this cluster's API server is."""
    config = core.config
    cidrs = list(config.service_cidrs)
    address = str(ipaddress.ip_network(cidrs[0]).network_address + 1)
    family = "IPv6" if ":" in address else "IPv4"
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "protocol": "TCP", "port": 443, "targetPort": config.advertise_port}
    yield {
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "ports": [port], "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP",
            "sessionAffinity": "None", "ipFamilies": [family], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }
    mirror = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ready = {"name": "https", "port": config.advertise_port, "protocol": "TCP"}
    yield {
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": mirror},
        "subsets": [{"addresses": [{"ip": config.advertise_address}], "ports": [ready]}],
    }
    yield {
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}
        },
        "addressType": "IPv6" if ":" in config.advertise_address else "IPv4",
        "endpoints": [{"addresses": [config.advertise_address], "conditions": {"ready": True}}],
        "ports": [ready],
    }
    yield {
        "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": cidrs},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": _EPOCH, "reason": "",
             "message": "Kubernetes Service CIDR is ready"}
        ]},
    }
    if config.client_ca:
        yield {
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": extension_authentication(config.client_ca, bool(config.proxy_client)),
        }
