"""The `etcd` command: start, serve, shut down."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from actors.etcd import DataDirError, Etcd, EtcdConfig
from actors.etcd.server._calls import Services
from actors.etcd.server._listener import Listener
from actors.etcd.server._translate import Identity
from actors.kernel import Actor, ActorDead, Child, LiveSystem, Ref, Restart, Terminated, handles
from protocol.etcd import EtcdError, Status

__all__ = ["run"]

SHUTDOWN_S = 5.0


def config_of(options: argparse.Namespace, client_urls: Sequence[str]) -> EtcdConfig:
    """The actor's settings from the command line's."""
    return EtcdConfig(
        data_dir=options.data_dir,
        unsafe_no_fsync=options.unsafe_no_fsync,
        name=options.name,
        client_urls=tuple(client_urls),
        quota_bytes=options.quota_backend_bytes or 2 * 1024**3,
        max_request_bytes=options.max_request_bytes,
        max_txn_ops=options.max_txn_ops,
        auto_compaction_revisions=options.auto_compaction_revisions,
        snapshot_wal_bytes=options.snapshot_wal_bytes,
    )


class UsageError(ValueError):
    """Options that make no sense; the text says why."""


def _addresses(urls: str) -> list[tuple[str, int, bool]]:
    """Host, port and whether TLS, of each URL."""
    addresses = []
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
            raise UsageError(f"not a URL to listen on: {url!r} (http://HOST:PORT)")
        addresses.append((parts.hostname, port, parts.scheme == "https"))
    return addresses


def _tls(options: argparse.Namespace) -> ssl.SSLContext:
    if not options.cert_file or not options.key_file:
        raise UsageError("https needs --cert-file and --key-file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.cert_file, options.key_file)
        if options.trusted_ca_file:
            context.load_verify_locations(options.trusted_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"cannot load the certificate: {error}") from error
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def run(options: argparse.Namespace, system: LiveSystem | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a second one stops at once. Returns the exit status: 0 after
    a clean stop, 1 when it could not listen or its disk failed, 2 for options that make no
    sense and for a data directory that cannot be used."""
    try:
        addresses = _addresses(options.listen_client_urls)
        tls = _tls(options) if any(secure for _, _, secure in addresses) else None
    except UsageError as error:
        sys.stderr.write(f"etcd: {error}\n")
        return 2
    return _Serving(options, system or LiveSystem("etcd"), addresses, tls).main()


class _Lookout(Actor):
    """Calls back when the store is dead for good."""

    def __init__(self, etcd: Ref, died: Callable[[], None]) -> None:
        super().__init__()
        self._etcd = etcd
        self._died = died

    def on_start(self) -> None:
        self.monitor(self._etcd)

    @handles(Terminated)
    def terminated(self, _: Terminated) -> None:
        """The store is dead."""
        self._died()


class _Serving:
    """One run of the command: the system, the store in it, and the sockets in front."""

    def __init__(
        self,
        options: argparse.Namespace,
        system: LiveSystem,
        addresses: list[tuple[str, int, bool]],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._options = options
        self._system = system
        self._addresses = addresses
        self._tls = tls
        self._listener: Listener | None = None
        self._status = 0
        self._stopping = False
        self._impatient = False

    def main(self) -> int:
        """Run the system's loop on this thread until told to stop."""
        loop = self._system.loop
        loop.call_soon(self._begin)
        self._system.run()
        if not self._impatient:
            self._system.shutdown()
        return self._status

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        self._task = loop.create_task(self._start())

    async def _start(self) -> None:
        try:
            await self._serve()
        except DataDirError as error:
            self._fail(str(error), status=2)
        except (EtcdError, ActorDead) as error:
            self._fail(f"cannot open the store: {error}")
        except OSError as error:
            self._fail(f"cannot listen: {error.strerror or error}")

    async def _serve(self) -> None:
        urls = (self._options.advertise_client_urls or self._options.listen_client_urls).split(",")
        config = config_of(self._options, urls)
        spec = Child("etcd", lambda: Etcd(config), restart=Restart.TEMPORARY)
        etcd = self._system.spawn(spec)
        self._system.spawn(Child("watch-etcd", lambda: _Lookout(etcd, self._died)))
        asked: Any = etcd.ask(Status(), block=False)
        status = await asked.asyncio()
        identity = Identity(status.cluster_id, status.member_id, status.raft_term)
        self._listener = Listener(Services(etcd, identity))
        served = []
        for host, port, secure in self._addresses:
            tls = self._tls if secure else None
            actual = await self._listener.listen(host, port, tls)
            shown = f"[{host}]" if ":" in host else host
            served.append(f"{'https' if secure else 'http'}://{shown}:{actual}")
        sys.stdout.write(f"ready: {','.join(served)}\n")
        sys.stdout.flush()

    def _died(self) -> None:
        if not self._stopping and self._listener is not None:
            self._fail("the store has failed, see the log")

    def _fail(self, text: str, status: int = 1) -> None:
        if self._stopping:
            return
        sys.stderr.write(f"etcd: {text}\n")
        self._status = status
        self._stop()

    def _signalled(self) -> None:
        if self._stopping:
            # Threads are left as they are: they end with the process.
            self._impatient = True
            self._status = self._status or 1
            self._system.loop.stop()
        self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._task = asyncio.get_running_loop().create_task(self._shut_down())

    async def _shut_down(self) -> None:
        """Take no more, let the store finish what it has, and end the loop."""
        if self._listener is not None:
            await self._listener.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._system.stop_actors().asyncio(), SHUTDOWN_S)
        self._system.loop.stop()
