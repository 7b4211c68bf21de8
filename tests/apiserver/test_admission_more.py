"""Plugins that are off by default, and which plugins run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver.admission import chosen_plugins
from protocol.api import UserInfo

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"


def pod(name: str = "p", container: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1", **(container or {})}], **spec}}


def running(make_api: Callable[..., Any], *names: str, **settings: Any) -> Any:
    api = make_api(enable_admission=names, **settings)
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    return api


def test_plugins_are_switched_on_in_their_place_and_off() -> None:
    names = [plugin.name for plugin in chosen_plugins({}, ("AlwaysPullImages",), ("PodSecurity",))]
    assert names.index("AlwaysPullImages") == names.index("TaintNodesByCondition") + 1
    assert "PodSecurity" not in names
    with pytest.raises(ValueError, match="Sometimes"):
        chosen_plugins({}, ("Sometimes",))


def test_images_are_always_pulled(make_api: Callable[..., Any]) -> None:
    api = running(make_api, "AlwaysPullImages")
    made = api.create("pods", "default", pod(container={"imagePullPolicy": "Never"}))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"


def test_pods_tolerate_the_taints_of_the_devices_that_they_ask_for(make_api: Callable[..., Any]) -> None:
    api = running(make_api, "ExtendedResourceToleration")
    amounts = {"example.com/gpu": "1", "cpu": "1"}
    made = api.create("pods", "default", pod(container={"resources": {"requests": amounts, "limits": amounts}}))
    added = [t for t in made["spec"]["tolerations"] if t["key"] == "example.com/gpu"]
    assert added == [{"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_external_addresses_are_refused_unless_they_were_there(make_api: Callable[..., Any], refused: Any) -> None:
    api = running(make_api, "DenyServiceExternalIPs")
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["10.1.2.3"]}}
    assert refused(api.create, "services", "default", service).message == (
        'services "s" is forbidden: Use of external IPs is denied by admission control.'
    )


def test_a_namespace_chooses_its_nodes(make_api: Callable[..., Any], refused: Any) -> None:
    told = {"PodNodeSelector": {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "a=b", "default": "a=b,c=d"}}}
    api = running(make_api, "PodNodeSelector", admission_configuration=told)
    assert api.create("pods", "default", pod())["spec"]["nodeSelector"] == {"a": "b"}
    error = refused(api.create, "pods", "default", pod("q", nodeSelector={"a": "x"}))
    assert error.message.endswith("pod node label selector conflicts with its namespace node label selector")
    error = refused(api.create, "pods", "default", pod("q", nodeSelector={"e": "f"}))
    assert error.message.endswith("pod node label selector labels conflict with its namespace whitelist")


def test_owners_are_set_by_those_who_may_delete(make_api: Callable[..., Any], refused: Any) -> None:
    api = running(make_api, "OwnerReferencesPermissionEnforcement")
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update"]}]
    api.create(f"clusterroles.{RBAC}", "", {"metadata": {"name": "r"}, "rules": rules})
    api.create(f"clusterrolebindings.{RBAC}", "", {
        "metadata": {"name": "r"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "jane"}]})
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}
    body = {"metadata": {"name": "a", "ownerReferences": [owner]}}
    error = refused(api.create, "configmaps", "default", body, user=UserInfo("jane"))
    assert "cannot set an ownerRef on a resource you can't delete" in error.message
    assert api.create("configmaps", "default", body)


def test_pods_keep_others_off_nodes_only(make_api: Callable[..., Any], refused: Any) -> None:
    api = running(make_api, "LimitPodHardAntiAffinityTopology")
    term = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert refused(api.create, "pods", "default", pod(affinity=affinity)).message.endswith(
        "TopologyKey topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed"
    )
