"""Fields of a pod's spec that a minor version knows and has switched off: they are dropped, unless
the object used them before (`pkg/api/pod/util.go`).

Owns from which minor version on such a field works by default (`pkg/features/kube_features.go`).
Fields that a version's schema lacks never get here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["drop_disabled"]

Object = dict[str, Any]

NEVER = 99
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_OF_SPEC = {
    "hostnameOverride": 35,  # HostnameOverride
    "resourceClaims": 34,  # DynamicResourceAllocation
    "resources": 34,  # PodLevelResources
    "schedulingGroup": NEVER,  # GenericWorkload
    "workloadRef": NEVER,  # GenericWorkload
}
_OF_CONTAINER = {
    ("lifecycle", "stopSignal"): NEVER,  # ContainerStopSignals
    ("resizePolicy",): 33,  # InPlacePodVerticalScaling
    ("resources", "claims"): 34,  # DynamicResourceAllocation
    ("restartPolicyRules",): 35,  # ContainerRestartRules
}
_OF_SECURITY = {"supplementalGroupsPolicy": 33}  # SupplementalGroupsPolicy
_OF_VOLUME = {"image": 35}  # ImageVolume
_OF_PROJECTION = {
    "clusterTrustBundle": 37,  # ClusterTrustBundleProjection
    "podCertificate": 37,  # PodCertificateRequest
}


@cache
def _off(minor: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...], tuple[str, ...]]:
    """What is off in a minor version: of specs, containers, security contexts and volumes."""
    return (
        tuple(name for name, since in _OF_SPEC.items() if minor < since),
        tuple(path for path, since in _OF_CONTAINER.items() if minor < since),
        tuple(name for name, since in _OF_SECURITY.items() if minor < since),
        tuple(name for name, since in _OF_VOLUME.items() if minor < since),
    )


def drop_disabled(spec: Object, old: Object | None, minor: int) -> None:
    """Drop from a pod's spec, in place, what is off in this minor version and not in `old`."""
    was = old or {}
    of_spec, of_container, of_security, of_volume = _off(minor)
    for name in of_spec:
        if name in spec and name not in was:
            del spec[name]
    for path in of_container:
        using = [container for container in _containers(spec) if _has(container, path)]
        if using and not any(_has(container, path) for container in _containers(was)):
            for container in using:
                _drop(container, path)
    for name in of_security:
        if name not in (was.get("securityContext") or {}):
            (spec.get("securityContext") or {}).pop(name, None)
    for name in of_volume:
        if not any(name in volume for volume in was.get("volumes") or ()):
            for volume in spec.get("volumes") or ():
                volume.pop(name, None)
    for name, since in _OF_PROJECTION.items():
        if minor < since and not any(name in source for source in _projections(was)):
            for source in _projections(spec):
                source.pop(name, None)


def _projections(spec: Object) -> list[Object]:
    volumes = spec.get("volumes") or ()
    return [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or ()]


def _containers(spec: Object) -> list[Object]:
    return [container for key in _CONTAINERS for container in spec.get(key) or ()]


def _has(node: Object, path: tuple[str, ...]) -> bool:
    inner = node if len(path) == 1 else node.get(path[0]) or {}
    return path[-1] in inner


def _drop(container: Object, path: tuple[str, ...]) -> None:
    if len(path) == 1:
        del container[path[0]]
        return
    inner = container[path[0]]
    del inner[path[1]]
    if not inner and path[0] == "lifecycle":
        del container["lifecycle"]
