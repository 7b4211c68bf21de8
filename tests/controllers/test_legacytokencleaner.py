"""Token Secrets that nobody uses are marked, and go a period later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

DAY_S = 24 * 3600.0
INVALID = "kubernetes.io/legacy-token-invalid-since"


def secrets(plane: Any) -> dict[str, dict[str, str]]:
    return {s["metadata"]["name"]: s["metadata"].get("labels") or {} for s in plane.list("secrets", "default")}


def test_only_automatic_tokens_that_no_pod_mounts_are_cleaned(plane: Callable[..., Any]) -> None:
    p = plane(
        "legacy-serviceaccount-token-cleaner-controller",
        legacy_service_account_token_clean_up_period=DAY_S,
    )
    notes = {"kubernetes.io/service-account.name": "default"}
    for name in ("automatic", "mounted", "by-hand"):
        meta = {"name": name, "annotations": notes}
        p.create("secrets", {"metadata": meta, "type": "kubernetes.io/service-account-token"})
    p.patch("serviceaccounts", "default", {"secrets": [{"name": "automatic"}, {"name": "mounted"}]})
    volumes = [{"name": "t", "secret": {"secretName": "mounted"}}]
    p.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}}
    )
    name = "kube-apiserver-legacy-service-account-token-tracking"
    since = p.sim.clock.rfc3339()[:10]
    if p.get("configmaps", name, "kube-system") is None:
        p.create("configmaps", {"metadata": {"name": name}, "data": {"since": since}}, "kube-system")
    p.sim.advance(DAY_S)
    assert not any(INVALID in labels for labels in secrets(p).values())
    p.sim.advance(2 * DAY_S)
    assert [n for n, labels in secrets(p).items() if INVALID in labels] == ["automatic"]
    p.sim.advance(3 * DAY_S)
    assert sorted(secrets(p)) == ["by-hand", "mounted"]
