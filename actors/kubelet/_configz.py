"""KubeletConfiguration: what `/configz` shows, and what a file given by `--config` sets.

Owns the fields of `kubelet.config.k8s.io/v1beta1` and their defaults. A field that is not known is refused, as
upstream's strict decoding does, and so is a setting whose behaviour is not modelled but would be relied on;
others are taken and shown, without effect.

https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._duration import duration_s, duration_text
from protocol.quantity import QuantityError, format_quantity, parse_quantity, quantity_format, value

__all__ = ["ConfigurationError", "configuration", "read_configuration"]

Object = dict[str, Any]
API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
DEFAULTS: Mapping[str, Any] = {
    "enableServer": True, "podLogsDir": "/var/log/pods", "syncFrequency": "1m0s", "fileCheckFrequency": "20s",
    "httpCheckFrequency": "20s", "address": "0.0.0.0", "port": 10250, "rotateCertificates": False,
    "authentication": {
        "x509": {}, "webhook": {"enabled": True, "cacheTTL": "2m0s"}, "anonymous": {"enabled": False},
    },
    "authorization": {
        "mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
    },
    "registryPullQPS": 5, "registryBurst": 10, "imagePullCredentialsVerificationPolicy": "NeverVerifyPreloadedImages",
    "eventRecordQPS": 50, "eventBurst": 100, "enableDebuggingHandlers": True, "healthzPort": 10248,
    "healthzBindAddress": "127.0.0.1", "oomScoreAdj": -999, "clusterDomain": "cluster.local",
    "streamingConnectionIdleTimeout": "4h0m0s", "nodeStatusUpdateFrequency": "10s", "nodeStatusReportFrequency": "5m0s",
    "nodeLeaseDurationSeconds": 40, "imageMinimumGCAge": "2m0s", "imageMaximumGCAge": "0s",
    "imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80, "volumeStatsAggPeriod": "1m0s",
    "cgroupsPerQOS": True, "cgroupDriver": "cgroupfs", "cpuManagerPolicy": "none", "cpuManagerReconcilePeriod": "10s",
    "memoryManagerPolicy": "None", "topologyManagerPolicy": "none", "topologyManagerScope": "container",
    "runtimeRequestTimeout": "2m0s", "hairpinMode": "promiscuous-bridge", "maxPods": 110, "podPidsLimit": -1,
    "resolvConf": "/etc/resolv.conf", "cpuCFSQuota": True, "cpuCFSQuotaPeriod": "100ms", "nodeStatusMaxImages": 50,
    "maxOpenFiles": 1_000_000, "contentType": "application/vnd.kubernetes.protobuf", "kubeAPIQPS": 50,
    "kubeAPIBurst": 100, "serializeImagePulls": True,
    "evictionHard": {
        "imagefs.available": "15%", "imagefs.inodesFree": "5%", "memory.available": "100Mi", "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
    },
    "evictionPressureTransitionPeriod": "5m0s", "mergeDefaultEvictionSettings": False,
    "enableControllerAttachDetach": True, "makeIPTablesUtilChains": True, "iptablesMasqueradeBit": 14,
    "iptablesDropBit": 15, "failSwapOn": True, "memorySwap": {}, "containerLogMaxSize": "10Mi",
    "containerLogMaxFiles": 5, "containerLogMaxWorkers": 1, "containerLogMonitorInterval": "10s",
    "configMapAndSecretChangeDetectionStrategy": "Watch", "enforceNodeAllocatable": ["pods"],
    "volumePluginDir": "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
    "logging": {"format": "text", "flushFrequency": "5s", "verbosity": 0, "options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}}},
    "enableSystemLogHandler": True, "enableSystemLogQuery": False, "shutdownGracePeriod": "0s",
    "shutdownGracePeriodCriticalPods": "0s", "crashLoopBackOff": {"maxContainerRestartPeriod": "5m0s"},
    "enableProfilingHandler": True, "enableDebugFlagsHandler": True, "seccompDefault": False,
    "memoryThrottlingFactor": 0.9, "registerNode": True, "localStorageCapacityIsolation": True,
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "failCgroupV1": True,
}  # fmt: skip
OTHERS = (
    "staticPodPath", "staticPodURL", "staticPodURLHeader", "readOnlyPort", "tlsCertFile", "tlsPrivateKeyFile",
    "tlsCipherSuites", "tlsCurvePreferences", "tlsMinVersion", "serverTLSBootstrap", "preloadedImagesVerificationAllowlist",
    "enableContentionProfiling", "clusterDNS", "kubeletCgroups", "systemCgroups", "cgroupRoot", "singleProcessOOMKill",
    "cpuManagerPolicyOptions", "topologyManagerPolicyOptions", "qosReserved", "podCIDR", "runOnce", "maxParallelImagePulls",
    "evictionSoft", "evictionSoftGracePeriod", "evictionMaxPodGracePeriod", "evictionMinimumReclaim", "podsPerCore",
    "protectKernelDefaults", "featureGates", "systemReserved", "kubeReserved", "reservedSystemCPUs",
    "showHiddenMetricsForVersion", "systemReservedCgroup", "kubeReservedCgroup", "allowedUnsafeSysctls",
    "defaultPodSysctls", "providerID", "kernelMemcgNotification", "shutdownGracePeriodByPodPriority", "reservedMemory",
    "memoryReservationPolicy", "registerWithTaints", "tracing", "imageServiceEndpoint", "userNamespaces",
)  # fmt: skip
KNOWN = frozenset((*DEFAULTS, *OTHERS, "apiVersion", "kind"))
_POLICIES = ("none", "best-effort", "restricted", "single-numa-node")


class ConfigurationError(ValueError):
    """The file is no KubeletConfiguration, or asks for what there is not."""


def configuration(config: KubeletConfig) -> Object:
    """The configuration as it is in force."""
    shown: Object = {
        **DEFAULTS,
        "port": config.port,
        "clusterDNS": list(config.cluster_dns),
        "clusterDomain": config.cluster_domain,
        "maxPods": int(parse_quantity(str(config.capacity.get("pods", "110")))),
        "eventRecordQPS": int(config.event_qps),
        "eventBurst": config.event_burst,
        "nodeStatusReportFrequency": duration_text(config.status_report_s),
        "nodeStatusUpdateFrequency": duration_text(config.lease_renew_s),
        "nodeLeaseDurationSeconds": config.lease_duration_s,
        "evictionHard": dict(config.eviction_hard),
        "evictionPressureTransitionPeriod": duration_text(config.pressure_transition_s),
        "imageMinimumGCAge": duration_text(config.image_minimum_gc_age_s),
        "imageMaximumGCAge": duration_text(config.image_maximum_gc_age_s),
        "imageGCHighThresholdPercent": config.image_gc_high_percent,
        "imageGCLowThresholdPercent": config.image_gc_low_percent,
        "containerLogMaxSize": format_quantity(Decimal(config.container_log_max_bytes), quantity_format("1Mi")),
        "containerLogMaxFiles": config.container_log_max_files,
        "cpuManagerPolicy": config.cpu_manager_policy,
        "crashLoopBackOff": {"maxContainerRestartPeriod": duration_text(config.crash_loop_max_s)},
        "registerNode": config.register,
    }
    if config.eviction_soft:
        shown["evictionSoft"] = dict(config.eviction_soft)
        shown["evictionSoftGracePeriod"] = {k: duration_text(v) for k, v in config.eviction_soft_grace_s.items()}
    if config.static_pod_path:
        shown["staticPodPath"] = config.static_pod_path
    if config.allowed_unsafe_sysctls:
        shown["allowedUnsafeSysctls"] = list(config.allowed_unsafe_sysctls)
    told = {k: v for k, v in config.document.items() if k not in ("apiVersion", "kind")}
    return {**shown, **told, "kind": KIND, "apiVersion": API_VERSION}


def read_configuration(document: Any, capacity: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `KubeletConfig` that a file's document sets, on a machine with this capacity.

    Raises: ConfigurationError.
    """
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ConfigurationError(
            f"no {KIND}: kind is {(document or {}).get('kind') if isinstance(document, dict) else None!r}"
        )
    if document.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f'no kind "{KIND}" is registered for version "{document.get("apiVersion")}"')
    unknown = [f'unknown field "{name}"' for name in document if name not in KNOWN]
    if unknown:
        raise ConfigurationError(f"strict decoding error: {', '.join(unknown)}")
    _check(document)
    try:
        found = _plain(document)
        found["capacity"] = _capacity(document, capacity)
        found["reserved"] = _reserved(
            document, found.get("eviction_hard") or DEFAULTS["evictionHard"], found["capacity"]
        )
    except (QuantityError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"invalid configuration: {error}") from None
    found["document"] = document
    return found


