"""Part of the kubelet: devices and cores that containers have for themselves.

Owns when they are given and given back, what of it is written down, and the plugins' host where there is one. The
rules are in `devices`. Simulated devices come from `KubeletConfig.devices`, or from the Node's annotations where
the kubelet watches its Node:

    kubekka.dev/devices: example.com/gpu=4,example.com/nic=1       ids gpu-0 ... gpu-3, nic-0
    kubekka.dev/unhealthy-devices: gpu-1,nic-0
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from actors.kernel import ActorDead, AskTimeout, Child, Ref, ThreadActor, handles
from actors.kubelet._messages import AllocationChanged, CpusChanged, MirrorChanged
from actors.kubelet._relief import Relief
from actors.kubelet._spec import SIDECAR, container_kinds, container_resources, is_terminal
from actors.kubelet.devices import AllocationError, CpuBook, DeviceBook, Granted
from actors.kubelet.devices._messages import (
    Allocate,
    DevicesListed,
    ListPodResources,
    PluginError,
    PluginGone,
    Prefer,
)
from protocol.api import StatusError
from protocol.message import Message
from protocol.quantity import value

__all__ = ["Devicing"]

Object = dict[str, Any]
Refusal = tuple[str, str]
DEVICES, UNHEALTHY = "kubekka.dev/devices", "kubekka.dev/unhealthy-devices"
CHECKPOINT, CPU_STATE = "device-plugins/kubelet_internal_checkpoint", "cpu_manager_state"
ALLOCATED = "allocated_pods_state"
PLUGIN_S = 60.0


class Load(Message, frozen=True):
    """Asked: the files that were saved, by name."""


class Save(Message, frozen=True):
    """Write a file, all of it or nothing."""

    name: str
    data: bytes


class StateFolder(ThreadActor):
    """The kubelet's files in a directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    @handles(Load)
    def load(self, message: Load) -> dict[str, bytes]:
        paths = [self.directory / name for name in (CHECKPOINT, CPU_STATE, ALLOCATED)]
        return {str(p.relative_to(self.directory)): p.read_bytes() for p in paths if p.is_file()}

    @handles(Save)
    def save(self, message: Save) -> None:
        path = self.directory / message.name
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(path.name + ".tmp")
        half.write_bytes(message.data)
        half.chmod(0o600)
        half.replace(path)


