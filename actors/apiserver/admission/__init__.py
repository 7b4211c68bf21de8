"""Admission: what may change or refuse a write before it is stored.

Owns the plugins and their order. `default_plugins()` is what a cluster runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.apiserver.admission._base import CONNECT, CREATE, DELETE, UPDATE, Attributes, Chain, Lookup, Plugin
from actors.apiserver.admission._namespace import NamespaceLifecycle

__all__ = [
    "CONNECT",
    "CREATE",
    "DELETE",
    "UPDATE",
    "Attributes",
    "Chain",
    "Lookup",
    "NamespaceLifecycle",
    "Plugin",
    "default_plugins",
]


def default_plugins(configuration: Mapping[str, Any] | None = None) -> list[Plugin]:
    """The plugins of an API server with upstream's default set, in upstream's order.

    `configuration`: what plugins are told, by their names. Raises ValueError for what one cannot read.
    """
    told = configuration or {}
    from actors.apiserver.admission import _certificates as certificates
    from actors.apiserver.admission import _pods as pods
    from actors.apiserver.admission import _storage as storage
    from actors.apiserver.admission._limits import LimitRanger
    from actors.apiserver.admission._node_restriction import NodeRestriction
    from actors.apiserver.admission._on_demand import on_demand
    from actors.apiserver.admission._pod_security import PodSecurity
    from actors.apiserver.admission._quota import ResourceQuota
    from actors.apiserver.admission._service_account import ServiceAccount

    return [
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccount(),
        NodeRestriction(),
        pods.TaintNodesByCondition(),
        PodSecurity(told.get("PodSecurity")),
        pods.Priority(),
        pods.DefaultTolerationSeconds(),
        storage.DefaultStorageClass(),
        storage.StorageObjectInUseProtection(),
        storage.PersistentVolumeClaimResize(),
        pods.RuntimeClass(),
        certificates.CertificateApproval(),
        certificates.CertificateSigning(),
        certificates.ClusterTrustBundleAttest(),
        certificates.CertificateSubjectRestriction(),
        storage.DefaultIngressClass(),
        pods.PodTopologyLabels(),
        *on_demand(),
        ResourceQuota(),
    ]
