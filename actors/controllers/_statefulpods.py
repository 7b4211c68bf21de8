"""The pods and claims of a StatefulSet: names, identity, storage.

Pure functions. A pod of a StatefulSet is known by its ordinal: `db-2` has the hostname `db-2`, the
claims `data-db-2`, and there is never another one of that name.
"""

from __future__ import annotations

import re

from actors.controllers._pods import is_available, is_ready, pod_from_template
from actors.controllers._revisions import REVISION_HASH
from protocol.objects import Object, deleting, labels, name, namespace, spec, status, uid

__all__ = [
    "claim_name",
    "claim_policy",
    "claims_of",
    "end_ordinal",
    "identity_matches",
    "is_created",
    "is_healthy",
    "is_running_available",
    "is_running_ready",
    "new_pod",
    "ordinal",
    "ordinals",
    "owned_claim",
    "parent_and_ordinal",
    "pod_name",
    "pod_revision",
    "replicas",
    "start_ordinal",
    "storage_matches",
    "with_identity",
]

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)\Z", re.DOTALL)


def parent_and_ordinal(pod: Object) -> tuple[str, int]:
    """`("db", 2)` for `db-2`; `("", -1)` for a name without number."""
    match = _NAME.match(name(pod))
    return (match[1], int(match[2])) if match else ("", -1)


def ordinal(pod: Object) -> int:
    return parent_and_ordinal(pod)[1]


def start_ordinal(stateful_set: Object) -> int:
    return int((spec(stateful_set).get("ordinals") or {}).get("start") or 0)


def replicas(stateful_set: Object) -> int:
    wanted = spec(stateful_set).get("replicas")
    return 1 if wanted is None else int(wanted)


def end_ordinal(stateful_set: Object) -> int:
    """One past the last ordinal."""
    return start_ordinal(stateful_set) + replicas(stateful_set)


def ordinals(stateful_set: Object) -> range:
    """The ordinals that there should be."""
    return range(start_ordinal(stateful_set), end_ordinal(stateful_set))


def pod_name(stateful_set: Object, number: int) -> str:
    return f"{name(stateful_set)}-{number}"


def claim_name(stateful_set: Object, template: Object, number: int) -> str:
    """The name of the claim of one template for one ordinal."""
    return f"{name(template)}-{name(stateful_set)}-{number}"


def pod_revision(pod: Object) -> str:
    """The name of the revision that the pod was made of."""
    return labels(pod).get(REVISION_HASH, "")


def new_pod(stateful_set: Object, revision: str, number: int) -> Object:
    """The pod of one ordinal, as the set's template says, not created yet."""
    pod = pod_from_template(spec(stateful_set).get("template") or {}, stateful_set)
    found = {**(pod["metadata"].get("labels") or {}), REVISION_HASH: revision}
    pod["metadata"] = {**pod["metadata"], "name": pod_name(stateful_set, number), "labels": found}
    pod["spec"] = {
        **pod["spec"],
        "hostname": pod_name(stateful_set, number),
    }
    if spec(stateful_set).get("serviceName"):
        pod["spec"]["subdomain"] = spec(stateful_set)["serviceName"]
    return with_identity(stateful_set, pod)


def with_identity(stateful_set: Object, pod: Object) -> Object:
    """`pod` with the labels and volumes that its ordinal demands."""
    number = ordinal(pod)
    meta = {**pod["metadata"]}
    meta["labels"] = {**labels(pod), POD_NAME: name(pod), POD_INDEX: str(number)}
    fixed: Object = {**pod, "metadata": meta}
    templates = spec(stateful_set).get("volumeClaimTemplates") or ()
    if templates:
        claims = {
            name(t): {
                "name": name(t),
                "persistentVolumeClaim": {"claimName": claim_name(stateful_set, t, number)},
            }
            for t in templates
        }
        others = [v for v in spec(pod).get("volumes") or () if v.get("name") not in claims]
        fixed["spec"] = {**spec(pod), "volumes": [*claims.values(), *others]}
    return fixed


