"""`kubekka up`: a cluster in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli._apioptions import add_api_options, api_settings
from cli._errors import UsageError
from cli._machines import add_runtime_options, runtime_settings
from cli._serve import (
    Interruption,
    add_serving_options,
    kubernetes_minor,
    port_number,
    port_problem,
    prepare_paths,
    start_problems,
    store_settings,
)
from cli.manageroptions import add_controller_options, controller_options, count

NODES_REGISTER_S = 3.0
LAST_RECORDS = 10_000  # messages that the dashboard can look back to

if TYPE_CHECKING:
    from cli.dashboard import Dashboard
    from cluster import Cluster, ClusterConfig

GUISES = ("containerd", "docker", "rkt", "runc")


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `up`."""
    parser.add_argument("--nodes", type=count, metavar="N", help="how many simulated nodes (3; with --import, 0)")
    parser.add_argument(
        "--import",
        dest="state",
        type=Path,
        metavar="FILE",
        help="begin with the objects of another cluster: a dump by `kubekka snapshot` or `kubectl get -o yaml`",
    )
    parser.add_argument(
        "--dashboard",
        type=port_number,
        nargs="?",
        const=0,
        metavar="PORT",
        help="serve a page that shows nodes, pods, rollouts, messages and actors live; any free port unless told",
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="record every revision here, for `kubekka replay FILE`"
    )
    add_serving_options(parser)
    add_api_options(parser)
    add_runtime_options(parser)
    parser.add_argument(
        "--guise",
        choices=GUISES,
        default="containerd",
        help="which runtime the simulated nodes present themselves as (%(default)s)",
    )
    parser.add_argument(
        "--manage-nodes-with-annotation-selector",
        default="",
        metavar="KEY=VALUE",
        help="also run a simulated kubelet for every Node object that has this annotation",
    )
    parser.add_argument(
        "--stages",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="let KWOK's Stages in this file or folder tell how pods, nodes and other objects fare (may be repeated)",
    )
    parser.add_argument(
        "--metrics-server",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="serve metrics.k8s.io for kubectl top and autoscalers (yes, unless Node objects bring the machines)",
    )
    parser.add_argument(
        "--load-balancer-pool",
        type=_network,
        default=None,
        metavar="CIDR",
        help="give Services of type LoadBalancer addresses from here",
    )
    parser.add_argument(
        "--apply-services",
        choices=("iptables", "nftables"),
        default="",
        help="write the rules of Services and NetworkPolicies to this machine's kernel, for real runtimes (root)",
    )
    parser.add_argument(
        "--ingress-port",
        type=count,
        default=None,
        metavar="N",
        help="answer HTTP for Ingresses on this port; 0 picks one. Their pods must be reachable: a real runtime's",
    )
    parser.add_argument(
        "--ingress-tls-port",
        type=count,
        default=None,
        metavar="N",
        help="answer HTTPS for them on this port, with the certificates of the Secrets that they name; 0 picks one",
    )
    parser.add_argument(
        "--ingress-default-certificate",
        default="",
        metavar="NAMESPACE/SECRET",
        help="the certificate of hosts that have none of their own (a self-signed one)",
    )
    parser.add_argument(
        "--ingress-address", default="127.0.0.1", metavar="IP", help="and on this address (%(default)s)"
    )
    add_dns_options(parser)
    parser.add_argument(
        "--clock",
        type=_clock,
        default="real",
        metavar="real|virtual|FACTOR",
        help="virtual: time stands still until /kubekka/clock moves it (docs/chaos.md); 60: sixty times as fast",
    )
    add_controller_options(parser)


def _appliable(mode: str) -> str:
    """Raises: UsageError when this machine takes no rules."""
    if mode:
        from actors.network.applying import why_not

        missing = why_not(mode)
        if missing:
            raise UsageError(f"--apply-services: {missing}")
    return mode


