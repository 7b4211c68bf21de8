"""Simulated nodes: a machine with a runtime and a kubelet on it, one by one or as Node objects come.

`SimulatedNode` supervises the two daemons of one machine, whose containers outlive them.
`NodeManager` keeps such a machine for every Node object that carries an annotation, in the manner
of KWOK. Neither knows anything of pods.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from actors.client import Client, ClientActor, Informer
from actors.kernel import Actor, Child, Ref, Restart, handles
from actors.kubelet._config import DEFAULT_CAPACITY, KubeletConfig
from actors.kubelet._kubelet import Kubelet
from actors.kubelet._node_status import parse_capacity
from protocol.message import Message

__all__ = [
    "NodeManager",
    "SimulatedNode",
    "StartKubelet",
    "StopKubelet",
    "node_ip",
    "node_pod_cidr",
    "parse_selector",
    "simulated_node",
]

Object = dict[str, Any]
RuntimeFactory = Callable[[], Callable[[], Actor]]
"""Makes a machine; what it returns makes the runtime actor on that machine, again and again."""


class StopKubelet(Message, frozen=True):
    """The kubelet falls silent; containers run on. Asked."""


class StartKubelet(Message, frozen=True):
    """The kubelet comes back. Asked."""


def node_pod_cidr(index: int) -> str:
    """The pod addresses of the index-th simulated node: 10.244.0.0/24, 10.244.1.0/24, ..."""
    block = index // 256
    second = 244 + block if block < 12 else 128 + block - 12
    if second > 243 and block >= 12:
        raise ValueError(f"no pod addresses left for node {index}")
    return f"10.{second}.{index % 256}.0/24"


def node_ip(index: int) -> str:
    """The address of the index-th simulated node."""
    return f"172.{18 + index // 62_500}.{index // 250 % 250}.{index % 250 + 2}"


def simulated_node(
    name: str,
    apiserver: Ref,
    make_runtime: Callable[[], Actor],
    *,
    number: int | None = None,
    capacity: Mapping[str, str] | None = None,
    config: KubeletConfig | None = None,
    own_addresses: bool = False,
) -> list[Child]:
    """The actors of one simulated machine, to be spawned on a host of its own.

    `make_runtime` makes the machine's runtime. `number` gives the node its addresses; without, its own
    comes from its name and those of its pods from the cluster. A `config` is used but for these
    and for `capacity`; with `own_addresses` for these too, as far as it names the node's.
    """
    base = config or KubeletConfig()
    mark = zlib.crc32(name.encode())
    addresses: dict[str, Any] = {
        "node_ips": (f"172.31.{mark // 250 % 250}.{mark % 250 + 2}",),
        "fallback_pod_cidr": f"10.{32 + mark // 256 % 32}.{mark % 256}.0/24",
    }
    if own_addresses:
        addresses["node_ips"] = base.node_ips
    if number is not None:
        addresses = {"node_ips": (node_ip(number),), "pod_cidr": node_pod_cidr(number)}
    settings = msgspec.structs.replace(base, **addresses, capacity=dict(capacity) if capacity else base.capacity)
    return [Child(name, lambda: SimulatedNode(name, apiserver, make_runtime, settings))]


class SimulatedNode(Actor):
    """One machine: `runtime` and, while it is not stopped, `kubelet` below it in the tree."""

    def __init__(self, name: str, apiserver: Ref, make_runtime: Callable[[], Actor], config: KubeletConfig) -> None:
        super().__init__()
        self.name = name
        self.apiserver = apiserver
        self.make_runtime = make_runtime
        self.config = config
        self.kubelet: Ref | None = None
        self.files: dict[str, Any] = {}
        """What kubelets of this machine have written down."""

    def on_start(self) -> None:
        self.runtime = self.spawn(Child("runtime", self.make_runtime))
        self.start_kubelet(StartKubelet())

    @handles(StartKubelet)
    def start_kubelet(self, message: StartKubelet) -> Ref:
        """The kubelet's address."""
        if self.kubelet is None or not self.kubelet.is_alive():
            name, apiserver, runtime, config, files = self.name, self.apiserver, self.runtime, self.config, self.files
            self.kubelet = self.spawn(
                Child("kubelet", lambda: Kubelet(name, apiserver, runtime, config, files), intensity=1000)
            )
        return self.kubelet

    @handles(StopKubelet)
    async def stop_kubelet(self, message: StopKubelet) -> None:
        if self.kubelet is not None:
            kubelet, self.kubelet = self.kubelet, None
            await kubelet.stop(block=False)


