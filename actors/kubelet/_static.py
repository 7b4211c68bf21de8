"""Static pods: manifests in a directory that a kubelet runs on its own account.

Owns reading them (`ManifestSource`, on a thread of its own), what upstream adds to them, and their mirror
pods, by which the API shows them: made anew when somebody deletes one, removed with the manifest.
What happens to a mirror pod never touches the containers.

https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from actors.kernel import Child, Ref, ThreadActor, handles
from actors.kubelet._messages import MirrorChanged, PodRemoved
from actors.kubelet._paths import Paths
from actors.kubelet._status import rfc3339
from protocol.api import StatusError
from protocol.message import Message

__all__ = ["HASH", "MIRROR", "ManifestSource", "StaticPods", "is_mirror", "static_pod"]

Object = dict[str, Any]
HASH = "kubernetes.io/config.hash"
SEEN = "kubernetes.io/config.seen"
SOURCE = "kubernetes.io/config.source"
MIRROR = "kubernetes.io/config.mirror"
LOOK_S = 1.0
RETRY_S = 2.0
NEVER_LEAVE = {"operator": "Exists", "effect": "NoExecute"}


class Manifests(Message, frozen=True):
    """What is in the directory now: (file name, pod) each."""

    pods: tuple[tuple[str, Object], ...]


class Look(Message, frozen=True):
    """Asked: read the directory; answered by `Manifests`."""


class ManifestSource(ThreadActor):
    """Reads a directory of manifests, and tells `kubelet` whenever it has changed."""

    def __init__(self, directory: str, kubelet: Ref) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.kubelet = kubelet
        self.known: tuple[tuple[str, Object], ...] | None = None
        self.complained: dict[str, str] = {}

    @handles(Look)
    def look(self, message: Look) -> Manifests:
        """A file that cannot be read is left out, and said so once it is so."""
        import yaml

        found: list[tuple[str, Object]] = []
        try:
            files = sorted(p for p in self.directory.iterdir() if p.is_file() and not p.name.startswith("."))
        except OSError as error:
            self.log.warning("manifests_not_read", directory=str(self.directory), error=str(error))
            files = []
        for path in files:
            try:
                pod = yaml.safe_load(path.read_text())
            except (OSError, ValueError, yaml.YAMLError) as error:
                self._complain(path.name, " ".join(str(error).split()))
                continue
            if isinstance(pod, dict) and pod.get("kind") == "Pod" and (pod.get("spec") or {}).get("containers"):
                found.append((path.name, pod))
            else:
                self._complain(path.name, "it holds no Pod with containers")
        self.complained = {n: w for n, w in self.complained.items() if any(p.name == n for p in files)}
        told = Manifests(tuple(found))
        if self.known is not None and self.known != told.pods:
            self.kubelet.tell(told)
        self.known = told.pods
        return told

    def _complain(self, name: str, words: str) -> None:
        if self.complained.get(name) != words:
            self.complained[name] = words
            self.log.warning("manifest_not_read", file=name, error=words)


class LookAgain(Message, frozen=True):
    """Time to look at the directory."""


def is_mirror(pod: Object) -> bool:
    """Whether a pod of the API only shows a static one."""
    return MIRROR in (pod["metadata"].get("annotations") or {})


def static_pod(manifest: Object, node: str, seen: str) -> Object:
    """The pod that a manifest means on a node."""
    meta = dict(manifest.get("metadata") or {})
    uid = hashlib.md5(orjson.dumps([node, manifest], option=orjson.OPT_SORT_KEYS), usedforsecurity=False).hexdigest()
    meta["name"] = f"{meta.get('name', 'static')}-{node}"
    meta["namespace"] = meta.get("namespace") or "default"
    meta["uid"] = uid
    meta["annotations"] = {**(meta.get("annotations") or {}), HASH: uid, SEEN: seen, SOURCE: "file"}
    spec = dict(manifest["spec"])
    spec["nodeName"] = node
    spec["tolerations"] = [*(spec.get("tolerations") or ()), NEVER_LEAVE]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec["containers"] = [{"imagePullPolicy": _policy(c.get("image", "")), **c} for c in spec["containers"]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {}}


def _policy(image: str) -> str:
    return "Always" if image.endswith(":latest") or ":" not in image.rpartition("/")[2] else "IfNotPresent"


def mirror_of(pod: Object, node: Object) -> Object:
    """The pod by which the API shows a static one."""
    meta = {k: v for k, v in pod["metadata"].items() if k not in ("uid", "resourceVersion")}
    meta["annotations"] = {**meta["annotations"], MIRROR: meta["annotations"][HASH]}
    own = node.get("metadata") or {}
    if own.get("uid"):
        owner = {"apiVersion": "v1", "kind": "Node", "name": own["name"], "uid": own["uid"], "controller": True}
        meta["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod["spec"]}


class StaticPods(Paths):
    """Part of the kubelet; see the module."""

    def begin_static(self) -> None:
        """Nothing is known at the start."""
        self.static: dict[tuple[str, str], Object] = {}
        self.waiting_static: dict[tuple[str, str], Object] = {}
        """Pods whose predecessor of the same name still ends."""
        self.source: Ref | None = None
        self.mirroring = False

    async def start_static(self) -> None:
        """Run what the directory holds, whether or not there is an API server yet."""
        directory = self.config.static_pod_path
        if not directory:
            return
        await self.configure_runtime(self.config.pod_cidr or self.config.fallback_pod_cidr)
        kubelet = self.ref
        self.source = self.spawn(Child("manifests", lambda: ManifestSource(directory, kubelet)))
        self.manifests(await self.ask(self.source, Look()))
        self.every(LOOK_S, LookAgain())

    @handles(LookAgain)
    def look_again(self, message: LookAgain) -> None:
        if self.source is not None:
            self.source.ask(Look(), block=False)

    @handles(Manifests)
    def manifests(self, message: Manifests) -> None:
        """Start what is new, end what is gone; what has changed is both."""
        seen = rfc3339(self.clock.now())
        wanted: dict[tuple[str, str], Object] = {}
        for _, manifest in message.pods:
            pod = static_pod(manifest, self.node.name, seen)
            wanted[_key(pod)] = pod
        for key, pod in list(self.static.items()):
            new = wanted.get(key)
            if new is None or new["metadata"]["uid"] != pod["metadata"]["uid"]:
                del self.static[key]
                self._deleted(pod)
                if new is not None and pod["metadata"]["uid"] in self.node.workers:
                    self.waiting_static[key] = new
        for key in [k for k in self.waiting_static if k not in wanted]:
            del self.waiting_static[key]
        for key, pod in wanted.items():
            if key in self.waiting_static:
                self.waiting_static[key] = pod
            elif key not in self.static:
                self.static[key] = pod
                self._take(pod)
        self.mirror()

    def static_gone(self, uid: str, pod: Object | None) -> None:
        """The worker of a pod has finished: its successor's turn, if it was a static one."""
        if pod is None or HASH not in (pod["metadata"].get("annotations") or {}):
            return
        following = self.waiting_static.pop(_key(pod), None)
        if following is not None:
            self.static[_key(pod)] = following
            self._take(following)
        self.mirror()

    # -- mirror pods

    def mirror_seen(self, pod: Object) -> None:
        """The API has a mirror pod."""
        self.node.mirrors[_key(pod)] = pod
        static = self.static.get(_key(pod))
        meta = pod["metadata"]
        if (
            static is None
            or meta.get("deletionTimestamp")
            or meta["annotations"][MIRROR] != static["metadata"]["annotations"][HASH]
        ):
            self.mirror()
            return
        worker = self.node.workers.get(static["metadata"]["uid"])
        if worker is not None:
            worker.tell(MirrorChanged())

    def mirror_gone(self, pod: Object) -> None:
        """The API has it no more."""
        self.node.mirrors.pop(_key(pod), None)
        self.mirror()

    def mirror(self) -> None:
        """Make mirror pods and static pods agree, in the background."""
        if not self.mirroring and self.registered and self.informer_ready:
            self.mirroring = True
            self.background(self._mirror())

    async def _mirror(self) -> None:
        try:
            while await self._mirror_once():
                await self.sleep(RETRY_S)
        finally:
            self.mirroring = False

    async def _mirror_once(self) -> bool:
        """True if something could not be done."""
        failed = False
        for key, pod in list(self.node.mirrors.items()):
            static = self.static.get(key)
            stale = static is None and key not in self.waiting_static and not self._ending(key)
            changed = static is not None and pod["metadata"]["annotations"][MIRROR] != static["metadata"]["uid"]
            if stale or changed or pod["metadata"].get("deletionTimestamp"):
                try:
                    uid = pod["metadata"]["uid"]
                    await self.client.delete("pods", key[1], key[0], uid=uid, grace_period_s=0)
                except StatusError as error:
                    if error.code not in (404, 409):
                        failed = True
        for key, pod in list(self.static.items()):
            if key in self.node.mirrors:
                continue
            try:
                await self.client.create("pods", mirror_of(pod, self.node_object))
            except StatusError as error:
                if error.code != 409:
                    self.log.info("mirror_not_made", pod=key[1], error=error.message)
                    failed = True
        return failed

    def _ending(self, key: tuple[str, str]) -> bool:
        return any(_key(p) == key and uid in self.node.workers for uid, p in self.node.pods.items())

    informer_ready = False

    def _take(self, pod: Object, refusal: tuple[str, str] | None = None) -> None:
        raise NotImplementedError

    def _deleted(self, pod: Object) -> None:
        worker = self.node.workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.tell(PodRemoved())


def _key(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("namespace", ""), pod["metadata"]["name"]
