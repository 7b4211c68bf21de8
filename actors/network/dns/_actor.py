"""The cluster DNS as an actor: the zone, kept in step with the API, and answers to queries.

Owns the informers that feed the zone, following of CNAMEs, and the question whom to ask about names
that are not the cluster's. It must never write to the API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from actors.client import Client, ClientActor, Informer
from actors.kernel import Ref, handles
from actors.network.dns._zone import Zone
from protocol.api import UserInfo
from protocol.dns import Answer, Query, Record
from protocol.objects import Object, metadata

__all__ = ["DNS_USER", "ClusterDns"]

Forward = Callable[[str, str], Awaitable[Answer]]
MAX_CHAIN = 8
DNS_USER = UserInfo("system:serviceaccount:kube-system:coredns", ("system:masters", "system:authenticated"))


class ClusterDns(ClientActor):
    """Answers for one cluster. `forward(name, type)` is awaited for all other names; without it
    they are refused."""

    def __init__(
        self,
        apiserver: Ref,
        domain: str = "cluster.local",
        *,
        forward: Forward | None = None,
        user: UserInfo = DNS_USER,
    ) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user=user, user_agent="coredns")
        self.zone = Zone(domain)
        self.forward = forward
        self.queries = 0
        self.informers: tuple[Informer, ...] = (
            Informer(
                self.client,
                "services",
                on_add=self.zone.set_service,
                on_update=lambda old, new: self.zone.set_service(new),
                on_delete=lambda obj: self.zone.delete_service(metadata(obj)["namespace"], metadata(obj)["name"]),
            ),
            Informer(
                self.client,
                "endpointslices",
                on_add=self.zone.set_slice,
                on_update=self._slice_changed,
                on_delete=self.zone.delete_slice,
            ),
            Informer(
                self.client,
                "namespaces",
                on_add=lambda obj: self.zone.set_namespace(metadata(obj)["name"]),
                on_delete=lambda obj: self.zone.set_namespace(metadata(obj)["name"], False),
            ),
        )

    def on_start(self) -> None:
        for informer in self.informers:
            informer.start()

    def _slice_changed(self, old: Object, new: Object) -> None:
        self.zone.delete_slice(old)
        self.zone.set_slice(new)

    @handles(Query)
    async def query(self, message: Query) -> Answer:
        for informer in self.informers:
            await informer.synced()
        self.queries += 1
        return await self._resolve(message.name, message.type)

    async def _resolve(self, name: str, kind: str) -> Answer:
        """Answer, with the records that a CNAME leads to."""
        records: list[Record] = []
        for _ in range(MAX_CHAIN):
            answer = await self._once(name, kind)
            records += answer.records
            aliases = [r for r in answer.records if r.type == "CNAME"]
            if not aliases or kind in ("CNAME", "ANY") or any(r.type == kind for r in answer.records):
                code = answer.code if not records else "NOERROR"
                return Answer(code, self._balanced(records), answer.additional, answer.authority)
            name = aliases[-1].data
        return Answer("SERVFAIL")

    def _balanced(self, records: list[Record]) -> tuple[Record, ...]:
        """Addresses in an order that chance picks, behind all else: clients take the first."""
        addresses = [r for r in records if r.type in ("A", "AAAA")]
        self.random.shuffle(addresses)
        return (*(r for r in records if r.type not in ("A", "AAAA")), *addresses)

    async def _once(self, name: str, kind: str) -> Answer:
        if self.zone.covers(name):
            return self.zone.lookup(name, kind)
        if self.forward is None:
            return Answer("REFUSED")
        try:
            return await self.forward(name, kind)
        except (OSError, TimeoutError):
            return Answer("SERVFAIL")
