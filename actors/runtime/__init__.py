"""Container runtimes behind the verbs of `protocol.cri`."""

from __future__ import annotations

from typing import Any

from actors.runtime._container import Machine
from actors.runtime._guise import GUISES
from actors.runtime._images import ImageStore
from actors.runtime._simulated import SimulatedRuntime, simulated_machine

__all__ = [
    "GUISES",
    "CriMachine",
    "CriRuntime",
    "DockerMachine",
    "DockerRuntime",
    "ImageStore",
    "Machine",
    "NamespaceMachine",
    "NamespaceRuntime",
    "ProcessMachine",
    "ProcessRuntime",
    "RuncMachine",
    "RuncRuntime",
    "SimulatedRuntime",
    "simulated_machine",
    "why_no_cri",
    "why_no_docker",
    "why_no_namespaces",
    "why_no_runc",
]


def __getattr__(name: str) -> Any:
    """Import on first use: subprocesses, sockets and TLS cost a start that does not need them."""
    if name in ("ProcessMachine", "ProcessRuntime"):
        from actors.runtime import _process, _process_machine

        return _process.ProcessRuntime if name == "ProcessRuntime" else _process_machine.ProcessMachine
    if name in ("NamespaceMachine", "NamespaceRuntime"):
        from actors.runtime import _namespaces

        return getattr(_namespaces, name)
    if name in ("RuncMachine", "why_no_runc"):
        from actors.runtime import _runc_machine

        return getattr(_runc_machine, name)
    if name in ("CriMachine", "CriRuntime", "why_no_cri"):
        from actors.runtime import _cri

        return getattr(_cri, name)
    if name in ("DockerMachine", "DockerRuntime", "why_no_docker"):
        from actors.runtime import _docker

        return getattr(_docker, name)
    if name == "RuncRuntime":
        from actors.runtime._runc import RuncRuntime

        return RuncRuntime
    if name == "why_no_namespaces":
        from actors.runtime._linux import why_not

        return why_not
    raise AttributeError(name)
