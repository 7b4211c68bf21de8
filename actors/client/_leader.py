"""Leader election through a Lease, as client-go's `tools/leaderelection`.

Who holds the Lease leads. The holder renews it every `retry_s`; when it has not managed to for
`renew_deadline_s` it stops leading. The others take over once they have seen the Lease unchanged
for its duration, by their own clock: clocks of different machines are never compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.client._client import Client
from actors.client._events import EventRecorder
from protocol.api import StatusError
from protocol.objects import Object, mutable

__all__ = ["LeaderElector"]

LEASE_DURATION_S = 15
RENEW_DEADLINE_S = 10.0
RETRY_S = 2.0
JITTER = 1.2


class LeaderElector:
    """Competes for one Lease in the name of `identity`. Coroutines run in the client's actor.

    `on_started()` is called when this one begins to lead, `on_stopped()` when it ceases to; both
    are plain functions. With a `recorder` the Lease gets an event of each. `leader` is the identity
    that leads as far as is known. Raises `ValueError` for times that do not fit together.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        *,
        namespace: str = "kube-system",
        lease_duration_s: int = LEASE_DURATION_S,
        renew_deadline_s: float = RENEW_DEADLINE_S,
        retry_s: float = RETRY_S,
        on_started: Callable[[], Any],
        on_stopped: Callable[[], Any],
        recorder: EventRecorder | None = None,
    ) -> None:
        self.check_times(lease_duration_s, renew_deadline_s, retry_s)
        self.client = client
        self.actor = client.actor
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self.lease_duration_s = lease_duration_s
        self.renew_deadline_s = renew_deadline_s
        self.retry_s = retry_s
        self.on_started = on_started
        self.on_stopped = on_stopped
        self.recorder = recorder
        self.leading = False
        self.leader = ""
        self._observed: Object | None = None
        self._observed_at = 0.0
        self._renewed_at = 0.0
        self._stopped = False

    @staticmethod
    def check_times(lease_duration_s: float, renew_deadline_s: float, retry_s: float) -> None:
        """Raises `ValueError` where a holder could lose the Lease before it knows."""
        if retry_s <= 0:
            raise ValueError("retryPeriod must be greater than zero")
        if lease_duration_s <= renew_deadline_s:
            raise ValueError("leaseDuration must be greater than renewDeadline")
        if renew_deadline_s <= retry_s * JITTER:
            raise ValueError("renewDeadline must be greater than retryPeriod*JitterFactor")

    def start(self) -> None:
        """Compete from now on."""
        self.actor.background(self._run())

    async def release(self) -> None:
        """Give the Lease up, so that another need not wait for it to expire."""
        self._stopped = True
        if not self.leading or self._observed is None:
            return
        lease = mutable(self._observed)
        now = self.actor.clock.rfc3339_micro()
        lease["spec"] = {
            "leaseTransitions": (lease.get("spec") or {}).get("leaseTransitions", 0),
            "leaseDurationSeconds": 1,
            "acquireTime": now,
            "renewTime": now,
        }
        self._lead(False)
        try:
            await self.client.update("leases", lease)
        except StatusError as error:
            self.actor.log.info("lease_not_released", lease=self.name, error=error.message)

    async def _run(self) -> None:
        while not self._stopped:
            began = self.actor.clock.monotonic()
            if await self._try() and not self._stopped:
                # Counted from before the request: others count from when they saw it.
                self._renewed_at = began
                left_s = began + self.renew_deadline_s - self.actor.clock.monotonic()
                if left_s > 0:
                    self._lead(True)
                    self.actor.background(self._expire(began, left_s))
                await self.actor.sleep(self.retry_s)
                continue
            if self.leading and self.leader not in ("", self.identity):
                self._lead(False)
            await self.actor.sleep(self.retry_s * (1.0 + self.actor.random.random() * JITTER))

    async def _expire(self, renewed_at: float, left_s: float) -> None:
        """Stop leading unless there was another renewal: whatever a request still waits for."""
        await self.actor.sleep(left_s)
        if self._renewed_at == renewed_at:
            self._lead(False)

    def _lead(self, leading: bool) -> None:
        if leading == self.leading:
            return
        self.leading = leading
        self.actor.log.info("leading" if leading else "leading_ended", lease=self.name)
        if self.recorder is not None and self._observed is not None:
            what = "became leader" if leading else "stopped leading"
            self.recorder.event(
                self._observed, "Normal", "LeaderElection", f"{self.identity} {what}"
            )
        (self.on_started if leading else self.on_stopped)()

    async def _try(self) -> bool:
        """Acquire or renew; say whether this one holds the Lease now."""
        try:
            return await self._acquire_or_renew()
        except StatusError as error:
            if error.code not in (404, 409):
                self.actor.log.info("lease_unreachable", lease=self.name, error=error.message)
            return False

    async def _acquire_or_renew(self) -> bool:
        clock = self.actor.clock
        try:
            lease = await self.client.get("leases", self.name, self.namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            created = await self.client.create(
                "leases", self._lease(None), self.namespace
            )
            self._observe(created)
            return True
        if self._observed is None or (lease.get("spec") != self._observed.get("spec")):
            self._observe(lease)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        duration_s = spec.get("leaseDurationSeconds") or self.lease_duration_s
        valid = clock.monotonic() < self._observed_at + duration_s
        if holder and holder != self.identity and valid:
            return False
        updated = await self.client.update("leases", self._lease(lease))
        self._observe(updated)
        return True

    def _observe(self, lease: Object) -> None:
        self._observed = lease
        self._observed_at = self.actor.clock.monotonic()
        self.leader = (lease.get("spec") or {}).get("holderIdentity") or ""

    def _lease(self, old: Object | None) -> Object:
        now = self.actor.clock.rfc3339_micro()
        spec: Object = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.lease_duration_s,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        if old is None:
            return {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": spec,
            }
        before = old.get("spec") or {}
        spec["leaseTransitions"] = before.get("leaseTransitions") or 0
        if before.get("holderIdentity") == self.identity:
            spec["acquireTime"] = before.get("acquireTime", now)
        else:
            spec["leaseTransitions"] += 1
        lease = mutable(old)
        lease["spec"] = {**before, **spec}
        return lease  # type: ignore[no-any-return]
