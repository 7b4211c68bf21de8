"""Leases: ids, times to live, and the keys that go with them.

Knows no clock: whoever calls says what time it is, in seconds of a clock that never goes back.
It never touches the store; `KeyValues.revoke` deletes the keys. Semantics: etcd 3.6's
`server/lease`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.etcd import _errors as errors

__all__ = ["MAX_TTL_SECONDS", "MIN_TTL_SECONDS", "Lease", "Leases"]

MIN_TTL_SECONDS = 2
"""Shorter times to live become this one: etcd takes 1.5 election timeouts of 1 s, rounded up."""
MAX_TTL_SECONDS = 9_000_000_000


@dataclass(slots=True)
class Lease:
    """`expires` is a time of the caller's clock, infinite while expiry is suspended."""

    id: int
    ttl: int
    expires: float
    keys: set[bytes] = field(default_factory=set)

    def remaining(self, now: float) -> int:
        """Whole seconds left, cut off as etcd does."""
        return max(0, math.floor(self.expires - now))


class Leases:
    """All leases of a store."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._due: list[tuple[float, int]] = []  # a heap; entries may be outdated

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self._leases

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, lease_id: int) -> Lease | None:
        """The lease of that id, if there is one."""
        return self._leases.get(lease_id)

    def check_grant(self, lease_id: int, ttl: int) -> None:
        """Refuse a time to live that is too long and an id that is taken."""
        if ttl > MAX_TTL_SECONDS:
            raise errors.lease_ttl_too_large()
        if lease_id in self._leases:
            raise errors.lease_exists()

    def grant(self, lease_id: int, ttl: int, now: float, remaining: float | None = None) -> Lease:
        """Make a lease. `remaining`: seconds left when it is not the whole time to live."""
        self.check_grant(lease_id, ttl)
        ttl = max(ttl, MIN_TTL_SECONDS)
        lease = Lease(lease_id, ttl, now + (ttl if remaining is None else remaining))
        self._leases[lease_id] = lease
        heapq.heappush(self._due, (lease.expires, lease_id))
        return lease

    def renew(self, lease_id: int, now: float) -> int:
        """Start the time to live anew. Returns it, or 0 when there is no such lease."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.expires <= now:
            return 0
        lease.expires = now + lease.ttl
        return lease.ttl

    def revoke(self, lease_id: int) -> set[bytes]:
        """Forget a lease. Returns the keys that were attached. Raises `EtcdError` if unknown."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            raise errors.lease_not_found()
        return lease.keys

    def attach(self, lease_id: int, key: bytes) -> None:
        """Tie a key to a lease that exists."""
        self._leases[lease_id].keys.add(key)

    def detach(self, lease_id: int, key: bytes) -> None:
        """Untie a key; the lease may be gone already."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.keys.discard(key)

    def expired(self, now: float) -> list[int]:
        """Ids of the leases whose time is over, the longest over first. They stay until
        revoked."""
        over: list[int] = []
        while self._due and self._due[0][0] <= now:
            expires, lease_id = heapq.heappop(self._due)
            lease = self._leases.get(lease_id)
            if lease is None:
                continue
            if lease.expires > expires:
                heapq.heappush(self._due, (lease.expires, lease_id))
            else:
                over.append(lease_id)
        return over

    def next_expiry(self) -> float | None:
        """When the next lease may be over; early rather than late."""
        return self._due[0][0] if self._due else None
