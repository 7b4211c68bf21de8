"""The options of kube-controller-manager that the verbs `up` and `controllers` take.

Owns the table: each option has upstream's name and goes into the setting of
`actors.controllers.Options` of the same name. What is not in the table is refused.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli._errors import UsageError

__all__ = [
    "add_controller_options",
    "add_election_options",
    "add_manager_options",
    "controller_options",
    "count",
    "election_options",
    "manager_options",
    "seconds",
]


def count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of them: 0 or more")
    return int(text)


def seconds(text: str) -> float:
    """A Go duration such as `40s`, `1m30s` or `500ms`, or plain seconds."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 40s, 1m30s or 500ms")
    return sum(float(n) * units[u] for n, u in parts)


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number that is 0 or more")
    return number


def _switch(text: str) -> bool:
    """As Go's flags write truth values: `--leader-elect`, `--leader-elect=false`."""
    words = {**dict.fromkeys(("1", "t", "true"), True), **dict.fromkeys(("0", "f", "false"), False)}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return words[text.lower()]


_Row = tuple[str, Callable[[str], Any], str]

_TUNING: tuple[_Row, ...] = (
    ("node-monitor-grace-period", seconds, "how long a silent node counts as healthy (50s)"),
    ("node-monitor-period", seconds, "how often nodes are looked at (5s)"),
    ("node-startup-grace-period", seconds, "the same for a node that has not spoken yet (1m)"),
    ("node-eviction-rate", _fraction, "nodes per second that are tainted in a healthy zone (0.1)"),
    ("secondary-node-eviction-rate", _fraction, "the same in a disturbed zone that is large (0.01)"),
    ("large-cluster-size-threshold", count, "with more nodes than this a zone is large (50)"),
    ("unhealthy-zone-threshold", _fraction, "with this share of silent nodes a zone is disturbed (0.55)"),
    ("terminated-pod-gc-threshold", count, "how many finished pods are kept (12500)"),
    ("resource-quota-sync-period", seconds, "how often quotas are counted anew (5m)"),
    ("max-endpoints-per-slice", count, "endpoints in one EndpointSlice (100)"),
    ("horizontal-pod-autoscaler-sync-period", seconds, "how often autoscalers look (15s)"),
    ("horizontal-pod-autoscaler-tolerance", _fraction, "the deviation that they leave alone (0.1)"),
    ("horizontal-pod-autoscaler-downscale-stabilization", seconds, "how long they remember more (5m)"),
    ("horizontal-pod-autoscaler-initial-readiness-delay", seconds, "while a pod's first readiness settles (30s)"),
    ("horizontal-pod-autoscaler-cpu-initialization-period", seconds, "while a pod's CPU may be its start's (5m)"),
    ("legacy-service-account-token-clean-up-period", seconds, "token Secrets unused for so long go (1y)"),
    ("enable-garbage-collector", _switch, "whether dependents of what is deleted go too (true)"),
)
_NETWORK: tuple[_Row, ...] = (
    ("allocate-node-cidrs", _switch, "whether nodes are given ranges of pod addresses (false)"),
    ("cluster-cidr", str, "what these are cut from, two for dual stack (10.244.0.0/16)"),
    ("node-cidr-mask-size", count, "the length of a node's prefix (24)"),
    ("node-cidr-mask-size-ipv4", count, "the same with dual stack (24)"),
    ("node-cidr-mask-size-ipv6", count, "the same with dual stack (64)"),
    ("service-cluster-ip-range", str, "the addresses of Services (10.96.0.0/16)"),
)
_ELECTION: tuple[_Row, ...] = (
    ("leader-elect-lease-duration", seconds, "how long a Lease lasts that is not renewed (15s)"),
    ("leader-elect-renew-deadline", seconds, "after so long without renewing the leader stops (10s)"),
    ("leader-elect-retry-period", seconds, "how often it is renewed and tried for (2s)"),
    ("leader-elect-resource-lock", str, "leases: what the lock is made of"),
    ("leader-elect-resource-name", str, "the name of the Lease (the component's)"),
    ("leader-elect-resource-namespace", str, "its namespace (kube-system)"),
)
_SIGNERS = ("kubelet-serving", "kubelet-client", "kube-apiserver-client", "legacy-unknown")
_SIGNER_NAMES = {"kubelet-client": "kube-apiserver-client-kubelet"}
_FILES = {
    "root-ca-file": "certificate authority that pods are given (the kubeconfig's by default)",
    "service-account-private-key-file": "key that signs service account token Secrets; none are made without",
    "cluster-signing-cert-file": "certificate that certificate requests are signed with; none are without",
    "cluster-signing-key-file": "its key",
}


def _add(parser: Any, rows: tuple[_Row, ...]) -> None:
    for name, convert, what in rows:
        value: dict[str, Any] = {"metavar": "DURATION" if convert is seconds else "VALUE"}
        if convert is _switch:
            value = {"nargs": "?", "const": True, "metavar": "true|false"}
        parser.add_argument(f"--{name}", type=convert, default=None, help=what, **value)