def add_dns_options(parser: argparse.ArgumentParser) -> None:
    """The cluster's DNS."""
    parser.add_argument(
        "--dns",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the cluster's DNS behind the Service kube-dns, 10.96.0.10 (yes)",
    )
    parser.add_argument(
        "--dns-port", type=count, default=None, metavar="N", help="answer DNS on this port of the machine; 0 picks one"
    )
    parser.add_argument(
        "--dns-address",
        default="127.0.0.1",
        metavar="IP",
        help="and on this address; one that is not loopback becomes kube-dns's endpoint (%(default)s)",
    )
    parser.add_argument(
        "--dns-forward",
        type=_name_servers,
        default=(),
        metavar="WHERE",
        help="ask about names outside of the cluster here: IP[:PORT],... or a file like /etc/resolv.conf (nowhere)",
    )


def _name_servers(text: str) -> tuple[tuple[str, int], ...]:
    """Name servers, by address or as a resolv.conf lists them."""
    import ipaddress
    import re

    if text.startswith("/"):
        try:
            lines = Path(text).read_text().splitlines()
        except OSError as error:
            raise argparse.ArgumentTypeError(f"cannot read {text}: {error.strerror}") from None
        listed = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
    else:
        listed = text.split(",")
    found = []
    for entry in listed:
        host, port = entry.strip(), "53"
        if re.fullmatch(r"(\[.*\]|[^:]+):\d+", host):
            host, _, port = host.rpartition(":")
        try:
            found.append((str(ipaddress.ip_address(host.strip("[]"))), int(port)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{entry!r} is no name server: write IP or IP:PORT") from None
    if not found:
        raise argparse.ArgumentTypeError(f"{text} lists no name server")
    return tuple(found)


def _stages(paths: list[Path]) -> tuple[Any, ...]:
    """The Stage objects of files and folders. Raises: UsageError."""
    if not paths:
        return ()
    from actors.kubelet.stages import Scripts, StageError, load_stages
    from assembly.manifest import ManifestError, read_manifest

    try:
        found = tuple(obj for path in paths for obj in read_manifest(path))
        Scripts(found)
        if not load_stages(found):
            raise UsageError("--stages: there is no Stage (kwok.x-k8s.io/v1alpha1)")
    except OSError as error:
        raise UsageError(f"--stages: cannot read {error.filename}: {error.strerror or error}") from None
    except (ManifestError, StageError) as error:
        raise UsageError(f"--stages: {error}") from None
    return found


def _clock(text: str) -> str | float:
    if text in ("real", "virtual"):
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor <= 100_000.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no clock: real, virtual, or a factor up to 100000")
    return factor


def _network(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> int:
    """Start the cluster, say where it is, and wait for Ctrl-C."""
    minor = kubernetes_minor(options.kubernetes_version)
    selector = options.manage_nodes_with_annotation_selector
    if selector and "=" not in selector:
        raise UsageError("--manage-nodes-with-annotation-selector wants KEY=VALUE")
    runtime = runtime_settings(options)
    data_dir, kubeconfig = prepare_paths(options)
    from actors.kernel import Tracer
    from cluster import Cluster

    state = imported_state(options.state, minor)
    nodes = (0 if state else 3) if options.nodes is None else options.nodes
    _check_recording(options.record)
    config = cluster_config(
        nodes=nodes,
        state=state,
        record=options.record,
        clock=options.clock,
        minor=minor,
        host=options.host,
        port=options.port,
        data_dir=data_dir,
        **store_settings(options),
        apiserver=api_settings(options),
        **runtime,
        guise=options.guise,
        manage_nodes_with_annotation_selector=selector,
        load_balancer_pool=options.load_balancer_pool or "",
        apply_services=_appliable(options.apply_services),
        ingress_port=options.ingress_port,
        ingress_address=options.ingress_address,
        ingress_tls_port=options.ingress_tls_port,
        ingress_default_certificate=options.ingress_default_certificate,
        dns=options.dns,
        dns_address=options.dns_address if options.dns_port is not None else "",
        dns_port=options.dns_port,
        dns_forward=options.dns_forward,
        stages=_stages(options.stages),
        metrics_server=not selector if options.metrics_server is None else options.metrics_server,
        controllers=controller_options(options),
    )
    cluster = Cluster(config, tracer=None if options.dashboard is None else Tracer(LAST_RECORDS))
    dashboard: Dashboard | None = None
    try:
        with start_problems(options), Interruption() as interruption:
            if selector:
                cluster.start(wait_for_nodes=False)
                _await_nodes(cluster)
                _announce(cluster, kubeconfig)
            else:
                cluster.start(wait_for_nodes=False, on_serving=lambda: _announce(cluster, kubeconfig))
            cluster.system.on_failed = interruption.fail
            if options.dns_port is not None:
                print("dns: {}:{}".format(*cluster.dns_address), flush=True)
            if options.ingress_port is not None:
                print("ingress: http://{}:{}".format(*cluster.ingress_address), flush=True)
            if options.ingress_tls_port is not None:
                print("ingress: https://{}:{}".format(*cluster.ingress.tls_address), flush=True)
            if options.dashboard is not None:
                dashboard = _dashboard(cluster, options.dashboard)
            _explain(kubeconfig, nodes)
            interruption.wait()
    finally:
        if dashboard is not None:
            dashboard.close()
        cluster.stop()
    return 0


def cluster_config(**settings: Any) -> ClusterConfig:
    """The configuration. Raises: UsageError for settings that do not go together."""
    from cluster import ClusterConfig

    try:
        return ClusterConfig(**settings)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_recording(path: Path | None) -> None:
    """Raises: UsageError when it cannot be written."""
    if path is None:
        return
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UsageError(f"cannot write the recording {path}: {error.strerror or error}") from None


def _dashboard(cluster: Cluster, port: int) -> Dashboard:
    """Serve the page and say where. Raises: UsageError when the port is taken."""
    from cli.dashboard import Dashboard, LiveStage

    try:
        dashboard = Dashboard(LiveStage(cluster), port=port)
    except OSError as error:
        raise port_problem(error, "127.0.0.1", port) from None
    print(f"dashboard: {dashboard.url}", flush=True)
    return dashboard


def imported_state(path: Path | None, minor: int) -> list[dict[str, Any]]:
    """The objects of a dump; says on stderr what of it is left out.

    Raises: UsageError.
    """
    if path is None:
        return []
    from actors.apiserver.importing import import_objects
    from cli._files import load_objects

    objects = load_objects(path)
    try:
        left_out = import_objects(objects, minor).left_out
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    if left_out:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
        print(f"left out of {path}: {counts}", file=sys.stderr)
    return objects


def _await_nodes(cluster: Cluster) -> None:
    """Let our own nodes register first: whoever brings more of them looks at which there are."""
    from actors.client import WaitTimeout

    with contextlib.suppress(WaitTimeout):
        cluster.client.wait("nodes", lambda nodes: len(nodes) >= cluster.config.nodes, timeout_s=NODES_REGISTER_S)


def _announce(cluster: Cluster, kubeconfig: Path) -> None:
    cluster.write_kubeconfig(kubeconfig)
    print(f"ready: {cluster.url} kubeconfig: {kubeconfig}", flush=True)


def _explain(kubeconfig: Path, nodes: int) -> None:
    """For a person at a terminal: what to do next."""
    if not sys.stderr.isatty():
        return
    print(
        f"""
A cluster with {nodes} simulated nodes is running; Ctrl-C stops it. In another terminal:

    export KUBECONFIG={kubeconfig}
    kubectl get nodes
    kubectl create deployment web --image=nginx --replicas=3
    kubectl get pods -o wide --watch

(`kubekka kubectl ...` works too, and `kubekka demo` shows what happens inside.)
""",
        file=sys.stderr,
    )