def _check(document: Object) -> None:
    """Upstream's validation, and what is not modelled."""
    low = document.get("imageGCLowThresholdPercent", 80)
    high = document.get("imageGCHighThresholdPercent", 85)
    problems = []
    for name, percent in (
        ("imageGCHighThresholdPercent (--image-gc-high-threshold)", high),
        ("imageGCLowThresholdPercent (--image-gc-low-threshold)", low),
    ):
        if not isinstance(percent, int) or not 0 <= percent <= 100:
            problems.append(f"{name} {percent} must be between 0 and 100, inclusive")
    if not problems and low >= high:
        problems.append(
            f"imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than "
            f"imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
        )
    if document.get("maxPods", 110) < 0:
        problems.append(f"maxPods (--max-pods) {document['maxPods']} must not be a negative number")
    if document.get("containerLogMaxFiles", 5) <= 1:
        problems.append(
            f"containerLogMaxFiles (--container-log-max-files) {document['containerLogMaxFiles']} must be greater than 1"
        )
    policy = document.get("cpuManagerPolicy", "none")
    if policy not in ("none", "static"):
        problems.append(f"unknown cpuManagerPolicy {policy!r}: none or static")
    if document.get("memoryManagerPolicy", "None") != "None":
        problems.append(
            f"memoryManagerPolicy {document['memoryManagerPolicy']!r} is not supported: memory is not pinned to NUMA nodes"
        )
    if document.get("topologyManagerPolicy", "none") not in _POLICIES:
        problems.append(f"topologyManagerPolicy {document['topologyManagerPolicy']!r}: one of {', '.join(_POLICIES)}")
    if document.get("staticPodURL"):
        problems.append("staticPodURL is not supported: static pods come from staticPodPath")
    if document.get("podPidsLimit", -1) == 0:
        problems.append("podPidsLimit (--pod-max-pids) 0 must not be zero")
    soft, graces = document.get("evictionSoft") or {}, document.get("evictionSoftGracePeriod") or {}
    problems += [
        f"grace period must be specified for the soft eviction threshold {signal}"
        for signal in soft
        if signal not in graces
    ]
    if problems:
        raise ConfigurationError("; ".join(problems))


