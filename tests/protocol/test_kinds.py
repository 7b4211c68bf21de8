"""The table of built-in kinds."""

from __future__ import annotations

from protocol import kinds


def test_every_group_and_version_names_a_resource_once() -> None:
    for minor in range(kinds.FIRST_MINOR, kinds.LAST_MINOR + 1):
        keys = [(k.group, k.version, k.resource) for k in kinds.served(minor)]
        assert len(keys) == len(set(keys))
        assert all(k.group in kinds.GROUP_ORDER for k in kinds.served(minor))


def test_lookups_agree_with_each_other() -> None:
    for kind in kinds.served():
        assert kinds.by_resource(kind.group, kind.version, kind.resource) is kind
        assert kinds.by_kind(kind.group, kind.version, kind.kind) is kind
        if kind.stored:
            stored_as = kinds.by_store(*kind.store)
            assert stored_as is not None
            assert stored_as.kind == kind.kind


def test_kubectl_names_find_kinds() -> None:
    for word, resource in (
        ("po", "pods"),
        ("Deployment", "deployments"),
        ("deployments.apps", "deployments"),
        ("deploy.v1.apps", "deployments"),
        ("hpa", "horizontalpodautoscalers"),
        ("crds", "customresourcedefinitions"),
    ):
        kind = kinds.resource_for(word)
        assert kind is not None
        assert kind.resource == resource
    assert kinds.resource_for("nosuch") is None


def test_events_of_both_groups_share_one_store() -> None:
    core = kinds.by_resource("", "v1", "events")
    grouped = kinds.by_resource("events.k8s.io", "v1", "events")
    assert core is not None
    assert grouped is not None
    assert core.store == grouped.store
    assert kinds.by_store("", "events") is core


def test_autoscaling_prefers_v2_and_shares_one_store() -> None:
    assert kinds.versions_of("autoscaling") == ("v2", "v1")
    assert {k.store for k in kinds.kinds_of("autoscaling", "v1")} == {
        ("autoscaling", "horizontalpodautoscalers")
    }


def test_minor_versions_serve_what_had_graduated() -> None:
    assert kinds.by_resource("resource.k8s.io", "v1", "resourceclaims", minor=33) is None
    assert kinds.by_resource("resource.k8s.io", "v1", "resourceclaims", minor=34) is not None
    assert kinds.versions_of("flowcontrol.apiserver.k8s.io", minor=31) == ("v1", "v1beta3")
    assert kinds.versions_of("flowcontrol.apiserver.k8s.io", minor=32) == ("v1",)
    assert "resource.k8s.io" not in kinds.groups(minor=31)


def test_subresources_carry_their_own_kinds() -> None:
    pods = kinds.by_resource("", "v1", "pods")
    assert pods is not None
    eviction = pods.subresource("eviction")
    assert eviction is not None
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")
    status = pods.subresource("status")
    assert status is not None
    assert (status.group, status.version, status.kind) == ("", "v1", "Pod")
    assert pods.subresource("scale") is None


def test_reviews_are_computed_and_never_stored() -> None:
    unstored = {k.kind for k in kinds.served() if not k.stored}
    assert unstored == {
        "Binding",
        "ComponentStatus",
        "LocalSubjectAccessReview",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
        "TokenReview",
    }


def test_storage_version_hash_is_discoverys() -> None:
    configmaps = kinds.by_resource("", "v1", "configmaps")
    assert configmaps is not None
    assert configmaps.storage_version_hash == "qFsyl6wFWjQ="
