"""`kubekka kubelet`: this machine as a node of any cluster, with the kubelet's own API over HTTPS."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.client import authority_of, load_kubeconfig
from actors.kernel import Child, LiveSystem, Ref
from cli._errors import UsageError
from cli._machines import runtime_settings
from cli._state import default_data_dir, find_kubeconfig
from cli.kubeletboot import installer, read_config_file

if TYPE_CHECKING:
    import ssl

__all__ = ["add_server_options", "serve_kubelet"]

KUBELET_PORT = 10250
START_S = 30.0


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Where the kubelet's own API is served, and to whom."""
    parser.add_argument(
        "--node-ip", type=_address, metavar="IP", help="the node's address (that from which the API server is reached)"
    )
    parser.add_argument(
        "--address", type=_address, metavar="IP", help="where the kubelet's own API listens (the node's address)"
    )
    parser.add_argument(
        "--port", type=_port, metavar="PORT",
        help=f"its port; 0 picks a free one ({KUBELET_PORT}, or a free one where that is taken)",
    )  # fmt: skip
    parser.add_argument(
        "--anonymous-auth",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="take requests without credentials for system:anonymous, not refuse them (no)",
    )
    parser.add_argument(
        "--authorization-mode",
        choices=("Webhook", "AlwaysAllow"),
        help="Webhook asks the API server what a caller may do (Webhook)",
    )
    parser.add_argument(
        "--client-ca-file", type=Path, metavar="FILE", help="authority of client certificates (the kubeconfig's)"
    )
    parser.add_argument("--tls-cert-file", type=Path, metavar="FILE", help="its certificate (a self-signed one)")
    parser.add_argument("--tls-private-key-file", type=Path, metavar="FILE", help="the certificate's key")
    parser.add_argument(
        "--pod-manifest-path",
        type=Path,
        metavar="DIR",
        help="run the static pods whose manifests are in this directory",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a KubeletConfiguration; options go before it")
    parser.add_argument(
        "--root-dir", type=Path, metavar="DIR",
        help="serve device plugins and podresources below here, and keep there what outlives the kubelet",
    )  # fmt: skip
    parser.add_argument(
        "--bootstrap-kubeconfig", type=Path, metavar="FILE",
        help="with its token have a client certificate signed, and write --kubeconfig, unless that is there",
    )  # fmt: skip
    parser.add_argument("--cert-dir", type=Path, metavar="DIR", help="where certificates of the cluster's are kept")
    parser.add_argument(
        "--rotate-server-certificates",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="have the serving certificate signed by the cluster (kubernetes.io/kubelet-serving) and renewed",
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def serve_kubelet(options: argparse.Namespace, system: LiveSystem, apiserver: Ref) -> None:
    """Start the node and its API; the Node says where that is.

    Raises: UsageError for files and addresses that cannot be had.
    """
    from actors.apiserver import http
    from actors.kubelet import (
        ConfigurationError,
        KubeletConfig,
        KubeletServer,
        ServeKubelet,
        ServingCertificates,
        StartKubelet,
        read_configuration,
        simulated_node,
    )
    from actors.kubelet._config import DEFAULT_CAPACITY
    from assembly.config import ClusterConfig
    from assembly.machines import machine_facts, make_machine

    runtime = runtime_settings(options)
    kubeconfig = find_kubeconfig(options)
    node_ip = options.node_ip or _own_address(load_kubeconfig(kubeconfig))
    document = read_config_file(options.config)
    server_config = _server_config(options, document)
    name = options.node_name
    server = system.spawn(Child("kubelet-server", lambda: KubeletServer(name, apiserver, server_config)))
    tls = _tls(options, kubeconfig, name, node_ip, system.clock.now())
    host = options.address or document.get("address") or node_ip
    wanted = document.get("port") if options.port is None else options.port
    try:
        port, _ = http.start(system, server, host, KUBELET_PORT if wanted is None else wanted, tls)
    except OSError as error:
        if wanted is not None:
            raise UsageError(f"cannot serve the kubelet's API on {host}:{wanted}: {error.strerror or error}") from None
        port, _ = http.start(system, server, host, 0, tls)
    manifests = options.pod_manifest_path or (
        Path(document["staticPodPath"]) if document.get("staticPodPath") else None
    )
    if manifests is not None and not manifests.is_dir():
        raise UsageError(f"--pod-manifest-path: {manifests} is no directory")
    facts = machine_facts() if options.runtime != "simulated" else {}
    try:
        told = read_configuration(document, facts.get("capacity") or DEFAULT_CAPACITY) if document else {}
    except ConfigurationError as error:
        raise UsageError(f"--config: {options.config}: {error}") from None
    own: dict[str, Any] = {
        "node_ips": (node_ip,),
        "port": port,
        "static_pod_path": str(manifests.resolve()) if manifests else "",
        "watch_node": True,
        # images of the local store and of Docker's are not this node's alone
        "image_gc": options.runtime in ("simulated", "cri") or any(name.startswith("imageGC") for name in document),
    }
    if options.root_dir is not None:
        own |= {"state_directory": str(options.root_dir.resolve()), "device_plugins": True}
    if options.runtime != "simulated":
        own["dra_drivers"] = ()  # no driver of dynamic resources can register here
    config = KubeletConfig(**{**facts, **told, **own})
    rotate = options.rotate_server_certificates
    if document.get("serverTLSBootstrap") if rotate is None else rotate:
        install = installer(tls, options.cert_dir)
        make = partial(ServingCertificates, apiserver, name, (name, node_ip), install)
        system.spawn(Child("serving-certificates", make))
    machine = make_machine(
        ClusterConfig(
            nodes=1,
            **runtime,
            guise=options.guise,
            data_dir=(options.data_dir or default_data_dir()) / "kubelet",
            keep_containers=True,  # a kubelet that ends leaves its containers running
        ),
        name,
    )
    node = system.spawn(simulated_node(name, apiserver, machine, config=config, own_addresses=True)[0])
    server.tell(ServeKubelet(node.ask(StartKubelet(), timeout=START_S)))


def _server_config(options: argparse.Namespace, document: dict[str, Any]) -> Any:
    """Who may ask what, by options, else by the configuration file."""
    from actors.kubelet import ServerConfig
    from actors.kubelet._duration import duration_s

    who, may = document.get("authentication") or {}, document.get("authorization") or {}
    anonymous = options.anonymous_auth
    if anonymous is None:
        anonymous = bool((who.get("anonymous") or {}).get("enabled", False))
    if options.client_ca_file is None and (who.get("x509") or {}).get("clientCAFile"):
        options.client_ca_file = Path(who["x509"]["clientCAFile"])
    if options.tls_cert_file is None and document.get("tlsCertFile"):
        options.tls_cert_file = Path(document["tlsCertFile"])
        options.tls_private_key_file = Path(document.get("tlsPrivateKeyFile") or document["tlsCertFile"])
    times = {
        "token_ttl_s": (who.get("webhook") or {}).get("cacheTTL"),
        "allowed_ttl_s": (may.get("webhook") or {}).get("cacheAuthorizedTTL"),
        "denied_ttl_s": (may.get("webhook") or {}).get("cacheUnauthorizedTTL"),
    }
    spans = {field: duration_s(str(text)) for field, text in times.items() if text}
    return ServerConfig(
        anonymous=anonymous,
        authorization=options.authorization_mode or may.get("mode") or "Webhook",
        debugging_handlers=document.get("enableDebuggingHandlers", True) is not False,
        **{field: span for field, span in spans.items() if span is not None},
    )


def _own_address(config: Any) -> str:
    """The address of this machine from which the API server is reached."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((config.host, config.port))  # sends nothing: it only chooses a route
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _tls(options: argparse.Namespace, kubeconfig: Path, name: str, node_ip: str, now: float) -> ssl.SSLContext:
    from actors.apiserver import pki

    try:
        authority = options.client_ca_file.read_bytes() if options.client_ca_file else authority_of(kubeconfig).encode()
        if options.tls_cert_file or options.tls_private_key_file:
            if not (options.tls_cert_file and options.tls_private_key_file):
                raise UsageError("--tls-cert-file and --tls-private-key-file go together")
            pair = pki.KeyPair(options.tls_cert_file.read_bytes(), options.tls_private_key_file.read_bytes())
        else:
            pair = pki.Authority.create(now, f"{name}-ca@{int(now)}").server([name, node_ip])
        return pki.server_context(pair, authority)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror or error}") from None