def _seconds(name: str, text: Any) -> float:
    found = duration_s(str(text))
    if found is None:
        raise ConfigurationError(f'{name}: time: invalid duration "{text}"')
    return found


_DIRECT = {
    "port": ("port", int), "clusterDomain": ("cluster_domain", str), "clusterDNS": ("cluster_dns", tuple),
    "eventRecordQPS": ("event_qps", float), "eventBurst": ("event_burst", int), "staticPodPath": ("static_pod_path", str),
    "nodeLeaseDurationSeconds": ("lease_duration_s", int), "evictionHard": ("eviction_hard", dict),
    "evictionSoft": ("eviction_soft", dict), "evictionMaxPodGracePeriod": ("eviction_max_pod_grace_s", int),
    "evictionMinimumReclaim": ("eviction_minimum_reclaim", dict), "podCIDR": ("pod_cidr", str),
    "providerID": ("provider_id", str), "allowedUnsafeSysctls": ("allowed_unsafe_sysctls", tuple),
    "registerNode": ("register", bool), "registerWithTaints": ("taints", tuple),
    "imageGCHighThresholdPercent": ("image_gc_high_percent", int), "imageGCLowThresholdPercent": ("image_gc_low_percent", int),
    "containerLogMaxFiles": ("container_log_max_files", int), "cpuManagerPolicy": ("cpu_manager_policy", str),
    "reservedSystemCPUs": ("reserved_cpus", str), "serverTLSBootstrap": ("server_tls_bootstrap", bool),
    "nodeStatusMaxImages": ("max_images", int),
}  # fmt: skip
_TIMES = {
    "nodeStatusReportFrequency": "status_report_s", "evictionPressureTransitionPeriod": "pressure_transition_s",
    "imageMinimumGCAge": "image_minimum_gc_age_s", "imageMaximumGCAge": "image_maximum_gc_age_s",
}  # fmt: skip


def _plain(document: Object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (field, kind) in _DIRECT.items():
        if document.get(name) is not None:
            found[field] = kind(document[name])
    for name, field in _TIMES.items():
        if document.get(name) is not None:
            found[field] = _seconds(name, document[name])
    if "lease_duration_s" in found:
        found["lease_renew_s"] = found["lease_duration_s"] / 4
    graces = document.get("evictionSoftGracePeriod")
    if graces:
        found["eviction_soft_grace_s"] = {k: _seconds(f"evictionSoftGracePeriod[{k}]", v) for k, v in graces.items()}
    if document.get("containerLogMaxSize"):
        found["container_log_max_bytes"] = value(str(document["containerLogMaxSize"]))
    longest = (document.get("crashLoopBackOff") or {}).get("maxContainerRestartPeriod")
    if longest:
        found["crash_loop_max_s"] = _seconds("crashLoopBackOff.maxContainerRestartPeriod", longest)
    return found


def _capacity(document: Object, capacity: Mapping[str, str]) -> dict[str, str]:
    pods = int(document.get("maxPods", 110))
    per_core = int(document.get("podsPerCore") or 0)
    if per_core:
        pods = min(pods, per_core * int(parse_quantity(str(capacity.get("cpu", "1")))))
    return {**capacity, "pods": str(pods)}


def _reserved(document: Object, hard: Mapping[str, str], capacity: Mapping[str, str]) -> dict[str, str]:
    """What pods may not have: for the system, for Kubernetes, and what eviction keeps free."""
    total: dict[str, Decimal] = {}
    forms: dict[str, str] = {}
    amounts = [document.get("systemReserved") or {}, document.get("kubeReserved") or {}]
    kept = {"memory": hard.get("memory.available"), "ephemeral-storage": hard.get("nodefs.available")}
    for name, text in kept.items():
        if text and name in capacity:
            whole = parse_quantity(str(capacity[name]))
            amount = whole * Decimal(text[:-1]) / 100 if text.endswith("%") else parse_quantity(text)
            amounts.append({name: format_quantity(Decimal(int(amount)), quantity_format("1Ki"))})
    for group in amounts:
        for name, text in group.items():
            total[name] = total.get(name, Decimal(0)) + parse_quantity(str(text))
            forms.setdefault(name, str(text))
    return {name: format_quantity(amount, quantity_format(forms[name])) for name, amount in total.items()}
