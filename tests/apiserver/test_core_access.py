"""Who may do what: RBAC, escalation, nodes, reviews and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver._authz import Attributes as Wanted
from actors.apiserver._authz import covers, rule_allows
from actors.apiserver._messages import HttpCall
from protocol.api import UserInfo

JANE = UserInfo("jane", ("system:authenticated",))
RBAC = "rbac.authorization.k8s.io"


def grant(api: Any, rules: list[Any], name: str = "r", user: str = "jane") -> None:
    api.create(f"roles.{RBAC}", "default", {"metadata": {"name": name}, "rules": rules})
    body = {
        "metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": user}],
    }
    api.create(f"rolebindings.{RBAC}", "default", body)


def test_nobody_may_anything_until_a_binding_says_so(api: Any, refused: Any) -> None:
    api.config_map("a")
    error = refused(api.get, "configmaps", "default", "a", user=JANE)
    assert error.message == (
        'configmaps "a" is forbidden: User "jane" cannot get resource "configmaps" in API group "" in the namespace "default"'
    )
    grant(api, [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}])
    assert api.get("configmaps", "default", "a", user=JANE)
    assert refused(api.ask, "list", "configmaps", "default", user=JANE).code == 403
    api.ask("delete", f"rolebindings.{RBAC}", "default", "r")
    assert refused(api.get, "configmaps", "default", "a", user=JANE).code == 403


def test_a_rule_for_names_holds_for_these_names(api: Any, refused: Any) -> None:
    api.config_map("a")
    grant(api, [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "update"]}])
    assert api.get("configmaps", "default", "a", user=JANE)
    assert refused(api.get, "configmaps", "default", "b", user=JANE).code == 403


def test_nobody_grants_what_they_do_not_hold(api: Any, refused: Any) -> None:
    grant(api, [
        {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ])
    mine = {"metadata": {"name": "ok"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    assert api.create(f"roles.{RBAC}", "default", mine, user=JANE)
    more = {"metadata": {"name": "no"}, "rules": [{"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "list"]}]}
    error = refused(api.create, f"roles.{RBAC}", "default", more, user=JANE)
    assert error.code == 403
    assert error.message.endswith(
        'not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


def test_a_node_reads_the_secrets_of_its_own_pods_only(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    for name in ("mine", "other"):
        api.create("secrets", "default", {"metadata": {"name": name}})
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}
    api.create("pods", "default", {"metadata": {"name": "p"}, "spec": spec})
    node, stranger = (UserInfo(f"system:node:{n}", ("system:nodes", "system:authenticated")) for n in ("n1", "n2"))
    assert api.get("secrets", "default", "mine", user=node)
    assert refused(api.get, "secrets", "default", "other", user=node).code == 403
    assert refused(api.get, "secrets", "default", "mine", user=stranger).code == 403


def review(api: Any, user: UserInfo, verb: str, resource: str) -> bool:
    spec = {"user": user.name, "groups": list(user.groups), "resourceAttributes": {"namespace": "default", "verb": verb, "resource": resource}}
    made = api.create("subjectaccessreviews.authorization.k8s.io", "", {"spec": spec})
    return bool(made["status"]["allowed"])


def test_reviews_answer_what_the_authorizer_would(api: Any) -> None:
    grant(api, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])
    assert review(api, JANE, "get", "pods")
    assert not review(api, JANE, "delete", "pods")
    rules = api.create("selfsubjectrulesreviews.authorization.k8s.io", "", {"spec": {"namespace": "default"}}, user=JANE)
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in rules["status"]["resourceRules"]


def token(api: Any, **spec: Any) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    made = api.ask("create", "serviceaccounts", "default", "sa", body=body, sub="token")
    return str(made["status"]["token"])


def checked(api: Any, text: str, **spec: Any) -> Any:
    return api.create("tokenreviews.authentication.k8s.io", "", {"spec": {"token": text, **spec}})["status"]


def test_a_token_names_its_account_until_it_expires_or_the_account_goes(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "sa"}})
    text = token(api, expirationSeconds=600)
    assert checked(api, text)["user"]["username"] == "system:serviceaccount:default:sa"
    assert "authenticated" not in checked(api, text + "x")
    assert "authenticated" not in checked(api, text, audiences=["elsewhere"])
    api.sim.advance(700)
    assert "authenticated" not in checked(api, text)
    fresh = token(api)
    api.ask("delete", "serviceaccounts", "default", "sa")
    assert "authenticated" not in checked(api, fresh)


def test_a_token_bound_to_a_pod_dies_with_it(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "sa"}})
    spec = {"serviceAccountName": "sa", "containers": [{"name": "c", "image": "i"}]}
    api.create("pods", "default", {"metadata": {"name": "p"}, "spec": spec})
    text = token(api, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "p"})
    assert checked(api, text)["authenticated"]
    api.ask("delete", "pods", "default", "p")
    assert "authenticated" not in checked(api, text)


def test_a_short_lived_token_is_refused(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "sa"}})
    error = refused(token, api, expirationSeconds=10)
    assert "may not specify a duration less than 10 minutes" in error.message


WORDS = st.sampled_from(["a", "b", "*"])
RULES = st.fixed_dictionaries({
    "verbs": st.lists(WORDS, min_size=1, max_size=2), "apiGroups": st.lists(WORDS, min_size=1, max_size=2),
    "resources": st.lists(st.sampled_from(["a", "b", "*", "a/s", "*/s"]), min_size=1, max_size=2),
})


@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=2), WORDS, WORDS, WORDS, st.sampled_from(["", "s"]))
def test_rules_that_are_covered_allow_nothing_more(owned: list[Any], wanted: list[Any], verb: str, group: str, resource: str, sub: str) -> None:
    if covers(owned, wanted):
        return
    asked = Wanted(verb, group, resource, sub)
    if any(rule_allows(rule, asked) for rule in wanted):
        assert any(rule_allows(rule, asked) for rule in owned)


def test_a_role_for_the_whole_cluster_is_for_every_namespace_and_name_until_it_is_taken_away(api: Any, refused: Any) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
             {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["update"], "resourceNames": ["mine"]}]  # fmt: skip
    api.create(f"clusterroles.{RBAC}", "", {"metadata": {"name": "wide"}, "rules": rules})
    body = {
        "metadata": {"name": "wide"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "wide"},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "jane"}],
    }
    api.create(f"clusterrolebindings.{RBAC}", "", body)
    for name in ("mine", "other"):
        api.config_map(name)
        assert api.get("configmaps", "default", name, user=JANE)
    mine = api.get("configmaps", "default", "mine")
    assert api.ask("update", "configmaps", "default", "mine", body=dict(mine), user=JANE)
    other = api.get("configmaps", "default", "other")
    assert refused(api.ask, "update", "configmaps", "default", "other", body=dict(other), user=JANE).code == 403
    api.ask("delete", f"clusterrolebindings.{RBAC}", "", "wide")
    assert refused(api.get, "configmaps", "default", "mine", user=JANE).code == 403


def test_a_token_bound_to_a_node_goes_with_it(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "sa"}})
    node = api.create("nodes", "", {"metadata": {"name": "n"}})
    ref = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": node["metadata"]["uid"]}
    text = token(api, boundObjectRef=ref)
    assert checked(api, text)["authenticated"]
    api.ask("delete", "nodes", "", "n")
    assert "authenticated" not in checked(api, text)


# --- nodes --------------------------------------------------------------------------------------


def on_node(name: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], **spec}}


NODE, STRANGER = (UserInfo(f"system:node:{n}", ("system:nodes", "system:authenticated")) for n in ("n1", "n2"))


def test_a_node_reads_the_volumes_of_its_pods_and_their_secrets(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    api.create("secrets", "default", {"metadata": {"name": "mount"}})
    size = {"storage": "1Gi"}
    csi = {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": {"name": "mount", "namespace": "default"}}
    claim_ref = {"namespace": "default", "name": "p-data"}
    api.create("persistentvolumes", "", {"metadata": {"name": "pv"}, "spec": {
        "capacity": size, "accessModes": ["ReadWriteOnce"], "csi": csi, "claimRef": claim_ref}})
    api.create("persistentvolumeclaims", "default", {"metadata": {"name": "p-data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "volumeName": "pv"}})
    assert refused(api.get, "persistentvolumes", "", "pv", user=NODE).message == (
        'persistentvolumes "pv" is forbidden: User "system:node:n1" cannot get resource "persistentvolumes" in API group'
        " \"\" at the cluster scope: no relationship found between node 'n1' and this object"
    )
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}}}
    api.create("pods", "default", on_node("p", volumes=[{"name": "data", "ephemeral": {"volumeClaimTemplate": template}}]))
    assert api.get("persistentvolumeclaims", "default", "p-data", user=NODE)
    assert api.get("persistentvolumes", "", "pv", user=NODE)
    assert api.get("secrets", "default", "mount", user=NODE)
    for resource, namespace, name in (("persistentvolumes", "", "pv"), ("secrets", "default", "mount")):
        assert refused(api.get, resource, namespace, name, user=STRANGER).code == 403


def test_a_node_lists_what_is_its_own_only(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    api.create("pods", "default", on_node("p"))
    listed = api.ask("list", "pods", user=NODE, fieldSelector="spec.nodeName=n1")
    assert [pod["metadata"]["name"] for pod in listed["items"]] == ["p"]
    assert refused(api.ask, "list", "pods", user=NODE, fieldSelector="spec.nodeName=n2").message.endswith(
        "at the cluster scope: can only list/watch pods with spec.nodeName field selector"
    )
    api.create("nodes", "", {"metadata": {"name": "n1"}})
    assert api.ask("list", "nodes", user=NODE, fieldSelector="metadata.name=n1")["items"]
    assert refused(api.ask, "list", "nodes", user=NODE).message.endswith(
        "node 'n1' cannot read all nodes, only its own Node object"
    )


def test_older_clusters_let_nodes_list_everything(make_api: Any) -> None:
    api = make_api(minor=31)
    assert api.ask("list", "pods", user=NODE)["items"] == []


def test_a_list_that_is_narrowed_to_a_name_is_a_request_for_that_name(api: Any, refused: Any) -> None:
    api.config_map("a")
    grant(api, [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["list"]}])
    listed = api.ask("list", "configmaps", "default", user=JANE, fieldSelector="metadata.name=a")
    assert [found["metadata"]["name"] for found in listed["items"]] == ["a"]
    error = refused(api.ask, "list", "configmaps", "default", user=JANE, fieldSelector="metadata.name=b")
    assert error.message.startswith('configmaps "b" is forbidden: ')


def test_an_aggregated_role_needs_every_power(api: Any, refused: Any) -> None:
    rules = [{"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["create"]}]
    api.create(f"clusterroles.{RBAC}", "", {"metadata": {"name": "r"}, "rules": rules})
    api.create(f"clusterrolebindings.{RBAC}", "", {
        "metadata": {"name": "r"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "jane"}]})
    gathers = {"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    assert refused(api.create, f"clusterroles.{RBAC}", "", gathers, user=JANE).message.endswith(
        '"all" is forbidden: must have cluster-admin privileges to use the aggregationRule'
    )


# --- impersonation ------------------------------------------------------------------------------

AGENT = UserInfo("system:serviceaccount:kube-system:agent", ("system:authenticated",), "",
                 {"authentication.kubernetes.io/node-name": ("n1",)})
REVIEWS = "authentication.k8s.io"


@pytest.fixture
def acting(make_api: Any) -> Callable[..., Any]:
    """Ask who one is, as jane or an agent on node n1 that acts as somebody else."""
    apis: dict[int, Any] = {}

    def run(rules: list[Any] | None = None, by: str = "jane", minor: int = 36, lists: Any = None, **headers: str) -> Any:
        if not apis:
            apis[0] = make_api(tokens={"jane": JANE, "agent": AGENT}, minor=minor)
        api = apis[0]
        if rules is not None:
            allow(api, f"acts-{len(apis)}", rules, {"jane": JANE, "agent": AGENT}[by].name)
            apis[len(apis)] = api
        sent = {"authorization": f"Bearer {by}", "content-type": "application/json"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        asked = {key: [value] for key, value in sent.items() if key.startswith("impersonate")} | (lists or {})
        body = b'{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}'
        call = HttpCall("POST", f"/apis/{REVIEWS}/v1/selfsubjectreviews", "", sent, body, lists=asked)
        answer = orjson.loads(api.sim.ask(api.server, call).body)
        return answer["status"]["userInfo"] if answer["kind"] == "SelfSubjectReview" else answer["message"]

    return run


def allow(api: Any, name: str, rules: list[Any], user: str) -> None:
    api.create(f"clusterroles.{RBAC}", "", {"metadata": {"name": name}, "rules": rules})
    api.create(f"clusterrolebindings.{RBAC}", "", {
        "metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": user}]})


def rule(verb: str, *resources: str, group: str = REVIEWS, names: tuple[str, ...] = ()) -> Any:
    found = {"apiGroups": [group], "resources": list(resources), "verbs": [verb]}
    return {**found, "resourceNames": list(names)} if names else found


def test_impersonation_is_granted_per_user_and_verb(acting: Any) -> None:
    doing = rule("impersonate-on:user-info:create", "selfsubjectreviews")
    assert acting([rule("impersonate:user-info", "users", names=("joe",))], impersonate_user="joe") == (
        'selfsubjectreviews.authentication.k8s.io is forbidden: User "jane" cannot impersonate-on:user-info:create'
        ' resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope'
    )
    assert acting([doing], impersonate_user="joe") == {"username": "joe", "groups": ["system:authenticated"]}
    assert acting(impersonate_user="ann") == (
        'users.authentication.k8s.io "ann" is forbidden: User "jane" cannot impersonate:user-info resource "users" in API'
        ' group "authentication.k8s.io" at the cluster scope'
    )
    masters = acting(impersonate_user="joe", lists={"impersonate-group": ["system:masters"]})
    assert masters.endswith("impersonating the system:masters group is not allowed")
    assert '"scopes": must be a domain-prefixed path' in acting(impersonate_user="joe", impersonate_extra_scopes="x")


def test_an_agent_acts_as_the_node_that_it_runs_on(acting: Any) -> None:
    rules = [
        rule("impersonate:associated-node", "nodes"),
        rule("impersonate-on:associated-node:create", "selfsubjectreviews"),
    ]
    assert acting(rules, "agent", impersonate_user="system:node:n1") == {
        "username": "system:node:n1", "groups": ["system:nodes", "system:authenticated"]
    }
    assert "cannot impersonate-on:arbitrary-node:create" in acting(by="agent", impersonate_user="system:node:n2")


def test_the_old_verb_allows_everything(acting: Any) -> None:
    old = [rule("impersonate", "users", "groups", "serviceaccounts", group=""), rule("impersonate", "uids", "userextras/scopes")]
    lists = {"impersonate-group": ["a"], "impersonate-extra-scopes": ["view"]}
    assert acting(old, impersonate_user="joe", impersonate_uid="1", lists=lists) == {
        "username": "joe", "uid": "1", "groups": ["a", "system:authenticated"], "extra": {"scopes": ["view"]}
    }
    groups = acting(impersonate_user="system:serviceaccount:x:y")["groups"]
    assert groups == ["system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"]


def test_before_36_a_refusal_names_what_may_not_be_impersonated(acting: Any) -> None:
    assert acting(minor=35, impersonate_user="joe") == (
        'users "joe" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope'
    )
