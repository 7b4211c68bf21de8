"""An API server as a process of its own: embedded etcd, TLS, a kubeconfig, nothing else.

Owns the wiring of that process. The command line calls `run`; tests and benchmarks use `Standalone`.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import msgspec

from actors.apiserver import http, kubeconfig, pki
from actors.apiserver._config import ApiServerConfig
from actors.kernel import Child, LiveSystem, Ref
from protocol.api import UserInfo

__all__ = ["Options", "Standalone", "run"]


class Options(msgspec.Struct, kw_only=True):
    """What the command line may say."""

    host: str = "127.0.0.1"
    port: int = 0
    data_dir: Path | None = None
    kubeconfig: Path | None = None
    minor: int = 36
    token: str = ""
    """A bearer token for the administrator, besides the certificate."""
    make_etcd: Any = None
    """() -> Actor; who wires says which store."""
    exclusive: bool = True


class Standalone:
    """A running API server with its store, listening on a port."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.system = LiveSystem("apiserver")
        self.etcd: Ref
        self.apiserver: Ref
        self.port = 0
        self.authority: pki.Authority
        self.admin: pki.KeyPair
        self._close: Any = None

    def start(self) -> Standalone:
        """Start everything; the server is ready when this returns. Raises `OSError` for a bad port."""
        options = self.options
        self.system.start_thread()
        now = self.system.clock.now()
        if options.data_dir is not None:
            self.authority = pki.Authority.load_or_create(options.data_dir / "pki", now)
        else:
            self.authority = pki.Authority.create(now)
        server = self.authority.server(
            [options.host, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default",
             "kubernetes.default.svc", "10.96.0.1"]
        )
        self.admin = self.authority.client("admin", ("system:masters",))
        proxy = self.authority.client("front-proxy-client")
        tokens = {options.token: UserInfo("admin", ("system:masters",), "admin")} if options.token else {}
        config = ApiServerConfig(
            minor=options.minor, exclusive=options.exclusive, tokens=tokens, client_ca=self.authority.certificate,
            advertise_address=options.host, service_account_key=self._account_key(),
            proxy_client=proxy.certificate + proxy.key,
        )
        self.etcd = self.system.spawn(Child("etcd", options.make_etcd))
        from actors.apiserver._server import ApiServer

        self.apiserver = self.system.spawn(Child("apiserver", lambda: ApiServer(config, self.etcd)))
        context = pki.server_context(server, self.authority.certificate)
        self.port, self._close = http.start(self.system, self.apiserver, options.host, options.port, context)
        return self

    def _account_key(self) -> bytes:
        if self.options.data_dir is None:
            return b""
        path = self.options.data_dir / "pki" / "sa.key"
        if not path.exists():
            pki.write_private(path, pki.new_key())
        return path.read_bytes()

    @property
    def url(self) -> str:
        """Where it can be reached."""
        return f"https://{self.options.host}:{self.port}"

    def write_kubeconfig(self, path: Path) -> None:
        """Write the administrator's kubeconfig."""
        kubeconfig.write(path, self.url, self.authority.certificate, self.admin, self.options.token)

    def stop(self) -> None:
        """Stop listening, then the actors."""
        if self._close is not None:
            self._close()
        self.system.shutdown(2.0)


def run(options: Options) -> int:
    """Serve until interrupted. Prints the `ready:` line to standard output."""
    server = Standalone(options).start()
    path = options.kubeconfig or (options.data_dir or Path.cwd()) / "admin.kubeconfig"
    server.write_kubeconfig(path)
    import sys

    sys.stdout.write(f"ready: {server.url} kubeconfig: {path}\n")
    sys.stdout.flush()
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()
    server.stop()
    return 0
