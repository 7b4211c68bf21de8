"""Who may do what: RBAC, escalation, nodes, reviews and tokens."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver._authz import Attributes as Wanted
from actors.apiserver._authz import covers, rule_allows
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
