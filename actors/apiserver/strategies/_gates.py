"""Fields outside pods' specs that a minor version knows and has switched off: they are dropped, unless
the object used them before.

Owns from which minor version on such a field works by default (`pkg/features/kube_features.go`, and the
`dropDisabledFields` of each kind's storage). Fields that a version's schema lacks never get here; pods'
are `pod_features`' affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["drop_switched_off"]

Object = dict[str, Any]
Path = tuple[str, ...]
NEVER = 99
_CLAIM = ("devices", "requests", "*", "exactly", "adminAccess")
_CHOICES = ("devices", "requests", "*", "firstAvailable")

_SINCE: dict[tuple[str, str], dict[Path, int]] = {
    ("", "nodes"): {("status", "declaredFeatures"): 36},  # NodeDeclaredFeatures
    ("", "persistentvolumeclaims"): {
        ("spec", "volumeAttributesClassName"): 34,  # VolumeAttributesClass
        ("status", "currentVolumeAttributesClassName"): 34,
        ("status", "modifyVolumeStatus"): 34,
    },
    ("", "persistentvolumes"): {("spec", "volumeAttributesClassName"): 34},  # VolumeAttributesClass
    ("apps", "deployments"): {("status", "terminatingReplicas"): 35},  # DeploymentReplicaSetTerminatingReplicas
    ("apps", "replicasets"): {("status", "terminatingReplicas"): 35},
    ("autoscaling", "horizontalpodautoscalers"): {
        ("spec", "behavior", "scaleUp", "tolerance"): 35,  # HPAConfigurableTolerance
        ("spec", "behavior", "scaleDown", "tolerance"): 35,
    },
    ("batch", "jobs"): {("spec", "managedBy"): 32},  # JobManagedBy
    ("coordination.k8s.io", "leases"): {
        ("spec", "preferredHolder"): NEVER,  # CoordinatedLeaderElection
        ("spec", "strategy"): NEVER,
    },
    ("discovery.k8s.io", "endpointslices"): {
        ("endpoints", "*", "hints", "forNodes"): 34,  # PreferSameTrafficDistribution
    },
    ("resource.k8s.io", "resourceclaims"): {
        ("spec", *_CLAIM): 34,  # DRAAdminAccess
        ("spec", *_CHOICES): 34,  # DRAPrioritizedList
    },
    ("resource.k8s.io", "resourceclaimtemplates"): {("spec", "spec", *_CLAIM): 34, ("spec", "spec", *_CHOICES): 34},
    ("storage.k8s.io", "csidrivers"): {
        ("spec", "nodeAllocatableUpdatePeriodSeconds"): 35,  # MutableCSINodeAllocatableCount
        ("spec", "serviceAccountTokenInSecrets"): 35,  # CSIServiceAccountTokenSecrets
    },
    ("storage.k8s.io", "volumeattachments"): {("status", "attachError", "errorCode"): 35},
}


@cache
def _off(group: str, resource: str, minor: int) -> tuple[Path, ...]:
    return tuple(path for path, since in _SINCE.get((group, resource), {}).items() if minor < since)


def drop_switched_off(group: str, resource: str, obj: Object, old: Object | None, minor: int) -> None:
    """Drop from an object, in place, what is off in this minor version and not in `old`. Both are in the
    version in which the resource is stored."""
    for path in _off(group, resource, minor):
        using = [owner for owner in _owners(obj, path[:-1]) if owner.get(path[-1]) is not None]
        if using and not (old and any(owner.get(path[-1]) is not None for owner in _owners(old, path[:-1]))):
            for owner in using:
                del owner[path[-1]]


def _owners(node: Any, path: Path) -> Iterator[Object]:
    """What a path leads to; `*` stands for every item of a list."""
    if not path:
        if isinstance(node, dict):
            yield node
    elif path[0] == "*":
        for item in node if isinstance(node, list) else ():
            yield from _owners(item, path[1:])
    elif isinstance(node, dict):
        yield from _owners(node.get(path[0]), path[1:])