def identity_matches(stateful_set: Object, pod: Object) -> bool:
    """Whether name, namespace and labels are those of its ordinal."""
    parent, number = parent_and_ordinal(pod)
    return (
        number >= 0
        and parent == name(stateful_set)
        and namespace(pod) == namespace(stateful_set)
        and labels(pod).get(POD_NAME) == name(pod)
        and labels(pod).get(POD_INDEX) == str(number)
    )


def storage_matches(stateful_set: Object, pod: Object) -> bool:
    """Whether it mounts the claims of its ordinal."""
    number = ordinal(pod)
    volumes = {v.get("name"): v for v in spec(pod).get("volumes") or ()}
    for template in spec(stateful_set).get("volumeClaimTemplates") or ():
        volume = volumes.get(name(template)) or {}
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim != claim_name(stateful_set, template, number):
            return False
    return True


def claims_of(stateful_set: Object, number: int) -> list[Object]:
    """The claims of one ordinal, as they would be created."""
    found = []
    match_labels = (spec(stateful_set).get("selector") or {}).get("matchLabels") or {}
    for template in spec(stateful_set).get("volumeClaimTemplates") or ():
        meta: Object = {
            "name": claim_name(stateful_set, template, number),
            "namespace": namespace(stateful_set),
            "labels": {**labels(template), **match_labels},
        }
        if (template.get("metadata") or {}).get("annotations"):
            meta["annotations"] = dict(template["metadata"]["annotations"])
        found.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": meta,
                "spec": template.get("spec") or {},
            }
        )
    return found


# --- what becomes of claims ---------------------------------------------------------------------


def claim_policy(stateful_set: Object) -> tuple[str, str]:
    """`(whenDeleted, whenScaled)`, each Retain or Delete."""
    policy = spec(stateful_set).get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted") or "Retain", policy.get("whenScaled") or "Retain"


def owned_claim(stateful_set: Object, pod: Object, claim: Object) -> list[Object] | None:
    """The owner references that a claim should have, or None if it has them.

    The set owns it when claims go with the set; the pod when the pod is being scaled away and
    claims go with it; the garbage collector does the rest.
    """
    when_deleted, when_scaled = claim_policy(stateful_set)
    condemned = ordinal(pod) not in ordinals(stateful_set)
    by_pod = when_scaled == "Delete" and condemned
    by_set = when_deleted == "Delete" and not by_pod
    wanted = [
        _reference(owner)
        for owner, owns in ((stateful_set, by_set), (pod, by_pod))
        if owns and uid(owner)
    ]
    current: list[Object] = (claim.get("metadata") or {}).get("ownerReferences") or []
    own_uids = {uid(stateful_set), uid(pod)}
    names = {name(pod), name(stateful_set)}
    kept = [
        r
        for r in current
        if r.get("uid") not in own_uids
        and not (r.get("kind") in ("Pod", "StatefulSet") and r.get("name") in names)
    ]
    new = [*kept, *wanted]
    same = {r.get("uid") for r in new} == {r.get("uid") for r in current}
    return None if same and len(new) == len(current) else new


def _reference(owner: Object) -> Object:
    kind, version = ("Pod", "v1") if owner.get("kind") == "Pod" else ("StatefulSet", "apps/v1")
    reference = {
        "apiVersion": version,
        "kind": kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
    }
    reference["blockOwnerDeletion"] = True
    return reference


# --- states of a pod ----------------------------------------------------------------------------


def is_created(pod: Object) -> bool:
    """Whether the API server has it."""
    return bool(uid(pod)) and bool(status(pod).get("phase"))


def is_running_ready(pod: Object) -> bool:
    return status(pod).get("phase") == "Running" and is_ready(pod)


def is_running_available(pod: Object, min_ready_s: int, now: float) -> bool:
    return status(pod).get("phase") == "Running" and is_available(pod, min_ready_s, now)


def is_healthy(pod: Object) -> bool:
    """Running, ready and staying."""
    return is_running_ready(pod) and not deleting(pod)

