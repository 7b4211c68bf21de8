"""The rules of safety see what breaks them: each is shown a history that does."""

from __future__ import annotations

from typing import Any

import pytest
from safety import World, indexes, share

Object = dict[str, Any]


class Story:
    """Commits objects to a world, one revision each."""

    def __init__(self) -> None:
        self.world = World()
        self.revision = 0

    def put(self, kind: str, name: str, owner: Object | None = None, **fields: Any) -> Object:
        meta: Object = {"name": name, "uid": f"uid-{name}", "namespace": "default", **fields.pop("meta", {})}
        if owner is not None:
            meta["ownerReferences"] = [{"kind": owner["kind"], "uid": owner["metadata"]["uid"], "controller": True}]
        obj = {"kind": kind, "metadata": meta, **fields}
        self._commit(f"{kind}/{name}", obj)
        return obj

    def drop(self, obj: Object) -> None:
        self._commit(f"{obj['kind']}/{obj['metadata']['name']}", None)

    def _commit(self, key: str, obj: Object | None) -> None:
        self.revision += 1
        self.world.changed(key, obj, self.revision, float(self.revision), 1000.0 + self.revision)

    def pod(self, name: str, owner: Object | None, phase: str = "Running", *, is_ready: bool = True, **fields: Any) -> Object:
        status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(is_ready)}]}
        return self.put("Pod", name, owner, spec=fields.pop("spec", {}), status=status, **fields)

    @property
    def broken(self) -> str:
        return "\n".join(self.world.broken)


@pytest.fixture
def story() -> Story:
    return Story()


TRACKED = {"finalizers": ["batch.kubernetes.io/job-tracking"]}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def replica_set(story: Story, size: int, generation: int = 1, seen: int = 0, owner: Object | None = None) -> Object:
    return story.put(
        "ReplicaSet", "rs", owner, spec={"replicas": size}, status={"observedGeneration": seen},
        meta={"generation": generation},
    )  # fmt: skip


def test_a_pod_too_many_of_a_replica_set_is_seen(story: Story) -> None:
    rs = replica_set(story, 1)
    story.pod("a", rs)
    assert not story.broken
    story.pod("b", rs)
    assert "rs has 2 pods where 1 may be" in story.broken


def test_a_size_that_the_controller_may_still_have_before_its_eyes_is_allowed(story: Story) -> None:
    replica_set(story, 2, 1)
    rs = replica_set(story, 1, 2, seen=1)
    story.pod("a", rs)
    story.pod("b", rs)
    assert not story.broken
    rs = replica_set(story, 1, 2, seen=2)
    story.pod("c", rs)
    assert "3 pods where 1 may be" in story.broken


def deployment(story: Story, surge: Any = 1, unavailable: Any = 0, size: int = 2, **more: Any) -> Object:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return story.put("Deployment", "web", spec={"replicas": size, "strategy": strategy}, meta={"generation": 1}, **more)


def test_more_wanted_than_the_surge_allows_is_seen(story: Story) -> None:
    web = deployment(story)
    story.put("ReplicaSet", "old", web, spec={"replicas": 2})
    story.put("ReplicaSet", "new", web, spec={"replicas": 1})
    assert not story.broken
    story.put("ReplicaSet", "new", web, spec={"replicas": 2})
    assert "want 4 pods where 3 may be" in story.broken


def test_too_few_that_stay_are_seen_once_all_were_there_and_if_nobody_hurt_them(story: Story) -> None:
    web = deployment(story, status={"observedGeneration": 1, "replicas": 2})
    rs = story.put("ReplicaSet", "old", web, spec={"replicas": 2}, status={"replicas": 2})
    story.pod("a", rs)
    assert not story.broken
    story.pod("b", rs)
    story.world.calm = lambda: False
    story.pod("b", rs, is_ready=False)
    assert not story.broken
    story.world.calm = lambda: True
    story.pod("b", rs, meta=GOING)
    assert "1 pods of web are ready where 2 are to stay" in story.broken


def test_pods_that_a_smaller_size_takes_late_are_nobodys_fault(story: Story) -> None:
    web = deployment(story, size=1)
    rs = story.put("ReplicaSet", "old", web, spec={"replicas": 2})
    story.pod("a", rs)
    story.pod("b", rs)
    rs = story.put("ReplicaSet", "old", web, spec={"replicas": 1}, status={"replicas": 2})
    deployment(story, size=2)
    story.pod("b", rs, meta=GOING)
    assert not story.broken


def test_recreate_with_two_generations_is_seen(story: Story) -> None:
    web = story.put("Deployment", "web", spec={"replicas": 1, "strategy": {"type": "Recreate"}})
    story.pod("a", story.put("ReplicaSet", "old", web, spec={"replicas": 1}), meta=GOING)
    story.pod("b", story.put("ReplicaSet", "new", web, spec={"replicas": 1}))
    assert "b begins while a is there still" in story.broken


def test_a_living_replica_set_that_is_collected_is_seen(story: Story) -> None:
    story.drop(story.put("ReplicaSet", "old", deployment(story), spec={"replicas": 1}))
    assert "old was deleted with 1 pods wanted" in story.broken


@pytest.mark.parametrize(("surge", "allowed"), [(0, 1), (1, 2)])
def test_a_daemon_pod_too_many_on_a_node_is_seen(story: Story, surge: int, allowed: int) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": 1 - surge}
    ds = story.put("DaemonSet", "ds", spec={"updateStrategy": {"rollingUpdate": rolling}})
    for number in range(allowed):
        story.pod(f"p{number}", ds, spec={"nodeName": "n"})
    story.pod("q", ds, spec={"nodeName": "m"})
    assert not story.broken
    story.pod("r", ds, spec={"nodeName": "n"})
    assert f"n has {allowed + 1} pods of ds" in story.broken


