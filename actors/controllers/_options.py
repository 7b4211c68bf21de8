"""What the controller manager can be told.

Owns the settings and their defaults, under the names of kube-controller-manager's flags (dashes
become underscores); it acts on none of them. Facts: kubernetes cmd/kube-controller-manager/app/options
and pkg/controller/*/config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Options"]

YEAR_S = 365 * 24 * 3600.0


@dataclass(frozen=True)
class Options:
    """The settings; periods in seconds, rates per second."""

    controllers: str = "*"
    concurrent_syncs: Mapping[str, int] = field(default_factory=dict)
    """Controller -> how many keys it reconciles at a time, where not its default."""

    node_monitor_grace_period: float = 50.0
    node_monitor_period: float = 5.0
    node_startup_grace_period: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    large_cluster_size_threshold: int = 50
    unhealthy_zone_threshold: float = 0.55

    terminated_pod_gc_threshold: int = 12500
    resource_quota_sync_period: float = 300.0
    legacy_service_account_token_clean_up_period: float = YEAR_S
    max_endpoints_per_slice: int = 100
    enable_garbage_collector: bool = True

    horizontal_pod_autoscaler_sync_period: float = 15.0
    horizontal_pod_autoscaler_tolerance: float = 0.1
    horizontal_pod_autoscaler_downscale_stabilization: float = 300.0
    horizontal_pod_autoscaler_initial_readiness_delay: float = 30.0
    horizontal_pod_autoscaler_cpu_initialization_period: float = 300.0

    allocate_node_cidrs: bool = False
    cluster_cidr: str = "10.244.0.0/16"
    service_cluster_ip_range: str = "10.96.0.0/16"
    node_cidr_mask_size_ipv4: int = 24
    node_cidr_mask_size_ipv6: int = 64

    cluster_signing_duration: float = YEAR_S

    leader_elect: bool = False
    leader_elect_lease_duration: float = 15.0
    leader_elect_renew_deadline: float = 10.0
    leader_elect_retry_period: float = 2.0
    leader_elect_resource_name: str = "kube-controller-manager"
    leader_elect_resource_namespace: str = "kube-system"

    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys, certificates and what only this implementation has."""