def add_controller_options(parser: argparse.ArgumentParser) -> None:
    """What tunes controllers, for `up` and `controllers`."""
    from actors.controllers import CONTROLLERS

    about = "under kube-controller-manager's names; --concurrent-deployment-syncs and its like are taken too"
    group = parser.add_argument_group("controllers", about)
    group.add_argument(
        "--controllers", default="*", metavar="LIST", help="which controllers run, e.g. '*,-deployment' (all)"
    )
    _add(group, _TUNING)
    for entry in CONTROLLERS:
        if entry.syncs:
            group.add_argument(f"--{entry.syncs}", type=count, default=None, metavar="N", help=argparse.SUPPRESS)


def controller_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given, as settings of `actors.controllers.Options`.

    Raises: UsageError for a controller that there is not, or none at a time.
    """
    from actors.controllers import CONTROLLERS, selected

    try:
        selected(options.controllers)
    except ValueError as error:
        raise UsageError(f"--controllers: {error}") from None
    found = {"controllers": options.controllers, **_given(options, _TUNING)}
    syncs = {
        entry.name: getattr(options, entry.syncs.replace("-", "_"))
        for entry in CONTROLLERS
        if entry.syncs and getattr(options, entry.syncs.replace("-", "_")) is not None
    }
    if 0 in syncs.values():
        raise UsageError("--concurrent-*-syncs: at least 1 at a time")
    if not 1 <= found.get("max_endpoints_per_slice", 100) <= 1000:
        raise UsageError("--max-endpoints-per-slice: between 1 and 1000")
    return found | ({"concurrent_syncs": syncs} if syncs else {})


def add_manager_options(parser: argparse.ArgumentParser) -> None:
    """What else the controller manager takes when it is a process of its own."""
    _add(parser, _NETWORK)
    for name, what in _FILES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)
    for signer in _SIGNERS:
        for part in ("cert", "key"):
            name = f"--cluster-signing-{signer}-{part}-file"
            parser.add_argument(name, type=Path, metavar="FILE", help=f"the same for the signer {signer} alone")
    parser.add_argument(
        "--use-service-account-credentials",
        type=_switch,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="each controller acts as its own service account, within its role (false: as the kubeconfig's user)",
    )
    parser.add_argument(
        "--cluster-signing-duration", type=seconds, metavar="DURATION", help="how long such certificates last (1y)"
    )


def manager_options(options: argparse.Namespace, root_ca: Callable[[], str]) -> dict[str, Any]:
    """All settings of the controller manager; `root_ca()` is the authority to fall back on.

    Raises: UsageError.
    """
    found = {**controller_options(options), **_given(options, _NETWORK)}
    size = found.pop("node_cidr_mask_size", None)
    if size is not None:
        found.setdefault("node_cidr_mask_size_ipv4", size)
    if options.cluster_signing_duration is not None:
        found["cluster_signing_duration"] = options.cluster_signing_duration
    extra: dict[str, Any] = {
        "root_ca": _pem(options.root_ca_file).decode() or root_ca(),
        "service_account_key": _pem(options.service_account_private_key_file),
        "cluster_signing_certificate": _pem(options.cluster_signing_cert_file),
        "cluster_signing_key": _pem(options.cluster_signing_key_file),
    }
    for signer in _SIGNERS:
        name = _SIGNER_NAMES.get(signer, signer)
        for part, word in (("cert", "certificate"), ("key", "key")):
            path = getattr(options, f"cluster_signing_{signer.replace('-', '_')}_{part}_file")
            if path is not None and (options.cluster_signing_cert_file or options.cluster_signing_key_file):
                raise UsageError(
                    "cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same time"
                )
            extra[f"cluster_signing_{name}_{word}"] = _pem(path)
    return {**found, **election_options(options), "extra": extra}


def add_election_options(parser: argparse.ArgumentParser) -> None:
    """Leader election, for the controller manager and the scheduler."""
    parser.add_argument(
        "--leader-elect",
        type=_switch,
        nargs="?",
        const=True,
        default=None,
        metavar="true|false",
        help="act only while holding the component's Lease (true)",
    )
    parser.add_argument("--no-leader-elect", dest="leader_elect", action="store_false", help=argparse.SUPPRESS)
    _add(parser, _ELECTION)


def election_options(options: argparse.Namespace, **configured: Any) -> dict[str, Any]:
    """What was given of it, as `leader_elect*`; `configured` is what else is known, of the same names.

    Raises: UsageError for times that do not fit together, or another lock.
    """
    from actors.client import LeaderElector

    found = {"leader_elect": True, **configured, **_given(options, _ELECTION)}
    if options.leader_elect is not None:
        found["leader_elect"] = options.leader_elect
    lock = found.pop("leader_elect_resource_lock", "leases")
    if lock != "leases":
        raise UsageError(f"--leader-elect-resource-lock: {lock!r} is not supported: leases is")
    try:
        LeaderElector.check_times(
            found.get("leader_elect_lease_duration", 15.0),
            found.get("leader_elect_renew_deadline", 10.0),
            found.get("leader_elect_retry_period", 2.0),
        )
    except ValueError as error:
        raise UsageError(f"--leader-elect-*: {error}") from None
    return found


def _given(options: argparse.Namespace, rows: tuple[_Row, ...]) -> dict[str, Any]:
    names = [name.replace("-", "_") for name, _, _ in rows]
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _pem(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path is not None else b""
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