def test_a_daemon_pod_that_does_not_wait_for_the_last_one_is_seen(story: Story) -> None:
    ds = story.put("DaemonSet", "ds", spec={"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}})
    story.pod("a", ds, spec={"nodeName": "n"}, meta=GOING)
    story.pod("b", ds, spec={"nodeName": "n"})
    assert "b begins before the pod of its node has gone" in story.broken


def test_ordinals_out_of_order_are_seen(story: Story) -> None:
    db = story.put("StatefulSet", "db", spec={"podManagementPolicy": "OrderedReady"})
    story.pod("db-0", db, is_ready=False)
    story.pod("db-1", db)
    assert "db-1 begins while ordinals [0] are not ready" in story.broken


def job(story: Story, name: str = "sums", owner: Object | None = None, **status: Any) -> Object:
    spec = {"parallelism": 1, "completions": 2, **status.pop("spec", {})}
    return story.put("Job", name, owner, spec=spec, status=status)


def test_a_job_that_counts_more_than_succeeded_is_seen(story: Story) -> None:
    story.pod("a", job(story), "Succeeded")
    job(story, uncountedTerminatedPods={"succeeded": ["uid-a"]})
    job(story, succeeded=1)
    assert not story.broken
    job(story, succeeded=2)
    assert "where 1 succeeded" in story.broken


def test_a_pod_that_is_counted_again_is_seen(story: Story) -> None:
    story.pod("a", job(story), "Succeeded")
    job(story, uncountedTerminatedPods={"succeeded": ["uid-a"]})
    job(story, succeeded=1)
    job(story, succeeded=0, uncountedTerminatedPods={"succeeded": ["uid-a"]})
    assert "is counted again" in story.broken
    assert "counted 1 succeeded and now 0" in story.broken


def test_a_pod_that_is_let_go_uncounted_is_seen(story: Story) -> None:
    sums = job(story)
    story.pod("a", sums, "Succeeded", meta=TRACKED)
    story.pod("a", sums, "Succeeded")
    assert "was let go and is not counted" in story.broken


def test_a_job_pod_that_nobody_needs_is_seen(story: Story) -> None:
    sums = job(story)
    story.pod("a", sums, "Succeeded")
    story.pod("b", sums)
    assert not story.broken
    story.pod("c", sums)
    assert "has 2 active pods where 1 may be" in story.broken
    assert "job sums of 2: 1 are done and 2 run" in story.broken


def test_an_index_that_runs_twice_or_again_is_seen(story: Story) -> None:
    sums = job(story, spec={"completionMode": "Indexed", "parallelism": 3}, completedIndexes="1")
    index = "batch.kubernetes.io/job-completion-index"
    story.pod("a", sums, meta={"annotations": {index: "0"}})
    story.pod("b", sums, meta={"annotations": {index: "0"}})
    story.pod("c", sums, meta={"annotations": {index: "1"}})
    assert "index 0 of job sums runs twice" in story.broken
    assert "index 1 of job sums is done and runs again" in story.broken


def test_forbidden_jobs_that_meet_are_seen(story: Story) -> None:
    tick = story.put("CronJob", "tick", spec={"concurrencyPolicy": "Forbid"})
    done = [{"type": "Complete", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]
    job(story, "tick-1", tick, conditions=done, succeeded=2)
    job(story, "tick-2", tick)
    assert "run at once" not in story.broken
    job(story, "tick-3", tick)
    assert "tick-2 and tick-3 run at once" in story.broken


def test_a_job_deleted_before_its_time_is_seen(story: Story) -> None:
    done = [{"type": "Failed", "status": "True", "lastTransitionTime": "1970-01-01T00:16:40Z"}]
    story.drop(job(story, spec={"ttlSecondsAfterFinished": 30}, conditions=done))
    assert "deleted before its 30 s were over" in story.broken


def test_a_volume_for_two_and_a_claim_that_moves_are_seen(story: Story) -> None:
    story.put("PersistentVolumeClaim", "a", spec={"volumeName": "v"})
    story.put("PersistentVolumeClaim", "b", spec={"volumeName": "v"})
    assert "volume v is bound to a, b" in story.broken
    story.put("PersistentVolumeClaim", "a", spec={"volumeName": "w"})
    assert "claim a moved from volume v to w" in story.broken


def test_a_bound_volume_that_is_lost_is_seen(story: Story) -> None:
    story.put("PersistentVolumeClaim", "a", spec={"volumeName": "v"}, status={"phase": "Bound"})
    volume = story.put("PersistentVolume", "v", spec={"claimRef": {"uid": "uid-a", "name": "a"}})
    story.drop(volume)
    assert "volume v was lost to its bound claim a" in story.broken


def test_a_budget_that_is_not_kept_is_seen(story: Story) -> None:
    labels = {"labels": {"app": "web"}}
    story.put("PodDisruptionBudget", "web", spec={"selector": {"matchLabels": labels["labels"]}, "minAvailable": 1})
    story.pod("a", None, meta=labels)
    story.pod("b", None, meta=labels)
    story.pod("a", None, meta={**labels, **GOING})
    assert not story.broken
    story.pod("b", None, meta={**labels, **GOING})
    assert "0 pods are ready where the budget web keeps 1" in story.broken


def test_shares_and_indexes_are_read_as_kubernetes_does() -> None:
    assert (share("25%", 5, up=True), share("25%", 5, up=False), share(3, 5, up=True)) == (2, 1, 3)
    assert indexes("0,2-4,7") == {0, 2, 3, 4, 7}
