"""Cores that containers have for themselves: the static CPU manager policy.

Owns upstream's rules of `pkg/kubelet/cm/cpumanager`: containers of Guaranteed pods that ask for whole cores get
some of their own; everybody else shares the rest, which the reserved cores always stay in. Pure. Cores are numbers;
the machine is taken to be one socket without hyperthreads.

https://kubernetes.io/docs/tasks/administer-cluster/cpu-management-policies/
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import orjson

from actors.kubelet._spec import GUARANTEED, INIT, MAIN, SIDECAR, container_kinds, container_resources, qos_class
from actors.kubelet.devices._book import AllocationError
from protocol.quantity import parse_quantity

__all__ = ["CpuBook", "cpu_list", "parse_cpu_list"]

Object = dict[str, Any]


def cpu_list(cpus: Iterable[int]) -> str:
    """`0-2,5`, as the kernel writes sets of cores."""
    parts: list[str] = []
    ordered = sorted(set(cpus))
    start = None
    for index, cpu in enumerate(ordered):
        start = cpu if start is None else start
        if index + 1 == len(ordered) or ordered[index + 1] != cpu + 1:
            parts.append(str(start) if start == cpu else f"{start}-{cpu}")
            start = None
    return ",".join(parts)


def parse_cpu_list(text: str) -> frozenset[int]:
    """The reverse. Raises: ValueError."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


class CpuBook:
    """See the module. `reserved`: the cores that nobody gets for himself."""

    def __init__(self, count: int, reserved: Iterable[int]) -> None:
        self.all = frozenset(range(count))
        self.reserved = frozenset(reserved) & self.all
        self.held: dict[str, dict[str, frozenset[int]]] = {}
        """pod uid -> container -> its cores"""

    @classmethod
    def of_node(cls, cpu: str, reserved_cpus: str, reserved_amount: str) -> CpuBook:
        """For a node of so many cores; without a list of reserved ones they are the first, as many as are
        reserved by amount, rounded up. Raises: ValueError when none is reserved."""
        count = int(parse_quantity(cpu))
        reserved = parse_cpu_list(reserved_cpus)
        if not reserved:
            amount = parse_quantity(reserved_amount or "0")
            reserved = frozenset(range(int(amount) + (amount != int(amount))))
        if not reserved:
            raise ValueError("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
        return cls(count, reserved)

    @property
    def shared(self) -> frozenset[int]:
        """What is nobody's own."""
        return self.all - {cpu for pod in self.held.values() for cpus in pod.values() for cpu in cpus}

    def of_container(self, uid: str, container: str) -> frozenset[int]:
        """Where a container may run."""
        return self.held.get(uid, {}).get(container) or self.shared

    def choose(self, pod: Object) -> bool:
        """Give the pod's containers their own cores, or none: raises `AllocationError`. True if any were given."""
        if qos_class(pod) != GUARANTEED or pod["metadata"]["uid"] in self.held:
            return False
        uid = pod["metadata"]["uid"]
        mine: dict[str, frozenset[int]] = {}
        reusable: frozenset[int] = frozenset()
        for kind, container in container_kinds(pod):
            wanted = parse_quantity(str(container_resources(container)[0].get("cpu", "0")))
            if kind not in (INIT, SIDECAR, MAIN) or wanted <= 0 or wanted != int(wanted):
                continue
            taken = frozenset(cpu for cpus in mine.values() for cpu in cpus) - reusable
            cpus = self._pick(int(wanted), reusable, taken)
            mine[container["name"]] = cpus
            reusable = reusable | cpus if kind == INIT else reusable - cpus
        if mine:
            self.held[uid] = mine
        return bool(mine)

    def _pick(self, count: int, reusable: frozenset[int], taken: frozenset[int]) -> frozenset[int]:
        first = sorted(reusable)[:count]
        free = sorted(self.shared - self.reserved - taken - set(first))
        missing = count - len(first)
        if len(free) < missing:
            available = len(free) + len(reusable)
            raise AllocationError(
                f"not enough cpus available to satisfy request: requested={count}, available={available}"
            )
        return frozenset([*first, *free[:missing]])

    def release(self, uid: str) -> bool:
        """The pod has ended; true if it had any."""
        return self.held.pop(uid, None) is not None

    def state(self) -> bytes:
        """The content of `cpu_manager_state`."""
        entries = {uid: {name: cpu_list(cpus) for name, cpus in pod.items()} for uid, pod in self.held.items()}
        body: Object = {"policyName": "static", "defaultCpuSet": cpu_list(self.shared)}
        if entries:
            body["entries"] = entries
        return orjson.dumps({**body, "checksum": zlib.crc32(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))})

    def restore(self, state: bytes) -> None:
        """Take up a state file. Raises: ValueError for one that does not fit this machine."""
        told = orjson.loads(state)
        body = {k: v for k, v in told.items() if k != "checksum"}
        if zlib.crc32(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)) != told.get("checksum"):
            raise ValueError("checkpoint is corrupted")
        if told.get("policyName") != "static":
            raise ValueError(
                f'configured policy "static" differs from state checkpoint policy "{told.get("policyName")}"'
            )
        held = {
            uid: {name: parse_cpu_list(cpus) for name, cpus in pod.items()}
            for uid, pod in (told.get("entries") or {}).items()
        }
        known = {cpu for pod in held.values() for cpus in pod.values() for cpu in cpus}
        if known - self.all or (known | parse_cpu_list(told["defaultCpuSet"])) != self.all:
            raise ValueError("the state file is about another machine")
        self.held = held
