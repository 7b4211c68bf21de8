"""Admission: what may change or refuse a write before it is stored.

Owns the plugins and their order. `default_plugins()` is what a cluster runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "chosen_plugins",
    "default_plugins",
]


def chosen_plugins(
    configuration: Mapping[str, Any], enabled: Sequence[str] = (), disabled: Sequence[str] = ()
) -> list[Plugin]:
    """The default plugins without the disabled ones and with the enabled ones, in upstream's order.

    Raises ValueError for a name that is no plugin's.
    """
    plugins = default_plugins(configuration)
    if enabled or disabled:
        from actors.apiserver.admission._optional import OPTIONAL, PodNodeSelector

        known = {plugin.name for plugin in plugins} | {made.name for _, made in OPTIONAL} | {"AlwaysAdmit"}
        for name in (*enabled, *disabled):
            if name not in known:
                raise ValueError(f'unknown admission plugin "{name}"')
        for before, made in OPTIONAL:
            if made.name in enabled:
                place = [plugin.name for plugin in plugins].index(before) + 1
                told = configuration.get(made.name)
                plugins.insert(place, PodNodeSelector(told) if made is PodNodeSelector else made())
        plugins = [plugin for plugin in plugins if plugin.name not in disabled]
    return plugins


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
        ResourceQuota(told.get("ResourceQuota")),
    ]
