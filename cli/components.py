"""`kubekka controllers | scheduler | kubelet | proxy`: one component as a process of its own, against
any API server."""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors.kernel import Actor, Child, Ref
from cli._errors import UsageError
from cli._remote import remote_system
from cli._serve import until_interrupted
from cli._state import add_kubeconfig_option, find_kubeconfig
from cli.up import GUISES, add_controller_options, controller_options


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of the component that `verb` names."""
    add_kubeconfig_option(parser)
    if verb == "controllers":
        add_controller_options(parser)
    if verb in ("controllers", "scheduler"):
        parser.add_argument(
            "--leader-elect",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="act only while holding the component's Lease (%(default)s)",
        )
    if verb == "scheduler":
        parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeSchedulerConfiguration")
    if verb in ("kubelet", "proxy"):
        parser.add_argument(
            "--node-name", metavar="NAME", default=socket.gethostname().lower(), help="the node to be (%(default)s)"
        )
    if verb == "kubelet":
        parser.add_argument(
            "--guise",
            choices=GUISES,
            default="containerd",
            help="which runtime the simulated node presents itself as (%(default)s)",
        )
    if verb == "proxy":
        parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration")


def run(options: argparse.Namespace) -> int:
    """Run the component until Ctrl-C."""
    kubeconfig = find_kubeconfig(options)
    with remote_system(kubeconfig, options.verb) as (system, transport):
        failed = threading.Event()
        system.on_failed = lambda _: failed.set()
        try:
            factory = _COMPONENTS[options.verb](options, transport)
        except ValueError as error:
            raise UsageError(str(error)) from None
        system.spawn(Child(options.verb, factory))
        print(f"ready: {options.verb} kubeconfig: {kubeconfig}", flush=True)
        until_interrupted(failed)
    return 0


def _controllers(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.controllers import ControllerManager, Options

    settings = Options(**controller_options(options), leader_elect=options.leader_elect)
    return partial(ControllerManager, apiserver, settings)


def _scheduler(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.scheduler import Scheduler, SchedulerConfig, load

    config = load(options.config) if options.config else SchedulerConfig()
    import msgspec

    if options.leader_elect and "leader_elect" in getattr(config, "__struct_fields__", ()):
        config = msgspec.structs.replace(config, leader_elect=True)
    return partial(Scheduler, apiserver, config)


def _kubelet(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.kubelet import simulated_node
    from actors.runtime import Machine, SimulatedRuntime

    specs = simulated_node(options.node_name, apiserver, partial(SimulatedRuntime, Machine(), options.guise))
    return specs[0].factory


def _proxy(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.network import KubeProxy
    from cli._files import load_objects

    config: Any = load_objects(options.config)[0] if options.config else None
    return partial(KubeProxy, options.node_name, apiserver, config)


_COMPONENTS = {"controllers": _controllers, "scheduler": _scheduler, "kubelet": _kubelet, "proxy": _proxy}