def parse_selector(text: str) -> tuple[str, str]:
    """`example.com/kubelet=run` as (annotation, value)."""
    key, equals, wanted = text.partition("=")
    if not key or not equals:
        raise ValueError(f"not an annotation selector: {text!r} (want KEY=VALUE)")
    return key, wanted


class NodeManager(ClientActor):
    """Takes on the Nodes whose annotation has the value that `selector` names.

    Another value makes the node's kubelet silent; the deletion of the Node ends its machine. The
    annotation `<prefix>/capacity` (the selector's own prefix, or `kubekka.dev`) says what the node
    offers: `cpu=2,memory=4Gi,pods=5`. `make_machine` makes a machine and answers what makes the
    runtime on it.
    """

    def __init__(
        self,
        apiserver: Ref,
        make_machine: RuntimeFactory,
        selector: str = "kubekka.dev/kubelet=run",
        config: KubeletConfig | None = None,
    ) -> None:
        super().__init__()
        self.apiserver = apiserver
        self.make_machine = make_machine
        self.key, self.wanted = parse_selector(selector)
        self.config = config or KubeletConfig(os_image="sim", kernel_version="sim", machine_id="sim")
        self.client = Client(self, apiserver, user_agent="kubekka-nodes")
        self.informer = Informer(
            self.client,
            "nodes",
            on_add=lambda n: self._seen(n),
            on_update=lambda _, n: self._seen(n),
            on_delete=self._removed,
        )
        self.nodes: dict[str, tuple[str, Ref]] = {}
        self.running: dict[str, bool] = {}
        self.made = 0

    def on_start(self) -> None:
        self.informer.start()

    def _capacity(self, annotations: dict[str, str]) -> dict[str, str]:
        prefix = self.key.partition("/")[0]
        text = annotations.get(f"{prefix}/capacity") or annotations.get("kubekka.dev/capacity")
        if not text:
            return dict(self.config.capacity or DEFAULT_CAPACITY)
        try:
            return parse_capacity(text)
        except ValueError as error:
            self.log.warning("node_capacity_unreadable", error=str(error))
            return dict(self.config.capacity)

    def _seen(self, node: Object) -> None:
        meta = node["metadata"]
        name, uid, annotations = meta["name"], meta["uid"], meta.get("annotations") or {}
        value = annotations.get(self.key)
        known = self.nodes.get(name)
        if known is not None and known[0] != uid:
            self._removed(node)
            known = None
        if value == self.wanted and known is None:
            self._take_on(name, uid, annotations)
        elif known is not None and (value == self.wanted) != self.running[name]:
            self.running[name] = value == self.wanted
            self.ask(known[1], StartKubelet() if self.running[name] else StopKubelet())

    def _take_on(self, name: str, uid: str, annotations: dict[str, str]) -> None:
        index = self.made
        self.made += 1
        config = msgspec.structs.replace(
            self.config,
            register=False,
            capacity=self._capacity(annotations),
            node_ips=(f"172.30.{index // 250 % 250}.{index % 250 + 2}",),
            fallback_pod_cidr=f"10.{64 + index // 256 % 32}.{index % 256}.0/24",
        )
        make_runtime = self.make_machine()
        child = Child(
            f"{name}.{uid[:8]}",
            lambda: SimulatedNode(name, self.apiserver, make_runtime, config),
            restart=Restart.PERMANENT,
        )
        self.nodes[name] = (uid, self.spawn(child, host=name))
        self.running[name] = True

    def _removed(self, node: Object) -> None:
        known = self.nodes.pop(node["metadata"]["name"], None)
        self.running.pop(node["metadata"]["name"], None)
        if known is not None:
            known[1].stop(block=False)
