"""What a strategy may ask of the API server while it prepares a write.

Owns the shape of that context and of allocators. The API server fills it in; strategies never
reach for clocks, random numbers or storage themselves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from protocol.api import UserInfo

__all__ = ["AllocationError", "Allocators", "Context", "NoAllocators", "rfc3339", "rfc3339_micro"]


class AllocationError(Exception):
    """An address or port that cannot be had. The text is Kubernetes' own, without the field:
    `provided IP is already allocated`, `provided port is already allocated`, ..."""


class Allocators(Protocol):
    """Cluster IPs and node ports.

    What is allocated while a request is prepared is given back by the API server when the request
    fails later; strategies only take and release.
    """

    def ip_families(self) -> tuple[str, ...]:
        """The cluster's families, the default one first: `("IPv4",)`."""

    def allocate_ip(self, family: str, wanted: str, namespace: str, name: str) -> str:
        """An address of the family: `wanted` itself, or any when that is empty.

        Raises `AllocationError`.
        """

    def release_ip(self, address: str) -> None:
        """Give an address back."""

    def allocate_port(self, wanted: int, protocol: str) -> int:
        """A node port: `wanted` itself, or any when that is 0. Raises `AllocationError`."""

    def release_port(self, port: int) -> None:
        """Give a node port back."""


class NoAllocators:
    """Refuses to allocate: for requests that never need an address."""

    def ip_families(self) -> tuple[str, ...]:
        """A single-stack IPv4 cluster."""
        return ("IPv4",)

    def allocate_ip(self, family: str, wanted: str, namespace: str, name: str) -> str:
        """Only what is asked for by name."""
        if wanted:
            return wanted
        raise AllocationError("no allocator for addresses")

    def release_ip(self, address: str) -> None:
        """Nothing was taken."""

    def allocate_port(self, wanted: int, protocol: str) -> int:
        """Only what is asked for by number."""
        if wanted:
            return wanted
        raise AllocationError("no allocator for ports")

    def release_port(self, port: int) -> None:
        """Nothing was taken."""


@dataclass(slots=True)
class Context:
    """One request, as strategies see it."""

    now: float
    """Seconds since the epoch, by the API server's clock."""
    user: UserInfo
    random: random.Random = field(default_factory=lambda: random.Random(0))
    minor: int = 36
    allocators: Allocators = field(default_factory=NoAllocators)
    dry_run: bool = False
    _rfc3339: str = ""

    @property
    def rfc3339(self) -> str:
        """Now, in whole seconds: `2026-01-02T03:04:05Z`."""
        if not self._rfc3339:
            self._rfc3339 = rfc3339(self.now)
        return self._rfc3339

    def uuid(self) -> str:
        """A random (version 4) UUID from the request's own generator."""
        bits = self.random.getrandbits(128)
        bits = bits & ~(0xF000 << 64) & ~(0xC000 << 48) | (4 << 76) | (8 << 60)
        text = f"{bits:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def rfc3339(now: float) -> str:
    """Seconds since the epoch as `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(now: float) -> str:
    """Seconds since the epoch as `2026-01-02T03:04:05.000006Z`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
