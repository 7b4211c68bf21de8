"""Which components a cluster starts, in which order, on which (simulated) hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actors.kernel import Actor, ActorSystem, Child, LiveSystem, Ref
from assembly.config import CLUSTER_CIDR, ClusterConfig, machines
from assembly.machines import CONTROL_PLANE_IP, machine_facts, make_machine, node_resolver

WATCHED_NODES = 20
"""So many nodes watch themselves and tell of themselves; more would cost their idle cluster too much."""
__all__ = ["Parts", "start_apiserver", "start_rest"]


@dataclass(frozen=True)
class Parts:
    """The top components of a running cluster."""

    apiserver: Ref
    controllers: Ref
    scheduler: Ref
    nodes: tuple[Ref, ...]


def start_apiserver(system: ActorSystem, config: ClusterConfig, etcd: Ref, **settings: Any) -> Ref:
    """The API server actor."""
    from actors.apiserver import ApiServer, ApiServerConfig

    api_config = ApiServerConfig(minor=config.minor, exclusive=not config.etcd_servers, debug=config.debug, **settings)
    return system.spawn(Child("apiserver", lambda: ApiServer(api_config, etcd)), host="apiserver")


def start_rest(system: ActorSystem, config: ClusterConfig, apiserver: Ref, **extra: Any) -> Parts:
    """Every component below the API server, each on a (simulated) host of its own. `extra` are
    settings that some controllers need (keys and certificates)."""
    from actors.controllers import ControllerManager, Options
    from actors.kubelet import MetricsServer
    from actors.scheduler import Scheduler, SchedulerConfig

    if config.load_balancer_pool:
        extra["load_balancer_pool"] = config.load_balancer_pool
    options = Options(**config.controllers, extra=extra)
    manager = Child("controller-manager", lambda: ControllerManager(apiserver, options))
    controllers = system.spawn(manager, host="controllers")
    system.spawn(Child("metrics-server", partial(MetricsServer, apiserver, config.metrics_server)), host="metrics")
    scheduler = system.spawn(
        Child("scheduler", lambda: Scheduler(apiserver, SchedulerConfig(minor=config.minor))), host="scheduler"
    )
    if config.dns:
        start_dns(system, config, apiserver)
    start_network(system, config, apiserver)
    return Parts(apiserver, controllers, scheduler, start_nodes(system, config, apiserver))


def start_dns(system: ActorSystem, config: ClusterConfig, apiserver: Ref) -> Ref:
    """The cluster's DNS and the Service `kube-dns` that leads to it."""
    from actors.network.dns import ClusterDns, DnsService

    forward = None
    if config.dns_forward and isinstance(system, LiveSystem):
        from actors.network.dns._server import forwarder

        forward = forwarder(system, config.dns_forward)
    address, port = CONTROL_PLANE_IP, 53
    if config.dns_port and config.dns_address and not config.dns_address.startswith("127."):
        address, port = config.dns_address, config.dns_port  # pods reach the real one
    system.spawn(Child("dns-service", partial(DnsService, apiserver, address, port)), host="dns")
    return system.spawn(Child("dns", partial(ClusterDns, apiserver, forward=forward)), host="dns")


def start_network(system: ActorSystem, config: ClusterConfig, apiserver: Ref) -> Ref:
    """The network between simulated pods, for what their containers' programs ask of it."""
    from actors.network.simulated import SimulatedNetwork

    proxy = {"clusterCIDR": CLUSTER_CIDR}
    return system.spawn(Child("network", partial(SimulatedNetwork, apiserver, proxy)), host="network")


def start_nodes(system: ActorSystem, config: ClusterConfig, apiserver: Ref) -> tuple[Ref, ...]:
    """The simulated machines, each with its kube-proxy, and the actor that takes on annotated Node
    objects if asked for."""
    from actors.kubelet import KubeletConfig, NodeManager, simulated_node
    from actors.network import KubeProxy

    stages, played = [], False
    if config.stages:
        from actors.kubelet.stages import load_stages

        stages = load_stages(config.stages)
        played = any(stage.kind == "Pod" for stage in stages)
    facts = machine_facts() if config.runtime != "simulated" else {}  # nodes on one machine tell no capacity of it
    settings = KubeletConfig(
        **{name: facts[name] for name in ("os_image", "kernel_version") if name in facts},
        kubelet_version=f"v1.{config.minor}.2",
        lease_renew_s=config.lease_renew_s,
        pods=not played,
        watch_node=config.nodes <= WATCHED_NODES,
        image_gc=config.runtime in ("simulated", "cri"),
        resolv_conf=node_resolver(config.runtime),
    )
    refs: list[Ref] = []
    for name, number, capacity in machines(config):
        specs = simulated_node(
            name, apiserver, make_machine(config, name), number=number, capacity=capacity, config=settings
        )
        refs.extend(system.spawn(spec, host=name) for spec in specs)
        proxy: Callable[[], Actor] = partial(KubeProxy, name, apiserver, {"clusterCIDR": CLUSTER_CIDR})
        if config.apply_services and number == 0:  # one kernel, whose rules serve all nodes on this machine
            from actors.network.applying import applying_proxy, own_ports

            # the node's own address is not one of this machine's
            mode = {"clusterCIDR": CLUSTER_CIDR, "mode": config.apply_services, "nodePortAddresses": ["0.0.0.0/0"]}
            others = tuple(other for other, _, _ in machines(config) if other != name)
            serving = own_ports(mode)
            proxy = applying_proxy(name, apiserver, mode, policies=True, serving=serving, neighbours=others)
        refs.append(system.spawn(Child(f"kube-proxy-{name}", proxy), host=name))
    selector = config.manage_nodes_with_annotation_selector
    if selector:
        plain = replace(
            config, runtime="simulated", guise="sim"
        )  # machines that present themselves as what they are: sim://1
        bare = KubeletConfig(os_image="sim", kernel_version="sim", machine_id="sim", pods=not played)
        manager = partial(NodeManager, apiserver, partial(make_machine, plain), selector, bare)
        refs.append(system.spawn(Child("node-manager", manager)))
    if stages:
        from actors.kubelet.stages import Scripts, StagePlayer

        names = [f"node-{number}" for number in range(config.nodes)] if played else []
        selectors = [selector.partition("=")[::2]] if selector and played else []
        player = partial(StagePlayer, apiserver, stages, names, selectors, Scripts(config.stages))
        refs.append(system.spawn(Child("stages", player)))
    return tuple(refs)
