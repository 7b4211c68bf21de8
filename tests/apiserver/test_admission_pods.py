"""What the plugins of the default set do to pods, claims and their like."""

from __future__ import annotations

from typing import Any

import pytest

Object = dict[str, Any]


@pytest.fixture
def home(api: Any) -> Any:
    """An API server whose default namespace has its service account."""
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    return api


def pod(name: str = "p", meta: Object | None = None, container: Object | None = None, **spec: Any) -> Object:
    containers = [{"name": "a", "image": "b", **(container or {})}]
    return {"metadata": {"name": name, **(meta or {})}, "spec": {"containers": containers, **spec}}


def test_a_pod_without_its_service_account_is_refused(api: Any, refused: Any) -> None:
    error = refused(api.create, "pods", "default", pod())
    assert error.message == (
        'pods "p" is forbidden: error looking up service account default/default: serviceaccount "default" not found'
    )


def test_a_pod_gets_its_account_and_a_projected_token(home: Any) -> None:
    made = home.create("pods", "default", pod())
    assert made["spec"]["serviceAccountName"] == "default"
    volume = made["spec"]["volumes"][0]
    assert volume["name"].startswith("kube-api-access-")
    mount = made["spec"]["containers"][0]["volumeMounts"][0]
    assert (mount["mountPath"], mount["readOnly"]) == ("/var/run/secrets/kubernetes.io/serviceaccount", True)


def test_a_pod_that_wants_no_token_gets_none(home: Any) -> None:
    assert "volumes" not in home.create("pods", "default", pod(automountServiceAccountToken=False))["spec"]


def test_a_pod_tolerates_nodes_that_vanish_for_five_minutes(home: Any) -> None:
    tolerations = home.create("pods", "default", pod())["spec"]["tolerations"]
    assert [(t["key"], t["tolerationSeconds"]) for t in tolerations] == [
        ("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300),
    ]


def test_a_priority_class_gives_the_priority(home: Any, refused: Any) -> None:
    home.create("priorityclasses.scheduling.k8s.io", "", {"metadata": {"name": "high"}, "value": 7})
    assert home.create("pods", "default", pod(priorityClassName="high"))["spec"]["priority"] == 7
    error = refused(home.create, "pods", "default", pod("q", priorityClassName="none"))
    assert error.message == 'pods "q" is forbidden: no PriorityClass with name none was found'


def test_a_limit_range_fills_in_and_refuses(home: Any, refused: Any) -> None:
    limits = [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}, "max": {"cpu": "2"}}]
    home.create("limitranges", "default", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    made = home.create("pods", "default", pod())["spec"]["containers"][0]["resources"]
    assert made == {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}
    error = refused(home.create, "pods", "default", pod("q", container={"resources": {"limits": {"cpu": "3"}}}))
    assert error.message == 'pods "q" is forbidden: maximum cpu usage per Container is 2, but limit is 3'


def test_a_quota_counts_and_refuses(home: Any, refused: Any) -> None:
    home.create("resourcequotas", "default", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    quota = home.get("resourcequotas", "default", "q")
    home.ask("update", "resourcequotas", "default", "q", sub="status",
             body={**quota, "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}})
    home.create("pods", "default", pod())
    assert home.get("resourcequotas", "default", "q")["status"]["used"] == {"pods": "1"}
    error = refused(home.create, "pods", "default", pod("r"))
    assert error.message == (
        'pods "r" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
    )


def test_a_dry_run_uses_no_quota(home: Any) -> None:
    home.create("resourcequotas", "default", {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "1"}}})
    quota = home.get("resourcequotas", "default", "q")
    home.ask("update", "resourcequotas", "default", "q", sub="status",
             body={**quota, "status": {"hard": {"configmaps": "1"}, "used": {"configmaps": "0"}}})
    home.create("configmaps", "default", {"metadata": {"name": "a"}}, dryRun="All")
    assert home.get("resourcequotas", "default", "q")["status"]["used"] == {"configmaps": "0"}


@pytest.mark.parametrize(
    ("level", "container", "spec", "words"),
    [
        ("baseline", {"securityContext": {"privileged": True}}, {},
         'privileged (container "a" must not set securityContext.privileged=true)'),
        ("baseline", {}, {"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
        ("baseline", {}, {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "h")'),
        ("restricted", {}, {},
         'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)'),
    ],
)
def test_pod_security_refuses_what_a_level_forbids(
    home: Any, refused: Any, level: str, container: Object, spec: Object, words: str
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level}
    home.create("namespaces", "", {"metadata": {"name": "safe", "labels": labels}})
    home.create("serviceaccounts", "safe", {"metadata": {"name": "default"}})
    error = refused(home.create, "pods", "safe", pod(container=container, **spec))
    assert error.message.startswith(f'pods "p" is forbidden: violates PodSecurity "{level}:latest": ')
    assert words in error.message


def test_a_claim_without_a_class_gets_the_default_one(home: Any) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    home.create("storageclasses.storage.k8s.io", "",
                {"metadata": {"name": "std", "annotations": default}, "provisioner": "p"})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = home.create("persistentvolumeclaims", "default", {"metadata": {"name": "c"}, "spec": spec})
    assert claim["spec"]["storageClassName"] == "std"
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    none = {"metadata": {"name": "d"}, "spec": {**spec, "storageClassName": ""}}
    assert home.create("persistentvolumeclaims", "default", none)["spec"]["storageClassName"] == ""


def test_a_new_node_is_not_ready(api: Any) -> None:
    node = api.create("nodes", "", {"metadata": {"name": "n"}})
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


def test_a_namespace_that_ends_takes_nothing_new(home: Any, refused: Any) -> None:
    home.create("namespaces", "", {"metadata": {"name": "old"}})
    home.ask("delete", "namespaces", "", "old")
    error = refused(home.config_map, "a", "old")
    assert error.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"


def test_a_quota_is_charged_for_growth_only(api: Any) -> None:
    hard = {"services.loadbalancers": "1", "services": "2"}
    api.create("resourcequotas", "default", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    quota = api.get("resourcequotas", "default", "q")
    status = {"hard": hard, "used": {"services.loadbalancers": "0", "services": "0"}}
    api.ask("update", "resourcequotas", "default", "q", sub="status", body={**quota, "status": status})
    api.create("services", "default", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    api.merge("services", "default", "s", {"spec": {"type": "LoadBalancer"}})
    used = {"services.loadbalancers": "1", "services": "1"}
    assert api.get("resourcequotas", "default", "q")["status"]["used"] == used
    api.merge("services", "default", "s", {"spec": {"type": "ClusterIP"}})
    assert api.get("resourcequotas", "default", "q")["status"]["used"] == used  # the controller gives back
