"""`kubekka controllers | scheduler | kubelet | proxy`: one component as a process of its own, against
any API server."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from actors.client import AccountTransports, authority_of, load_kubeconfig
from actors.kernel import Actor, Child, Ref
from cli._errors import Failed, UsageError
from cli._files import scheduler_config
from cli._machines import add_runtime_options
from cli._remote import remote_system
from cli._serve import Interruption
from cli._state import add_kubeconfig_option, find_kubeconfig
from cli.kubelet import add_server_options as _add_server_options
from cli.kubelet import serve_kubelet
from cli.kubeletboot import bootstrap
from cli.manageroptions import (
    add_controller_options,
    add_election_options,
    add_manager_options,
    election_options,
    manager_options,
)
from cli.up import GUISES


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of the component that `verb` names."""
    add_kubeconfig_option(parser)
    if verb == "controllers":
        add_controller_options(parser)
        add_manager_options(parser)
    if verb in ("controllers", "scheduler"):
        add_election_options(parser)
    if verb == "scheduler":
        parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeSchedulerConfiguration")
    if verb in ("kubelet", "proxy"):
        parser.add_argument(
            "--node-name", metavar="NAME", type=_node_name, default=socket.gethostname().lower(),
            help="the node to be (%(default)s)",
        )  # fmt: skip
    if verb == "kubelet":
        add_runtime_options(parser)
        parser.add_argument(
            "--guise",
            choices=GUISES,
            default="containerd",
            help="which runtime the simulated node presents itself as (%(default)s)",
        )
        _add_server_options(parser)
    if verb == "proxy":
        parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration")
        parser.add_argument(
            "--proxy-mode", choices=("iptables", "nftables"), help="what rules to write (the configuration's: iptables)"
        )
        parser.add_argument(
            "--cluster-cidr", metavar="CIDR", default="", help="where pods are (the configuration's clusterCIDR)"
        )
        parser.add_argument(
            "--apply", action="store_true", help="write the rules with iptables-restore or nft (Linux, as root)"
        )
        parser.add_argument(
            "--network-policies", action="store_true", help="with --apply: also enforce NetworkPolicies, with iptables"
        )
        parser.add_argument(
            "--healthz-bind-address",
            metavar="IP:PORT",
            help="answer /healthz and /livez here (the configuration's: 127.0.0.1:10256); empty: nowhere",
        )
        parser.add_argument(
            "--metrics-bind-address",
            metavar="IP:PORT",
            help="answer /metrics and /proxyMode here (the configuration's: 127.0.0.1:10249); empty: nowhere",
        )
        parser.add_argument("--cleanup", action="store_true", help="remove all that --apply wrote, and exit")
        parser.add_argument("--netns", default="", metavar="FILE", help="the network namespace to write to (this one)")


def _node_name(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a node: small letters, digits, '-' and '.'")
    return text


def run(options: argparse.Namespace) -> int:
    """Run the component until Ctrl-C."""
    if options.verb == "proxy" and options.cleanup:
        return _clean_up(options)
    if options.verb == "kubelet":
        bootstrap(options)
    kubeconfig = find_kubeconfig(options)
    with Interruption() as interruption, remote_system(kubeconfig, options.verb) as (system, transport):
        system.on_failed = interruption.fail
        if options.verb == "kubelet":
            serve_kubelet(options, system, transport)
        else:
            try:
                if options.verb == "controllers" and options.use_service_account_credentials:
                    accounts = partial(AccountTransports, transport, load_kubeconfig(kubeconfig))
                    transport = system.spawn(Child("accounts", accounts))
                factory = _COMPONENTS[options.verb](options, transport)
            except ValueError as error:
                raise UsageError(str(error)) from None
            system.spawn(Child(options.verb, factory))
        print(f"ready: {options.verb} kubeconfig: {kubeconfig}", flush=True)
        interruption.wait()
    return 0


def _controllers(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.controllers import ControllerManager, Options

    settings = Options(**manager_options(options, lambda: authority_of(find_kubeconfig(options))))
    return partial(ControllerManager, apiserver, settings)


_SCHEDULER_ELECTION = {
    "leader_elect": "leader_elect",
    "leader_elect_lease_duration": "lease_duration_s",
    "leader_elect_renew_deadline": "renew_deadline_s",
    "leader_elect_retry_period": "retry_period_s",
    "leader_elect_resource_name": "leader_name",
    "leader_elect_resource_namespace": "leader_namespace",
}


def _scheduler(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.scheduler import Scheduler, SchedulerConfig

    config = scheduler_config(options.config) if options.config else SchedulerConfig(leader_elect=True)
    election = election_options(
        options,
        leader_elect=config.leader_elect,
        leader_elect_lease_duration=config.lease_duration_s,
        leader_elect_renew_deadline=config.renew_deadline_s,
        leader_elect_retry_period=config.retry_period_s,
    )
    changed = {name: election[flag] for flag, name in _SCHEDULER_ELECTION.items() if flag in election}
    return partial(Scheduler, apiserver, replace(config, **changed))


def _proxy(options: argparse.Namespace, apiserver: Ref) -> Callable[[], Actor]:
    from actors.network import KubeProxy
    from cli._files import load_objects

    config: dict[str, Any] = dict(load_objects(options.config)[0]) if options.config else {}
    config |= {"mode": options.proxy_mode} if options.proxy_mode else {}
    config |= {"clusterCIDR": options.cluster_cidr} if options.cluster_cidr else {}
    for field, given in (
        ("healthzBindAddress", options.healthz_bind_address),
        ("metricsBindAddress", options.metrics_bind_address),
    ):
        config |= {} if given is None else {field: given}
    from actors.network.applying import applying_proxy, own_ports, why_not

    serving = own_ports(config)
    if not options.apply:
        if options.network_policies or options.netns:
            raise UsageError("--network-policies and --netns say what --apply writes: give --apply too")
        from actors.network.health_server import HealthPorts

        ports = Child("ports", HealthPorts)
        return partial(
            KubeProxy, options.node_name, apiserver, config, ports=ports, serving=serving, service_ports=False
        )
    missing = why_not(config.get("mode") or "iptables")
    if missing:
        raise UsageError(f"--apply: {missing}")
    policies = options.network_policies
    return applying_proxy(options.node_name, apiserver, config, netns=options.netns, policies=policies, serving=serving)


def _clean_up(options: argparse.Namespace) -> int:
    """Take the rules out of the kernel, whichever mode wrote them."""
    from actors.kernel import LiveSystem
    from actors.network.applier import ApplyError
    from actors.network.applying import clean_up

    system = LiveSystem("cleanup").start_thread()
    try:
        if not clean_up(system, options.netns):
            raise Failed("neither iptables nor nft is installed")
    except ApplyError as error:
        raise Failed(str(error)) from None
    finally:
        system.shutdown()
    return 0


_COMPONENTS = {"controllers": _controllers, "scheduler": _scheduler, "proxy": _proxy}
