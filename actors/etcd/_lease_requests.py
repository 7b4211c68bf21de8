"""The Lease service of an etcd."""

from __future__ import annotations

from typing import Any

from actors.etcd._core import Core, ExpireLeases
from actors.etcd._leases import Lease
from actors.kernel import handles
from protocol.etcd import (
    LeaseGrant,
    LeaseGrantResponse,
    LeaseKeepAlive,
    LeaseKeepAliveResponse,
    LeaseLeases,
    LeaseLeasesResponse,
    LeaseRevoke,
    LeaseRevokeResponse,
    LeaseTimeToLive,
    LeaseTimeToLiveResponse,
)

__all__ = ["LeaseRequests"]

LEASE_OVERHEAD_BYTES = 64
"""What a lease is taken to cost, when the quota is checked."""


class LeaseRequests(Core):
    """Handles what concerns leases."""

    @handles(LeaseGrant)
    def lease_grant(self, message: LeaseGrant) -> LeaseGrantResponse | Any:
        """Make a lease; the server chooses an id for 0."""
        self.check_quota(LEASE_OVERHEAD_BYTES)
        self.check_alarms(takes_space=True)
        return self.serve(self._grant, message)

    def _grant(self, message: LeaseGrant) -> LeaseGrantResponse:
        lease_id = message.id
        while not lease_id:
            lease_id = self.random.getrandbits(62)
            if lease_id in self._leases:
                lease_id = 0
        lease = self._leases.grant(lease_id, message.ttl, self.clock.monotonic())
        self._lease_changed(lease)
        self.arm_expiry()
        return LeaseGrantResponse(self._store.revision, lease_id, lease.ttl)

    @handles(LeaseRevoke)
    def lease_revoke(self, message: LeaseRevoke) -> LeaseRevokeResponse | Any:
        """End a lease and delete its keys."""
        return self.serve(self._revoke_asked, message)

    def _revoke_asked(self, message: LeaseRevoke) -> LeaseRevokeResponse:
        self.check_alarms(takes_space=False)
        self._revoke(message.id)
        return LeaseRevokeResponse(self._store.revision)

    @handles(LeaseKeepAlive)
    def lease_keep_alive(self, message: LeaseKeepAlive) -> LeaseKeepAliveResponse | Any:
        """Start a lease's time anew."""
        return self.serve(self._keep_alive, message)

    def _keep_alive(self, message: LeaseKeepAlive) -> LeaseKeepAliveResponse:
        ttl = self._leases.renew(message.id, self.clock.monotonic())
        lease = self._leases.get(message.id)
        if ttl and lease is not None:
            self._lease_changed(lease)
        return LeaseKeepAliveResponse(self._store.revision, message.id, ttl)

    @handles(LeaseTimeToLive)
    def lease_time_to_live(self, message: LeaseTimeToLive) -> LeaseTimeToLiveResponse | Any:
        """What is left of a lease, and its keys."""
        return self.serve(self._time_to_live, message)

    def _time_to_live(self, message: LeaseTimeToLive) -> LeaseTimeToLiveResponse:
        revision, lease, now = self._store.revision, self._leases.get(message.id), self.clock.monotonic()
        if lease is None or lease.expires <= now:
            return LeaseTimeToLiveResponse(revision, message.id, -1)
        keys = tuple(sorted(lease.keys)) if message.keys else ()
        return LeaseTimeToLiveResponse(revision, lease.id, lease.remaining(now), lease.ttl, keys)

    @handles(LeaseLeases)
    def lease_leases(self, message: LeaseLeases) -> LeaseLeasesResponse | Any:
        """All leases, the one that ends first first."""
        return self.serve(self._list_leases, message)

    def _list_leases(self, _: LeaseLeases) -> LeaseLeasesResponse:
        leases = sorted(self._leases, key=lambda lease: (lease.expires, lease.id))
        return LeaseLeasesResponse(self._store.revision, tuple(lease.id for lease in leases))

    @handles(ExpireLeases)
    def _expire_leases(self, _: ExpireLeases) -> None:
        self._expiry = None
        for lease_id in self._leases.expired(self.clock.monotonic()):
            self.log.debug("lease_expired", lease=lease_id)
            self._revoke(lease_id)
        self.arm_expiry()

    def _revoke(self, lease_id: int) -> None:
        journal = self._journal
        if journal is not None and lease_id in self._leases:
            journal.lease_ending(lease_id)
        self._kv.revoke(lease_id)
        if journal is not None:
            journal.lease_ended()

    def _lease_changed(self, lease: Lease) -> None:
        if self._journal is not None:
            left_s = lease.expires - self.clock.monotonic()
            self._journal.lease_set(lease.id, lease.ttl, left_s)
