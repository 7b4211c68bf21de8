"""Claims for pods from templates, and who holds a claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
DEVICES = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}


class Claims:
    """A plane with a template; the test plays the scheduler."""

    def __init__(self, plane: Callable[..., Any]) -> None:
        self.plane = plane("resourceclaim-controller,garbage-collector-controller")

    def template(self) -> None:
        spec = {"metadata": {"labels": {"a": "b"}}, "spec": DEVICES}
        self.plane.create("resourceclaimtemplates", {"metadata": {"name": "t"}, "spec": spec})

    def pod(self, name: str = "p", **claim: str) -> None:
        wanted = [{"name": "g", **(claim or {"resourceClaimTemplateName": "t"})}]
        containers = [{"name": "c", "image": "i", "resources": {"claims": [{"name": "g"}]}}]
        spec = {"containers": containers, "resourceClaims": wanted, "restartPolicy": "Never"}
        self.plane.create("pods", {"metadata": {"name": name}, "spec": spec})

    def all(self) -> list[Object]:
        found: list[Object] = self.plane.list("resourceclaims")
        return found

    def reserve(self, claim: str, pod: str) -> None:
        """As the scheduler does it."""
        finalizers = {"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}}
        self.plane.patch("resourceclaims", claim, finalizers)
        uid = self.plane.get("pods", pod)["metadata"]["uid"]
        results = [{"request": "gpu", "driver": "d.example.com", "pool": "n", "device": "gpu-0"}]
        status = {
            "allocation": {"devices": {"results": results}},
            "reservedFor": [{"resource": "pods", "name": pod, "uid": uid}],
        }
        self.plane.set_status("resourceclaims", claim, status)


@pytest.fixture
def claims(plane: Callable[..., Any]) -> Claims:
    return Claims(plane)


def test_a_pod_gets_a_claim_of_its_own_from_a_template(claims: Claims) -> None:
    claims.template()
    claims.pod()
    status = claims.plane.eventually(lambda: claims.plane.get("pods", "p")["status"].get("resourceClaimStatuses"))
    (claim,) = claims.all()
    assert status == [{"name": "g", "resourceClaimName": claim["metadata"]["name"]}]
    assert claim["metadata"]["name"].startswith("p-g-")
    assert claim["metadata"]["labels"] == {"a": "b"}
    assert claim["metadata"]["annotations"] == {"resource.kubernetes.io/pod-claim-name": "g"}
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "Pod"


def test_a_missing_template_is_told_and_made_good_when_it_comes(claims: Claims) -> None:
    claims.pod()
    (event,) = claims.plane.eventually(lambda: claims.plane.events("FailedResourceClaimCreation"))[:1]
    assert event == (
        'Warning FailedResourceClaimCreation Pod/p: PodResourceClaim g: resource claim template "t":'
        ' resourceclaimtemplate.resource.k8s.io "t" not found'
    )
    claims.template()
    claims.plane.eventually(claims.all)


def test_the_last_holder_that_goes_leaves_the_claim_free(claims: Claims) -> None:
    claims.plane.create("resourceclaims", {"metadata": {"name": "shared"}, "spec": DEVICES})
    claims.pod("p", resourceClaimName="shared")
    claims.reserve("shared", "p")
    claims.plane.sim.advance(2.0)
    assert claims.plane.get("resourceclaims", "shared")["status"]["reservedFor"]
    claims.plane.delete("pods", "p", grace_period_s=0)
    claims.plane.eventually(
        lambda: "allocation" not in (claims.plane.get("resourceclaims", "shared").get("status") or {})
    )
    claims.plane.eventually(lambda: not claims.plane.get("resourceclaims", "shared")["metadata"].get("finalizers"))
    assert not (claims.plane.get("resourceclaims", "shared").get("status") or {}).get("reservedFor")


def test_a_generated_claim_goes_when_its_pod_has_ended(claims: Claims) -> None:
    claims.template()
    claims.pod()
    (claim,) = claims.plane.eventually(claims.all)
    claims.reserve(claim["metadata"]["name"], "p")
    claims.plane.set_status("pods", "p", {"phase": "Succeeded"})
    claims.plane.eventually(lambda: not claims.all())
    assert claims.plane.get("pods", "p") is not None
