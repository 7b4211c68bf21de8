"""A live system whose API is served over HTTPS."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.kernel import LiveClock, LiveSystem, Ref, TimeKeeper, Tracer
from assembly.certificates import Certificates, WebhookCertificate
from assembly.components import start_apiserver
from assembly.config import ClusterConfig
from assembly.store import STORE_OPENS_S, finish_recording, import_state, start_recorder, start_store
from protocol.etcd import Range

if TYPE_CHECKING:
    from actors.apiserver import pki

__all__ = ["Served"]


class Served:
    """A live system whose API is served over HTTPS with certificates of its own."""

    def __init__(self, config: ClusterConfig | None = None, *, tracer: Tracer | None = None, **settings: Any) -> None:
        self.config = replace(config or ClusterConfig(), **settings)
        self.tracer = tracer
        self._system: LiveSystem | None = None
        self._folder: Path | None = None
        self._close_http: Callable[[], None] | None = None
        self._port = 0
        self._certificates: Certificates | None = None
        self._recorder: Ref | None = None

    def _serve(self) -> Ref:
        """Start the system, the store, the API server and the HTTP front; answers the API server.

        Raises: OSError when the port is taken; DataDirError.
        """
        from actors.apiserver import http

        clock = None
        if self.config.clock != "real":
            from simulation import make_clock

            clock = make_clock(self.config.clock, LiveClock().now())
        system = LiveSystem("cluster", seed=self.config.seed, tracer=self.tracer, clock=clock)
        self._system = system.start_thread()
        etcd = start_store(system, self.config)
        etcd.ask(Range(b"\0", limit=1), timeout=STORE_OPENS_S)  # a store that cannot be opened says so here
        import_state(etcd, self.config)
        self._recorder = start_recorder(system, self.config, etcd)
        self._certificates = Certificates(self.config, system.clock.now())
        listener = http.bind(self.config.host) if self.config.port == 0 else None
        settings = {
            "advertise_address": self.config.host,
            "advertise_port": self.config.port if listener is None else listener.getsockname()[1],
            **self._certificates.api_settings(),
            **self.config.apiserver,
        }
        apiserver = start_apiserver(system, self.config, etcd, **settings)
        self._port, self._close_http = http.start(
            system, apiserver, self.config.host, self.config.port, self._certificates.tls(), listener=listener
        )
        return apiserver

    def stop(self) -> None:
        """Stop everything that `start` started; nothing is left behind."""
        if self._close_http is not None:
            self._close_http()
            self._close_http = None
        if self._system is not None:
            if not self._system.failure:
                finish_recording(self._recorder)
            if self.config.clock == "virtual":
                TimeKeeper(self._system).auto_advance(True)  # what stops may need time for it
            self._system.shutdown()
            self._system = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def system(self) -> LiveSystem:
        """The actor system. Raises: RuntimeError when the cluster is not running."""
        if self._system is None:
            raise RuntimeError("the cluster is not running: use `with Cluster() as cluster:` or call start()")
        return self._system

    @property
    def url(self) -> str:
        """Where the API is served."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"https://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port that was bound, also when the configuration left it open."""
        return self._port

    @property
    def authority(self) -> pki.Authority:
        """The certificate authority of this cluster."""
        assert self._certificates is not None
        return self._certificates.authority

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig of the administrator, readable by its owner alone."""
        assert self._certificates is not None
        self._certificates.write_kubeconfig(path, self.url)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator, removed when the cluster stops."""
        path = self._files() / "kubeconfig"
        if not path.exists():
            self.write_kubeconfig(path)
        return path

    def webhook_certificate(self, *hosts: str) -> WebhookCertificate:
        """A certificate with which a webhook can be served under these names and addresses (`127.0.0.1` and
        `localhost` without any; `NAME.NAMESPACE.svc` for one behind a Service). Its files are removed when
        the cluster stops."""
        names = hosts or ("127.0.0.1", "localhost")
        pair = self.authority.server(list(names))
        folder = Path(tempfile.mkdtemp(prefix="webhook-", dir=self._files()))
        made = WebhookCertificate(
            folder / "tls.crt", folder / "tls.key", folder / "ca.crt", base64.b64encode(self.authority.certificate).decode()
        )
        made.certificate.write_bytes(pair.certificate)
        made.key.touch(mode=0o600)
        made.key.write_bytes(pair.key)
        made.authority.write_bytes(self.authority.certificate)
        return made

    def _files(self) -> Path:
        """A folder that goes when the cluster stops."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kubekka-"))
        return self._folder