class Devicing(Relief):
    """See the module."""

    files: dict[str, Any]
    """What outlives this actor, by name: bytes, and what pods were allocated as it is."""

    def begin_devices(self) -> None:
        """Nothing is known at the start."""
        self.book = DeviceBook()
        self.by_plugin: set[str] = set()
        self.folder: Ref | None = None
        self.node.book = self.book

    async def start_devices(self) -> None:
        """Take up what is written down, and begin to listen for plugins."""
        config = self.config
        if config.state_directory:
            self.folder = self.spawn(Child("state", lambda: StateFolder(Path(config.state_directory))))
            self.files.update(await self.ask(self.folder, Load()))
        self._restore_allocations()
        known = self.files.get(CHECKPOINT)
        if known is not None:
            try:
                self.book.restore(known, self.clock.monotonic())
            except (ValueError, KeyError, TypeError) as error:
                self.log.warning("device_checkpoint_unreadable", error=str(error))
        for resource, count in config.devices.items():
            self.book.update(resource, _simulated(resource, count))
        if config.cpu_manager_policy == "static":
            self._start_cpus()
        self.admission.by_devices = self.book.devices
        if config.device_plugins and config.state_directory:
            from actors.kubelet.devices._plugins import PluginHost
            from actors.kubelet.devices._podresources import PodResources

            folder, kubelet = Path(config.state_directory), self.ref
            host = Child("device-plugins", lambda: PluginHost(folder / "device-plugins", kubelet))
            self.node.plugin_host = self.spawn(host)
            self.spawn(Child("pod-resources", lambda: PodResources(folder / "pod-resources", kubelet)))

    def _restore_allocations(self) -> None:
        known = self.files.get(ALLOCATED)
        if isinstance(known, bytes):
            try:
                known = orjson.loads(known)
            except ValueError as error:
                self.log.warning("allocations_unreadable", error=str(error))
                known = {}
        self.node.allocations = self.files[ALLOCATED] = known or {}

    def allocate(self, uid: str, resources: Object | None) -> None:
        """Note what a pod has, or that it is gone."""
        if resources is None:
            if self.node.allocations.pop(uid, None) is None:
                return
        else:
            self.node.allocations[uid] = resources
        if self.folder is not None:
            self.folder.tell(Save(ALLOCATED, orjson.dumps(self.node.allocations)))

    @handles(AllocationChanged)
    def allocation_changed(self, message: AllocationChanged) -> None:
        if message.uid in self.node.pods:
            self.allocate(message.uid, message.resources)

    def _start_cpus(self) -> None:
        config = self.config
        try:
            cpus = CpuBook.of_node(
                str(config.capacity.get("cpu", "1")), config.reserved_cpus, str(config.reserved.get("cpu", ""))
            )
            known = self.files.get(CPU_STATE)
            if known is not None:
                cpus.restore(known)
        except ValueError as error:
            self.log.error("cpu_manager_not_started", error=str(error))
            return
        self.node.cpus = cpus
        self._write(CPU_STATE, cpus.state())

    def _write(self, name: str, data: bytes) -> None:
        self.files[name] = data
        if self.folder is not None:
            self.folder.tell(Save(name, data))

    # -- what there is

    def device_capacity(self) -> tuple[dict[str, str], dict[str, str]]:
        """(capacity, allocatable)."""
        return self.book.capacity()

    def node_seen(self, node: Object) -> None:
        """The Node has changed: its annotations may tell of simulated devices."""
        annotations = node["metadata"].get("annotations") or {}
        text = annotations.get(DEVICES)
        if text is None:
            return
        sick = {d.strip() for d in (annotations.get(UNHEALTHY) or "").split(",")}
        news = False
        for part in filter(None, (p.strip() for p in text.split(","))):
            resource, _, count = part.partition("=")
            if "/" not in resource or not count.isdigit() or resource in self.by_plugin:
                self.log.warning("devices_unreadable", text=part)
                continue
            listed = {d: d not in sick for d in _simulated(resource, int(count))}
            news = self.book.update(resource, listed) or news
        if news:
            self._news_of_devices()

    @handles(DevicesListed)
    def devices_listed(self, message: DevicesListed) -> None:
        """A plugin has told what it has."""
        self.by_plugin.add(message.resource)
        if message.registered:
            self.node.tallies.devices_registered[message.resource] += 1
        if self.book.update(message.resource, message.devices) or message.registered:
            self._news_of_devices()

    @handles(PluginGone)
    def plugin_gone(self, message: PluginGone) -> None:
        self.book.plugin_gone(message.resource, self.clock.monotonic())
        self._news_of_devices()

    def forget_old_devices(self) -> None:
        """With a heartbeat: plugins that have been gone for too long are forgotten."""
        if self.book.gone_at and self.book.forget_old(self.clock.monotonic()):
            self._news_of_devices()

    def _news_of_devices(self) -> None:
        """The Node says so, and so do pods that have some of them."""
        self._write(CHECKPOINT, self.book.checkpoint())
        if self.registered:
            self.background(self._tell_capacity())
        for uid in self.book.held:
            worker = self.node.workers.get(uid)
            if worker is not None:
                worker.tell(MirrorChanged())

    async def _tell_capacity(self) -> None:
        try:
            await self.write_status()
        except StatusError as error:
            self.log.info("devices_not_reported", node=self.node.name, error=error.message)
            self.status_at = -self.config.status_report_s  # with the next heartbeat

    # -- who gets what

    def asks_plugins(self, pod: Object) -> bool:
        """Whether a plugin has to be asked before the pod is taken."""
        return self.node.plugin_host is not None and any(
            name in self.by_plugin for _, c in container_kinds(pod) for name in container_resources(c)[0]
        )

    def reserve(self, pod: Object, preferred: Any = ()) -> Refusal | None:
        """Give the pod's containers devices and cores, or say why not."""
        cpus, uid = self.node.cpus, pod["metadata"]["uid"]
        wants = self.book.wants(pod)
        if not wants and cpus is None:
            return None
        try:
            chosen = self.book.choose(pod, dict(preferred)) if wants else []
            mine = cpus is not None and cpus.choose(pod)
        except AllocationError as error:
            self.give_back(uid)
            return "UnexpectedAdmissionError", f"Allocate failed due to {error}, which is unexpected"
        for container, resource, ids in chosen:
            if resource not in self.by_plugin:
                self.book.granted[uid, container, resource] = Granted({_variable(resource): ",".join(ids)})
        if chosen:
            self._write(CHECKPOINT, self.book.checkpoint())
        if mine:
            self._cores_changed()
        return None

    async def reserve_from_plugins(self, pod: Object) -> Refusal | None:
        """As `reserve`, and have plugins make the devices ready."""
        host, uid = self.node.plugin_host, pod["metadata"]["uid"]
        assert host is not None
        try:
            preferred = await self._preferences(host, pod)
            refusal = self.reserve(pod, preferred)
            if refusal is not None:
                return refusal
            for container, resources in list(self.book.held.get(uid, {}).items()):
                for resource, ids in resources.items():
                    if resource in self.by_plugin and (uid, container, resource) not in self.book.granted:
                        granted = await self.ask(host, Allocate(resource, ids), timeout=PLUGIN_S)
                        self.book.granted[uid, container, resource] = granted
        except (PluginError, ActorDead, AskTimeout) as error:
            self.give_back(uid)
            return "UnexpectedAdmissionError", f"Allocate failed due to {error}, which is unexpected"
        self._write(CHECKPOINT, self.book.checkpoint())
        return None

    async def _preferences(self, host: Ref, pod: Object) -> dict[tuple[str, str], tuple[str, ...]]:
        found = {}
        for _, container in container_kinds(pod):
            for resource, amount in container_resources(container)[0].items():
                free = tuple(sorted(self.book.free(resource))) if resource in self.by_plugin else ()
                if free and value(str(amount)) <= len(free):
                    wish = Prefer(resource, free, (), value(str(amount)))
                    found[container["name"], resource] = await self.ask(host, wish, timeout=PLUGIN_S)
        return found

    def give_back(self, uid: str) -> None:
        """The pod has ended, or is not taken."""
        if self.book.release(uid):
            self._write(CHECKPOINT, self.book.checkpoint())
        if self.node.cpus is not None and self.node.cpus.release(uid):
            self._cores_changed()

    def give_back_of_the_lost(self) -> None:
        """After a restart: of pods that are there no more."""
        cpus = self.node.cpus
        for uid in [*self.book.held, *(cpus.held if cpus is not None else ())]:
            if uid not in self.node.pods or is_terminal(self.node.pods[uid]):
                self.give_back(uid)
        for uid in [u for u in self.node.allocations if u not in self.node.pods]:
            self.allocate(uid, None)

    def _cores_changed(self) -> None:
        assert self.node.cpus is not None
        self._write(CPU_STATE, self.node.cpus.state())
        for uid, worker in self.node.workers.items():
            if uid not in self.node.cpus.held:
                worker.tell(CpusChanged())

    @handles(ListPodResources)
    def list_pod_resources(self, message: ListPodResources) -> Object:
        """For podresources."""
        cpus = self.node.cpus
        pods = []
        for uid, pod in self.node.pods.items():
            if is_terminal(pod):
                continue
            claims = self.node.claims.get(uid, {})
            shown = []
            for kind, container in container_kinds(pod):
                if kind not in ("main", SIDECAR):
                    continue
                name = container["name"]
                own = sorted(cpus.held.get(uid, {}).get(name, ())) if cpus is not None else []
                used = [c["name"] for c in (container.get("resources") or {}).get("claims") or ()]
                shown.append((name, self.book.of_container(uid, name), own, [claims[c] for c in used if c in claims]))
            pods.append((pod["metadata"].get("namespace", ""), pod["metadata"]["name"], shown))
        ready = {r: [d for d, healthy in devices.items() if healthy] for r, devices in self.book.devices.items()}
        allocatable = sorted(cpus.all - cpus.reserved) if cpus is not None else []
        return {"pods": pods, "devices": ready, "cpus": allocatable}


def _simulated(resource: str, count: int) -> dict[str, bool]:
    short = resource.rpartition("/")[2]
    return {f"{short}-{number}": True for number in range(count)}


def _variable(resource: str) -> str:
    """`EXAMPLE_COM_GPU`: where a simulated container reads which devices it has."""
    return "".join(c if c.isalnum() else "_" for c in resource).upper()
