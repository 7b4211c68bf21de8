"""What must hold at every moment, whatever fails: a rule per controller.

A `World` holds the objects as of one revision. A `Rule` is told each change after it was made, and says
what must not be. Rules know only what was committed, so they state what a controller can guarantee though
its view is late: a ReplicaSet's pods, say, are counted against the sizes that its controller may still
have before its eyes (those of generations from the observed one on), and what depends on pods that
somebody hurts from outside is asked of calm histories only.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]


def uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def owner(obj: Object) -> tuple[str, str]:
    """(kind, uid) of the controlling owner."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference["kind"], reference["uid"]
    return "", ""


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def finished(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def active(pod: Object) -> bool:
    return not finished(pod) and not deleting(pod)


def true(obj: Object, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def ready(pod: Object) -> bool:
    return active(pod) and true(pod, "Ready")


def over(job: Object) -> bool:
    return true(job, "Complete") or true(job, "Failed")


def seconds(stamp: str) -> float:
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))


def indexes(text: str) -> set[int]:
    """The numbers of `0,2-4`."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


class World:
    """All objects as of `revision`; `calm` says whether nothing but the control plane was disturbed, and
    `cleaning` whether somebody deletes everything now."""

    def __init__(self) -> None:
        self.revision = self.present = 0
        self.now = self.wall = 0.0
        self.calm: Callable[[], bool] = lambda: True
        self.cleaning = False
        self.broken: list[str] = []
        self.by_kind: dict[str, dict[str, Object]] = {}
        self.owned: dict[str, dict[str, Object]] = {}
        self.names: set[tuple[str, str]] = set()
        self.rules: list[Rule] = [kind(self) for kind in RULES]
        self._at: dict[str, Object] = {}

    def all(self, kind: str) -> list[Object]:
        return list(self.by_kind.get(kind, {}).values())

    def find(self, kind: str, wanted: str) -> Object | None:
        return self.by_kind.get(kind, {}).get(wanted)

    def pods_of(self, owner_uid: str) -> list[Object]:
        return [o for o in self.owned.get(owner_uid, {}).values() if o["kind"] == "Pod"]

    def say(self, text: str) -> None:
        self.broken.append(f"t={self.now:.3f} revision {self.present}: {text}")

    def changed(self, key: str, new: Object | None, revision: int, now: float, wall: float) -> None:
        """The object under `key` is `new` from `revision` on; `now` monotonic, `wall` since the epoch."""
        self.present, self.now, self.wall = revision, now, wall
        old = self._at.pop(key, None)
        if old is not None:
            self.by_kind[old["kind"]].pop(uid(old), None)
            self.owned.get(owner(old)[1], {}).pop(uid(old), None)
        if new is not None:
            self._at[key] = new
            self.by_kind.setdefault(new["kind"], {})[uid(new)] = new
            self.owned.setdefault(owner(new)[1], {})[uid(new)] = new
            self.names.add((new["kind"], name(new)))
        kind = (new or old or {"kind": ""})["kind"]
        for rule in self.rules:
            handler = getattr(rule, f"on_{kind.lower()}", None)
            if handler is not None:
                handler(old, new)


class Rule:
    """`on_<kind>(old, new)` is called after each change of an object of the kind."""

    def __init__(self, world: World) -> None:
        self.world = world


class Sizes:
    """The sizes that an object was given, by generation."""

    def __init__(self) -> None:
        self.asked: dict[str, list[tuple[int, int]]] = {}

    def note(self, obj: Object) -> None:
        asked = self.asked.setdefault(uid(obj), [])
        entry = (obj["metadata"].get("generation", 0), obj["spec"].get("replicas", 1))
        if entry not in asked:
            asked.append(entry)

    def most(self, obj: Object) -> int:
        """The largest that its controller may know as the present one."""
        seen = (obj.get("status") or {}).get("observedGeneration") or 0
        present = obj["spec"].get("replicas", 1)
        return max([present, *(size for generation, size in self.asked.get(uid(obj), ()) if generation >= seen)])


class ReplicasAreNotExceeded(Rule):
    """A ReplicaSet or ReplicationController makes no pod beyond its size."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sizes = Sizes()

    def on_replicaset(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.sizes.note(new)

    on_replicationcontroller = on_replicaset

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        if old is not None or new is None:
            return
        kind, owner_uid = owner(new)
        if kind not in ("ReplicaSet", "ReplicationController"):
            return
        controller = self.world.find(kind, owner_uid)
        if controller is None or deleting(controller):
            return
        count = sum(map(active, self.world.pods_of(owner_uid)))
        if count > self.sizes.most(controller):
            self.world.say(f"{kind} {name(controller)} has {count} pods where {self.sizes.most(controller)} may be")


def observed(obj: Object) -> bool:
    """Whether its controller has carried out the present size, and no other that it was given before."""
    status = obj.get("status") or {}
    seen = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    return bool(seen and status.get("replicas", 0) == obj["spec"]["replicas"])


def share(value: Any, total: int, *, up: bool) -> int:
    """An int-or-percentage of `total`."""
    if not isinstance(value, str):
        return int(value)
    hundredths = int(value.rstrip("%")) * total
    return -(-hundredths // 100) if up else hundredths // 100


class RolloutsStayWithinTheirBounds(Rule):
    """A Deployment's ReplicaSets never want more than maxSurge allows; a rollout leaves maxUnavailable
    standing; Recreate has no two generations of pods."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sizes = Sizes()
        self.whole: set[str] = set()

    def on_deployment(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        self.sizes.note(new)
        if old is not None and new["spec"]["replicas"] > old["spec"]["replicas"]:
            self.whole.discard(uid(new))

    def on_replicaset(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self._gone(old)
            return
        grown = new["spec"]["replicas"] - (0 if old is None else old["spec"]["replicas"])
        deployment = self.world.find(*owner(new))
        if grown <= 0 or deployment is None:
            return
        rolling = deployment["spec"]["strategy"].get("rollingUpdate")
        if rolling is None:
            return
        sets = [s for s in self.world.owned[uid(deployment)].values() if s["kind"] == "ReplicaSet"]
        wanted = sum(s["spec"]["replicas"] for s in sets)
        size = self.sizes.most(deployment)
        allowed = size + share(rolling["maxSurge"], size, up=True)
        if wanted > allowed:
            self.world.say(f"the ReplicaSets of {name(deployment)} want {wanted} pods where {allowed} may be")

    def _gone(self, old: Object | None) -> None:
        if old is None or self.world.cleaning or not old["spec"]["replicas"]:
            return
        deployment = self.world.find(*owner(old))
        if deployment is not None and not deleting(deployment):
            self.world.say(f"ReplicaSet {name(old)} was deleted with {old['spec']['replicas']} pods wanted")

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        kind, owner_uid = owner(pod)
        replica_set = self.world.find("ReplicaSet", owner_uid) if kind == "ReplicaSet" else None
        deployment = self.world.find(*owner(replica_set)) if replica_set is not None else None
        if deployment is None or replica_set is None:
            return
        sets = [s for s in self.world.owned[uid(deployment)].values() if s["kind"] == "ReplicaSet"]
        rolling = deployment["spec"]["strategy"].get("rollingUpdate")
        if rolling is None:
            others = [p for s in sets if s is not replica_set for p in self.world.pods_of(uid(s)) if not finished(p)]
            if old is None and others and self.world.calm():
                self.world.say(f"{name(pod)} begins while {', '.join(map(name, others))} is there still")
            return
        self._count_ready(deployment, rolling, sets)

    def _count_ready(self, deployment: Object, rolling: Object, sets: list[Object]) -> None:
        size = deployment["spec"]["replicas"]
        standing = sum(ready(p) for s in sets for p in self.world.pods_of(uid(s)))
        if standing >= size and all(map(observed, [deployment, *sets])):
            self.whole.add(uid(deployment))
        least = size - share(rolling["maxUnavailable"], size, up=False)
        if uid(deployment) in self.whole and standing < least and self.world.calm() and not deleting(deployment):
            self.world.say(f"{standing} pods of {name(deployment)} are ready where {least} are to stay")


class OnePodPerNode(Rule):
    """A DaemonSet has one pod per node, with surge one more of the other template; a rollout leaves all but
    maxUnavailable standing."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.whole: set[str] = set()

    @staticmethod
    def node(pod: Object) -> str:
        affinity = pod["spec"].get("affinity") or {}
        terms = affinity.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        for term in terms.get("nodeSelectorTerms") or ():
            for field in term.get("matchFields") or ():
                return str(field["values"][0])
        return str(pod["spec"].get("nodeName", ""))

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        kind, owner_uid = owner(pod)
        daemon_set = self.world.find(kind, owner_uid) if kind == "DaemonSet" else None
        if daemon_set is None or deleting(daemon_set):
            return
        pods = self.world.pods_of(owner_uid)
        rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        surge = bool(rolling.get("maxSurge"))
        if old is None:
            here = [p for p in pods if self.node(p) == self.node(pod) and not finished(p)]
            standing = [p for p in here if not deleting(p)]
            if len(standing) > 1 + surge:
                self.world.say(f"{self.node(pod)} has {len(standing)} pods of {name(daemon_set)}")
            elif not surge and len(here) > 1:
                self.world.say(f"{name(pod)} begins before the pod of its node has gone")
        nodes = len(self.world.all("Node"))
        up = len({self.node(p) for p in pods if ready(p)})
        if up == nodes:
            self.whole.add(owner_uid)
        least = nodes - int(rolling.get("maxUnavailable") or 0)
        if owner_uid in self.whole and up < least and self.world.calm():
            self.world.say(f"{name(daemon_set)} is ready on {up} nodes where {least} are to stay")


class OrdinalsInOrder(Rule):
    """An ordered StatefulSet makes a pod only when the ones before it are there, and never leaves more than
    one of those it has down."""

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        if old is not None or new is None:
            return
        kind, owner_uid = owner(new)
        stateful_set = self.world.find(kind, owner_uid) if kind == "StatefulSet" else None
        if stateful_set is None or not self.world.calm():
            return
        if stateful_set["spec"].get("podManagementPolicy") == "Parallel":
            return
        ordinal = int(name(new).rpartition("-")[2])
        standing = {int(name(p).rpartition("-")[2]) for p in self.world.pods_of(owner_uid) if ready(p)}
        missing = set(range(ordinal)) - standing
        if missing:
            self.world.say(f"{name(new)} begins while ordinals {sorted(missing)} are not ready")


class JobsCountExactly(Rule):
    """No pod of a Job is counted twice, none is counted that did not end so, none is let go uncounted, and
    none is made that is not needed."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.succeeded: dict[str, set[str]] = {}
        self.ended: dict[str, set[str]] = {}
        self.clean: dict[str, set[str]] = {}
        self.counted: dict[str, set[str]] = {}
        self.pending: dict[str, set[str]] = {}

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        kind, job_uid = owner(pod)
        if kind != "Job":
            return
        if new is not None and phase(new) == "Succeeded":
            self.succeeded.setdefault(job_uid, set()).add(uid(new))
            if not deleting(new) and (old is None or phase(old) != "Succeeded"):
                self.clean.setdefault(job_uid, set()).add(uid(new))
        if new is not None and (phase(new) == "Failed" or deleting(new)):
            self.ended.setdefault(job_uid, set()).add(uid(new))
        job = self.world.find("Job", job_uid)
        if job is None or deleting(job):
            return
        if old is None and new is not None:
            self._made(job, new)
        elif old is not None and self._held(old) and (new is None or not self._held(new)):
            self._let_go(job, old)

    @staticmethod
    def _held(pod: Object) -> bool:
        return "batch.kubernetes.io/job-tracking" in (pod["metadata"].get("finalizers") or ())

    @staticmethod
    def _index(pod: Object) -> int:
        return int(pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", -1))

    def _made(self, job: Object, pod: Object) -> None:
        spec, pods = job["spec"], self.world.pods_of(uid(job))
        running = [p for p in pods if active(p)]
        if len(running) > spec["parallelism"]:
            self.world.say(f"job {name(job)} has {len(running)} active pods where {spec['parallelism']} may be")
        if over(job):
            self.world.say(f"job {name(job)} is over and makes {name(pod)}")
        if spec.get("completionMode") == "Indexed":
            index = self._index(pod)
            if sum(self._index(p) == index for p in running) > 1:
                self.world.say(f"index {index} of job {name(job)} runs twice")
            if index in indexes((job.get("status") or {}).get("completedIndexes", "")):
                self.world.say(f"index {index} of job {name(job)} is done and runs again")
            return
        done = len(self.clean.get(uid(job), ()))
        if done + len(running) > spec["completions"]:
            self.world.say(f"job {name(job)} of {spec['completions']}: {done} are done and {len(running)} run")

    def _let_go(self, job: Object, pod: Object) -> None:
        if not finished(pod) or over(job):
            return
        status = job.get("status") or {}
        waiting = status.get("uncountedTerminatedPods") or {}
        if uid(pod) in (*waiting.get("succeeded", ()), *waiting.get("failed", ())):
            return
        if uid(pod) in self.counted.get(uid(job), ()):
            return
        if self._index(pod) in indexes(status.get("completedIndexes", "")):
            return
        self.world.say(f"{name(pod)} of job {name(job)} was let go and is not counted")

    def on_job(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        status, spec = new.get("status") or {}, new["spec"]
        before = (old.get("status") or {}) if old is not None else {}
        waiting = status.get("uncountedTerminatedPods") or {}
        succeeded, failed = waiting.get("succeeded") or [], waiting.get("failed") or []
        good = self.succeeded.get(uid(new), set())
        if spec.get("completionMode") != "Indexed" and status.get("succeeded", 0) + len(succeeded) > len(good):
            self.world.say(f"job {name(new)} counts {status} where {len(good)} succeeded")
        bad = self.ended.get(uid(new), set())
        if status.get("failed", 0) + len(failed) > len(bad):
            self.world.say(f"job {name(new)} counts {status} where {len(bad)} failed")
        if status.get("succeeded", 0) > spec["completions"]:
            self.world.say(f"job {name(new)} counts {status['succeeded']} of {spec['completions']}")
        for count in ("succeeded", "failed"):
            if status.get(count, 0) < before.get(count, 0):
                self.world.say(f"job {name(new)} counted {before[count]} {count} and now {status.get(count, 0)}")
        if old is not None and over(old) and not over(new):
            self.world.say(f"job {name(new)} was over and goes on")
        if true(new, "Complete") and status.get("succeeded") != spec["completions"]:
            self.world.say(f"job {name(new)} is complete with {status}")
        self._uncounted(new, [*succeeded, *failed])

    def _uncounted(self, job: Object, listed: list[str]) -> None:
        counted = self.counted.setdefault(uid(job), set())
        if len(set(listed)) < len(listed) or counted & set(listed):
            self.world.say(f"a pod of job {name(job)} is counted again: {listed}")
        counted |= self.pending.get(uid(job), set()) - set(listed)
        self.pending[uid(job)] = set(listed)


class ForbiddenJobsDoNotMeet(Rule):
    """A CronJob that forbids it never has two Jobs at once, and no Job is deleted before its time."""

    def on_job(self, old: Object | None, new: Object | None) -> None:
        if new is not None and old is None:
            kind, owner_uid = owner(new)
            cron_job = self.world.find(kind, owner_uid) if kind == "CronJob" else None
            if cron_job is not None and cron_job["spec"].get("concurrencyPolicy") == "Forbid":
                running = [o for o in self.world.owned[owner_uid].values() if o["kind"] == "Job" and not over(o)]
                if len(running) > 1:
                    self.world.say(f"{' and '.join(map(name, running))} run at once")
        if old is not None and not deleting(old) and (new is None or deleting(new)) and not self.world.cleaning:
            self._deleted(old)

    def _deleted(self, job: Object) -> None:
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return
        ends = [
            seconds(c["lastTransitionTime"])
            for c in (job.get("status") or {}).get("conditions") or ()
            if c["type"] in ("Complete", "Failed") and c["status"] == "True"
        ]
        if not ends or self.world.wall < max(ends) + ttl_s:
            self.world.say(f"job {name(job)} was deleted before its {ttl_s} s were over")


class VolumesAreBoundOnce(Rule):
    """A claim and a volume that are bound stay bound to each other, and nobody else gets the volume."""

    def on_persistentvolumeclaim(self, old: Object | None, new: Object | None) -> None:
        before = old["spec"].get("volumeName") if old is not None else None
        if new is None:
            return
        volume = new["spec"].get("volumeName")
        if before and volume != before:
            self.world.say(f"claim {name(new)} moved from volume {before} to {volume}")
        if volume and not before:
            others = [c for c in self.world.all("PersistentVolumeClaim") if c["spec"].get("volumeName") == volume]
            if len(others) > 1:
                self.world.say(f"volume {volume} is bound to {', '.join(map(name, others))}")

    def on_persistentvolume(self, old: Object | None, new: Object | None) -> None:
        holder = ((old or {}).get("spec") or {}).get("claimRef") or {}
        if old is not None and holder.get("uid"):
            now = ((new or {}).get("spec") or {}).get("claimRef") or {}
            if now.get("uid") and now["uid"] != holder["uid"]:
                self.world.say(f"volume {name(old)} went from claim {holder['name']} to {now['name']}")
            claim = self.world.find("PersistentVolumeClaim", holder["uid"])
            bound = claim is not None and (claim.get("status") or {}).get("phase") == "Bound"
            if bound and now.get("uid") != holder["uid"]:
                self.world.say(f"volume {name(old)} was lost to its bound claim {holder['name']}")


class BudgetsAreKept(Rule):
    """Evictions leave what a PodDisruptionBudget demands, as long as nothing else takes pods."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.whole: set[str] = set()

    def on_pod(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        for budget in self.world.all("PodDisruptionBudget"):
            wanted = budget["spec"]["selector"]["matchLabels"]
            if not wanted.items() <= (pod["metadata"].get("labels") or {}).items():
                continue
            mine = [p for p in self.world.all("Pod") if wanted.items() <= (p["metadata"].get("labels") or {}).items()]
            least = budget["spec"]["minAvailable"]
            standing = sum(map(ready, mine))
            if standing > least:
                self.whole.add(uid(budget))
            elif uid(budget) in self.whole and standing < least and self.world.calm() and not self.world.cleaning:
                self.world.say(f"{standing} pods are ready where the budget {name(budget)} keeps {least}")


RULES: tuple[type[Rule], ...] = (
    ReplicasAreNotExceeded,
    RolloutsStayWithinTheirBounds,
    OnePodPerNode,
    OrdinalsInOrder,
    JobsCountExactly,
    ForbiddenJobsDoNotMeet,
    VolumesAreBoundOnce,
    BudgetsAreKept,
)
