"""How each built-in kind behaves: defaults, validation, immutability, columns, warnings.

`strategy_for(kind)` gives the strategy of a kind; modules are imported when first asked for, so a
start pays for nothing. One module per kind or family; `_base` says what a strategy is.
"""

from __future__ import annotations

from importlib import import_module

from actors.apiserver.strategies._base import Column, Context, FieldError, Strategy
from actors.apiserver.strategies._context import AllocationError, Allocators, NoAllocators
from protocol.kinds import Kind

__all__ = [
    "AllocationError",
    "Allocators",
    "Column",
    "Context",
    "FieldError",
    "NoAllocators",
    "Strategy",
    "strategy_for",
]

_PLACES: dict[tuple[str, str], tuple[str, str]] = {
    ("", "ConfigMap"): ("config", "ConfigMapStrategy"),
    ("", "Endpoints"): ("endpoints", "EndpointsStrategy"),
    ("", "Event"): ("events", "EventStrategy"),
    ("", "LimitRange"): ("quotas", "LimitRangeStrategy"),
    ("", "Namespace"): ("namespaces", "NamespaceStrategy"),
    ("", "Node"): ("nodes", "NodeStrategy"),
    ("", "PersistentVolumeClaim"): ("claims", "ClaimStrategy"),
    ("", "Pod"): ("pods", "PodStrategy"),
    ("", "PodTemplate"): ("replicasets", "PodTemplateStrategy"),
    ("", "ReplicationController"): ("replicasets", "ReplicationControllerStrategy"),
    ("", "ResourceQuota"): ("quotas", "QuotaStrategy"),
    ("", "Secret"): ("config", "SecretStrategy"),
    ("", "ServiceAccount"): ("service_accounts", "ServiceAccountStrategy"),
    ("apps", "ControllerRevision"): ("statefulsets", "ControllerRevisionStrategy"),
    ("apps", "DaemonSet"): ("daemonsets", "DaemonSetStrategy"),
    ("apps", "Deployment"): ("deployments", "DeploymentStrategy"),
    ("apps", "ReplicaSet"): ("replicasets", "ReplicaSetStrategy"),
    ("apps", "StatefulSet"): ("statefulsets", "StatefulSetStrategy"),
    ("batch", "CronJob"): ("cronjobs", "CronJobStrategy"),
    ("batch", "Job"): ("jobs", "JobStrategy"),
    ("discovery.k8s.io", "EndpointSlice"): ("endpoints", "EndpointSliceStrategy"),
    ("events.k8s.io", "Event"): ("events", "EventStrategy"),
}
"""Group and kind to module and class. Kinds without an entry behave generically."""

_made: dict[tuple[str, str, str], Strategy] = {}


def strategy_for(kind: Kind) -> Strategy:
    """The strategy of a kind in one of its versions; always the same object."""
    key = (kind.group, kind.version, kind.kind)
    found = _made.get(key)
    if found is None:
        place = _PLACES.get((kind.group, kind.kind))
        if place is None:
            found = Strategy(kind)
        else:
            module = import_module(f"actors.apiserver.strategies.{place[0]}")
            found = getattr(module, place[1])(kind)
        _made[key] = found
    return found
