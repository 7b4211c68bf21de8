"""The Service by which pods reach the cluster's DNS.

Owns the objects `kube-dns` in kube-system: a Service at the address that kubelets write into
resolv.conf, and endpoints that lead to where the DNS actor answers. It must never answer a query.
"""

from __future__ import annotations

from typing import Any

from actors.client import Client, ClientActor
from actors.kernel import ActorDead, AskTimeout, Ref, handles
from actors.network.dns._actor import DNS_USER
from protocol.api import StatusError
from protocol.message import Message
from protocol.objects import Object, mutable

__all__ = ["DNS_IP", "DnsService"]

DNS_IP = "10.96.0.10"
NAMESPACE, NAME = "kube-system", "kube-dns"
RETRY_S = 1.0
LABELS = {
    "k8s-app": NAME,
    "kubernetes.io/cluster-service": "true",
    "kubernetes.io/name": "CoreDNS",
}
PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


class _Ensure(Message, frozen=True):
    """See that the objects are there."""


class DnsService(ClientActor):
    """`address` and `port`: where the DNS answers, as pods reach it. What somebody has changed of the
    Service is left as it is; the endpoints are kept right."""

    def __init__(self, apiserver: Ref, address: str, port: int = 53, cluster_ip: str = DNS_IP) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user=DNS_USER, user_agent="coredns")
        self.address, self.port, self.cluster_ip = address, port, cluster_ip

    def on_start(self) -> None:
        self.ref.tell(_Ensure())

    @handles(_Ensure, serial=lambda message: "ensure")
    async def ensure(self, message: _Ensure) -> None:
        try:
            for what, obj in self._objects():
                await self._have(what, obj)
        except (StatusError, ActorDead, AskTimeout) as error:
            # the namespace may not be there yet, or the API server be away
            self.log.info("dns_service_waits", error=str(error))
            self.after(RETRY_S, _Ensure())

    async def _have(self, what: str, obj: Object) -> None:
        try:
            found = await self.client.get(what, obj["metadata"]["name"], NAMESPACE)
        except StatusError as error:
            if error.code != 404:
                raise
            await self.client.create(what, obj, NAMESPACE)
            return
        content = {k: v for k, v in obj.items() if k != "metadata"}
        if what != "services" and any(found.get(k) != v for k, v in content.items()):
            await self.client.update(what, {**mutable(found), **content})

    def _objects(self) -> tuple[tuple[str, Object], ...]:
        ports = [{"name": name, "port": self.port, "protocol": protocol} for name, protocol in PORTS]
        spec: dict[str, Any] = {
            "clusterIP": self.cluster_ip,
            "clusterIPs": [self.cluster_ip],
            "ports": [
                {"name": name, "port": 53, "protocol": protocol, "targetPort": self.port} for name, protocol in PORTS
            ],
        }
        mirrored = {**LABELS, "endpointslice.kubernetes.io/skip-mirror": "true"}
        owned = {"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "kubekka-dns"}
        ready = {"ready": True, "serving": True, "terminating": False}
        return (
            ("services", {"metadata": {"name": NAME, "labels": LABELS}, "spec": spec}),
            (
                "endpoints",
                {
                    "metadata": {"name": NAME, "labels": mirrored},
                    "subsets": [{"addresses": [{"ip": self.address}], "ports": ports}],
                },
            ),
            (
                "endpointslices",
                {
                    "metadata": {"name": f"{NAME}-cluster", "labels": {**LABELS, **owned}},
                    "addressType": "IPv4",
                    "ports": ports,
                    "endpoints": [{"addresses": [self.address], "conditions": ready}],
                },
            ),
        )
