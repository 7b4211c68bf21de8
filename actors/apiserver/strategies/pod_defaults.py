"""Defaults of pods and pod templates.

Owns `pkg/apis/core/v1/defaults.go` for everything below a PodSpec. Changes objects in place and
never fails: wrong values are left for validation.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._resources import is_huge_page, is_native, sum_requests
from actors.apiserver.strategies.pod_features import drop_disabled
from protocol.quantity import canonical, format_quantity, parse_quantity, quantity_format

__all__ = ["default_claim_spec", "default_pod", "default_template", "prepare_pod_spec"]

Object = dict[str, Any]

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS = (
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
)
_VOLUME_MODE = 0o644


def default_pod(pod: Object) -> None:
    """Defaults of a Pod; those of its spec come last, as in Go."""
    spec = pod.get("spec")
    if spec is None:
        spec = pod["spec"] = {}
    for container in spec.get("containers") or ():
        _requests_from_limits(container)
    for container in spec.get("initContainers") or ():
        _requests_from_limits(container)
    if "resources" in spec:
        _default_pod_level_resources(spec)
    spec.setdefault("enableServiceLinks", True)
    default_spec(spec)


def default_template(template: Object) -> None:
    """Defaults of a PodTemplateSpec: only those of its spec."""
    spec = template.get("spec")
    if spec is None:
        spec = template["spec"] = {}
    default_spec(spec)


def mirror_service_account(spec: Object) -> None:
    """Keep the deprecated `serviceAccount` equal to `serviceAccountName`."""
    name = spec.get("serviceAccountName")
    if name:
        spec["serviceAccount"] = name
    else:
        spec.pop("serviceAccount", None)


def prepare_pod_spec(spec: Object, old: Object | None, minor: int) -> None:
    """What every write of a pod or of a template does first. `old` is the spec it replaces."""
    mirror_service_account(spec)
    drop_disabled(spec, old, minor)


def default_spec(spec: Object) -> None:
    """Defaults of a PodSpec and all below it."""
    if "serviceAccount" in spec and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    mirror_service_account(spec)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("hostNetwork"):
        _host_network_ports(spec)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    for container in spec.get("initContainers") or ():
        _default_container(container)
    for container in spec.get("containers") or ():
        _default_container(container)
    for container in spec.get("ephemeralContainers") or ():
        _default_container(container)
    if "overhead" in spec:
        _round_up(spec["overhead"])
    if "resources" in spec:
        for kind in ("limits", "requests"):
            if kind in spec["resources"]:
                _round_up(spec["resources"][kind])


def _host_network_ports(spec: Object) -> None:
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            for port in container.get("ports") or ():
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def _requests_from_limits(container: Object) -> None:
    resources = container.get("resources")
    limits = resources.get("limits") if resources else None
    if not resources or not limits:
        return
    requests = resources.get("requests")
    if requests is None:
        resources["requests"] = dict(limits)
        return
    for name, amount in limits.items():
        requests.setdefault(name, amount)


def _default_pod_level_resources(spec: Object) -> None:
    resources = spec["resources"]
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not limits and not requests:
        return
    for name, number in sum_requests(spec, "limits").items():
        if is_huge_page(name) and name not in requests and name not in limits:
            limits[name] = format_quantity(number, "BinarySI")
            resources["limits"] = limits
    if not limits:
        return
    styles = _styles(spec, "requests")
    for name, number in sum_requests(spec, "requests").items():
        if name in ("cpu", "memory") and name not in requests and is_native(name):
            requests[name] = format_quantity(number, styles.get(name, "DecimalSI"))
    for name, amount in limits.items():
        if name in ("cpu", "memory") or is_huge_page(name):
            requests.setdefault(name, amount)
    if requests:
        resources["requests"] = requests


def _styles(spec: Object, kind: str) -> dict[str, str]:
    """The format that the first mention of each resource has; sums keep it."""
    styles: dict[str, str] = {}
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            for name, amount in ((container.get("resources") or {}).get(kind) or {}).items():
                styles.setdefault(name, quantity_format(amount))
    return styles


def _round_up(amounts: dict[str, str]) -> None:
    """No resource is counted finer than in thousandths."""
    for name, amount in amounts.items():
        if amount[-1:] in ("n", "u"):
            number = parse_quantity(amount) * 1000
            amounts[name] = canonical(f"{-int(-number // 1)}m" if number % 1 else f"{int(number)}m")


def _pull_policy(image: str) -> str:
    """Always for an image without a version."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image") or "")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "resources" not in container:
        container["resources"] = {}
    else:
        for amounts in container["resources"].values():
            if isinstance(amounts, dict):
                _round_up(amounts)
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for env in container.get("env") or ():
        if "valueFrom" in env:
            _default_env_source(env["valueFrom"])
    for name in _PROBES:
        if name in container:
            _default_probe(container[name])
    if "lifecycle" in container:
        for handler in container["lifecycle"].values():
            if isinstance(handler, dict) and "httpGet" in handler:
                _default_http_get(handler["httpGet"])


