"""Where the members of a real etcd are, and which of them is asked.

One member is used as long as it answers; when it does not, the next one is. A request that may
have been carried out is never sent twice: its failure is the asker's to judge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from protocol.etcd import EtcdError
from protocol.message import Message

__all__ = ["Endpoints", "RemoteConfig", "parse_servers"]

OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
UNAVAILABLE = 14
NEVER_SENT = (
    "failed to connect",
    "no leader",
    "not leader",
    "connection refused",
    "name resolution",
    "too many requests",
    "member is learner",
)
"""Texts of UNAVAILABLE failures that say that the request was not carried out."""


class RemoteConfig(Message, frozen=True, kw_only=True):
    """`servers` as for kube-apiserver's `--etcd-servers`: URLs of the members."""

    servers: tuple[str, ...]
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    request_timeout_s: float = 10.0
    """How long one request may take, changes of the member included."""


def parse_servers(text: str) -> tuple[str, ...]:
    """URLs separated by commas. Raises `ValueError` that names a bad one."""
    servers = tuple(part.strip() for part in text.split(",") if part.strip())
    for server in servers:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of an etcd server: {server!r} (http://HOST:PORT)")
    if not servers:
        raise ValueError("no etcd server is given")
    return servers


class Endpoints:
    """Channels to all members, one of them in use. Lives on the loop's thread.

    `pause(seconds)` waits by the clock of the system.
    """

    def __init__(self, config: RemoteConfig, pause: Callable[[float], Awaitable[Any]]) -> None:
        self._timeout_s = config.request_timeout_s
        self._pause = pause
        self._channels = [_channel(server, config) for server in config.servers]
        self._current = 0

    @property
    def channel(self) -> Any:
        """The channel to the member in use."""
        return self._channels[self._current]

    def next_member(self, failed: Any) -> None:
        """Use another member than the one whose channel failed."""
        if self.channel is failed:
            self._current = (self._current + 1) % len(self._channels)

    async def unary(self, path: str, request: Any, reply: Any, repeatable: bool) -> Any:
        """Call a method. Raises `EtcdError` with what the member or gRPC said.

        A failed call is tried with another member if it is `repeatable` (it changes nothing) or
        was certainly not carried out, until the time is up.
        """
        waited = 0.0
        while True:
            channel = self.channel
            method = channel.unary_unary(path, type(request).SerializeToString, reply.FromString)
            try:
                return await method(request, timeout=max(0.1, self._timeout_s - waited))
            except grpc.aio.AioRpcError as error:
                failure = to_etcd_error(error)
                again = failure.code == UNAVAILABLE and (repeatable or _never_sent(failure.message))
                if not again or waited >= self._timeout_s:
                    raise failure from None
            self.next_member(channel)
            delay = 0.02 if waited < 0.2 else 0.2
            waited += delay
            await self._pause(delay)

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close()


def _channel(server: str, config: RemoteConfig) -> Any:
    parts = urlsplit(server)
    target = f"{parts.hostname}:{parts.port or 2379}"
    if parts.scheme == "http":
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(*(path.read_bytes() if path else None for path in _tls_files(config)))
    return grpc.aio.secure_channel(target, credentials, options=OPTIONS)


def _tls_files(config: RemoteConfig) -> tuple[Path | None, Path | None, Path | None]:
    return config.ca_file, config.key_file, config.cert_file


def _never_sent(text: str) -> bool:
    lowered = text.lower()
    return any(phrase in lowered for phrase in NEVER_SENT)


def to_etcd_error(error: Any) -> EtcdError:
    """What gRPC raised, as the etcd actor would have."""
    return EtcdError(error.code().value[0], error.details() or "")
