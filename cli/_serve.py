"""What verbs that serve in the foreground share: options, the ready line, and a clean end."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli._errors import Failed, UsageError
from cli._state import default_data_dir, prepare_data_dir

__all__ = [
    "Interruption",
    "add_audit_options",
    "add_serving_options",
    "audit_settings",
    "kubernetes_minor",
    "port_number",
    "port_problem",
    "prepare_paths",
    "start_problems",
    "store_settings",
]

LOOK_S = 1.0


def add_serving_options(parser: argparse.ArgumentParser, default_port: int = 6443) -> None:
    """Where the API is served and where state lives."""
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (%(default)s)")
    parser.add_argument(
        "--port", type=port_number, default=default_port, help="port to serve on; 0 picks a free one (%(default)s)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where state lives (by default the platform's state directory)"
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="where to write the kubeconfig (by default inside the state directory)",
    )
    parser.add_argument(
        "--kubernetes-version", default="1.36", metavar="V", help="the version to be, 1.31 to 1.37 (%(default)s)"
    )
    parser.add_argument(
        "--etcd-servers",
        metavar="URLS",
        default="",
        help="comma-separated URLs of a real etcd to store everything in, instead of the embedded one",
    )
    for name, what in (
        ("cafile", "authority that the etcd servers' certificates are verified with"),
        ("certfile", "certificate to show to the etcd servers"),
        ("keyfile", "its key"),
    ):
        parser.add_argument(f"--etcd-{name}", type=Path, metavar="FILE", help=what)
    parser.add_argument(
        "--unsafe-no-fsync",
        action="store_true",
        help="acknowledge writes before they are on disk: faster, but a crash of the machine can lose the last ones",
    )


def port_number(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def kubernetes_minor(version: str) -> int:
    """36 for `1.36`, `v1.36` or `1.36.2`.

    Raises: UsageError for a version that is not served.
    """
    match = re.fullmatch(r"v?1\.(\d+)(\.\d+)?", version)
    if match is None or not 31 <= int(match[1]) <= 37:
        raise UsageError(f"Kubernetes {version} is not served; 1.31 to 1.37 are (--kubernetes-version)")
    return int(match[1])


def prepare_paths(options: argparse.Namespace) -> tuple[Path, Path]:
    """The state directory and the kubeconfig's place, both writable.

    Raises: UsageError.
    """
    data_dir = prepare_data_dir(options.data_dir or default_data_dir())
    kubeconfig: Path = options.kubeconfig or data_dir / "kubeconfig"
    folder = kubeconfig.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write the kubeconfig {kubeconfig}: {folder} is no writable directory")
    if kubeconfig.is_dir():
        raise UsageError(f"cannot write the kubeconfig {kubeconfig}: it is a directory")
    return data_dir, kubeconfig


def port_problem(error: OSError, host: str, port: int) -> UsageError:
    """Why the address cannot be served on, in a line."""
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"port {port} on {host} is in use; choose another with --port, or --port 0 for any free one")
    return UsageError(f"cannot serve on {host}:{port}: {error.strerror or error}")


@contextmanager
def start_problems(options: argparse.Namespace) -> Iterator[None]:
    """What keeps a server from starting, in a line. Raises: UsageError, Failed."""
    from actors.etcd import DataDirError
    from actors.kernel import ActorDead
    from protocol.etcd import EtcdError

    try:
        yield
    except OSError as error:
        raise port_problem(error, options.host, options.port) from None
    except DataDirError as error:
        spoiled = any(word in str(error) for word in (" is damaged", " is missing"))
        hint = "; put a copy of it back, or begin anew with another --data-dir" if spoiled else ""
        raise UsageError(f"{error}{hint}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    except EtcdError as error:
        raise Failed(f"the store does not answer: {error}{_servers_hint(options)}") from None
    except ActorDead as error:
        raise Failed(f"{error}; the log above says why") from None


def _servers_hint(options: argparse.Namespace) -> str:
    return f"; is an etcd running at {options.etcd_servers}?" if options.etcd_servers else ""


class Interruption:
    """SIGINT and SIGTERM as a wish to end, from the start of a `with` block on: whatever is being
    started then is started and stopped in order."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._failed = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, lambda *_: self._woken.set())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def fail(self, _: object = None) -> None:
        """The system has failed: end as well."""
        self._failed = True
        self._woken.set()

    def wait(self) -> None:
        """Return when it is time to end. Raises: Failed when the system has failed."""
        while not self._woken.wait(LOOK_S):  # a signal that the kernel gave to another thread wakes nobody here
            pass
        if self._failed:
            raise Failed("a component crashed again and again; the log above says why (--log-level info shows more)")
        if sys.stderr.isatty():
            print("\nstopping ...", file=sys.stderr)


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    """The audit log and the seats that requests share, under kube-apiserver's names."""
    for name, default, what in (("", 400, "reading"), ("mutating-", 200, "changing")):
        parser.add_argument(
            f"--max-{name}requests-inflight", type=int, default=default, metavar="N",
            help=f"{what} requests under way at a time; priority levels share the sum of both (default {default})",
        )  # fmt: skip
    parser.add_argument("--audit-log-path", type=Path, metavar="FILE", help="write an audit log of JSON lines here")
    parser.add_argument(
        "--audit-policy-file", type=Path, metavar="FILE", help="what it records (audit.k8s.io/v1 Policy)"
    )


def audit_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The API server's settings that follow from them.

    Raises: UsageError for a policy that cannot be read, or one without a log.
    """
    limits = {
        "max_requests_inflight": options.max_requests_inflight,
        "max_mutating_requests_inflight": options.max_mutating_requests_inflight,
    }
    if min(limits.values()) < 0 or not sum(limits.values()):
        raise UsageError("--max-requests-inflight and --max-mutating-requests-inflight: one of them must be above 0")
    if options.audit_log_path is None:
        if options.audit_policy_file is not None:
            raise UsageError("--audit-policy-file says what to record; --audit-log-path says where")
        return limits
    from cli._files import load_objects

    policy = load_objects(options.audit_policy_file)[0] if options.audit_policy_file is not None else None
    if policy is not None and policy.get("kind") != "Policy":
        raise UsageError(f"{options.audit_policy_file} is no audit policy (kind: Policy)")
    folder = options.audit_log_path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write the audit log {options.audit_log_path}: {folder} is no writable directory")
    return {**limits, "audit_path": options.audit_log_path, "audit_policy": policy}


def store_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The `ClusterConfig` settings that say where everything is stored.

    Raises: UsageError for what is no etcd server's URL.
    """
    servers: tuple[str, ...] = ()
    if options.etcd_servers:
        from actors.etcd import parse_servers  # brings gRPC, which takes a while and 12 MB

        try:
            servers = parse_servers(options.etcd_servers)
        except ValueError as error:
            raise UsageError(f"--etcd-servers: {error}") from None
    for path in (options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    return {
        "unsafe_no_fsync": options.unsafe_no_fsync,
        "etcd_servers": servers,
        "etcd_ca_file": options.etcd_cafile,
        "etcd_cert_file": options.etcd_certfile,
        "etcd_key_file": options.etcd_keyfile,
    }