def _default_env_source(source: Object) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")
    if "fileKeyRef" in source:
        source["fileKeyRef"].setdefault("optional", False)


def _default_probe(probe: Object) -> None:
    for key, value in _PROBE_DEFAULTS:
        if not probe.get(key):
            probe[key] = value
    if "httpGet" in probe:
        _default_http_get(probe["httpGet"])
    if "grpc" in probe:
        if probe["grpc"].get("service") is None:
            probe["grpc"]["service"] = ""


def _default_http_get(action: Object) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


_AZURE_DISK = (
    ("cachingMode", "ReadWrite"),
    ("fsType", "ext4"),
    ("readOnly", False),
    ("kind", "Shared"),
)
_VOLUME_DEFAULTS: dict[str, tuple[tuple[str, Any], ...]] = {
    "hostPath": (("type", ""),),
    "secret": (("defaultMode", _VOLUME_MODE),),
    "configMap": (("defaultMode", _VOLUME_MODE),),
    "downwardAPI": (("defaultMode", _VOLUME_MODE),),
    "projected": (("defaultMode", _VOLUME_MODE),),
    "iscsi": (("iscsiInterface", "default"),),
    "rbd": (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")),
    "azureDisk": _AZURE_DISK,
    "scaleIO": (("storageMode", "ThinProvisioned"), ("fsType", "xfs")),
}


def default_volume_source(source: Object) -> None:
    """Defaults of the sources that pods and persistent volumes share."""
    for name, given in source.items():
        defaults = _VOLUME_DEFAULTS.get(name)
        if defaults is not None and isinstance(given, dict):
            for key, value in defaults:
                given.setdefault(key, value)


def _default_volume(volume: Object) -> None:
    if not any(key != "name" for key in volume):
        volume["emptyDir"] = {}
        return
    default_volume_source(volume)
    if "downwardAPI" in volume:
        _default_files(volume["downwardAPI"])
    elif "projected" in volume:
        for source in volume["projected"].get("sources") or ():
            if "downwardAPI" in source:
                _default_files(source["downwardAPI"])
            if "serviceAccountToken" in source:
                source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    elif "ephemeral" in volume:
        template = volume["ephemeral"].get("volumeClaimTemplate")
        if template is not None:
            default_claim_spec(template.setdefault("spec", {}))
    elif "image" in volume and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = _pull_policy(volume["image"].get("reference") or "")


def _default_files(source: Object) -> None:
    for item in source.get("items") or ():
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")
        if "resourceFieldRef" in item:
            item["resourceFieldRef"].setdefault("divisor", "0")


def default_claim_spec(spec: Object) -> None:
    """Defaults of a PersistentVolumeClaimSpec."""
    spec.setdefault("volumeMode", "Filesystem")
    resources = spec.setdefault("resources", {})
    for amounts in resources.values():
        if isinstance(amounts, dict):
            _round_up(amounts)
