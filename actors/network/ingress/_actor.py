"""The Ingress controller as an actor.

Owns the informers behind `Routes`, the choice of endpoints and certificates, the IngressClass `kubekka`
and the addresses in Ingresses' status. It moves no bytes: `_server` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.client import Client, ClientActor, Informer
from actors.kernel import ActorDead, AskTimeout, Future, Ref, handles
from actors.network._informing import noting
from actors.network.ingress._routes import Backend, Routes
from protocol.api import StatusError, UserInfo
from protocol.message import Message
from protocol.objects import Object, metadata

if TYPE_CHECKING:  # loaded with the first certificate
    from actors.network.ingress._certificates import Pair

__all__ = ["CLASS", "Certificates", "GetCertificates", "IngressController", "Route", "Target"]

CLASS = "kubekka"
CONTROLLER = "kubekka.dev/ingress"
USER = UserInfo("system:serviceaccount:kube-system:ingress", ("system:masters", "system:authenticated"))
RETRY_S = 1.0


class Route(Message, frozen=True):
    """Whom is this request for? Answered by a `Target`, once the first lists have been read."""

    host: str
    path: str


class Target(Message, frozen=True):
    """`status`: 200 and addresses (IP, port) in the order in which to try them; 404 where no rule is
    for the request; 503 where the Service has no ready endpoint."""

    status: int
    addresses: tuple[tuple[str, int], ...] = ()
    service: str = ""


class GetCertificates(Message, frozen=True):
    """Answered by `Certificates` once there are others than those of number `known`."""

    known: int = -1


class Certificates(Message, frozen=True):
    """By host; `default`: of all others (None: the server's own)."""

    number: int
    by_host: dict[str, Pair]
    default: Pair | None = None


class _EnsureClass(Message, frozen=True):
    """See that the IngressClass is there."""


class _Publish(Message, frozen=True):
    """Write our address into an Ingress's status."""

    key: str


class IngressController(ClientActor):
    """Serves Ingresses of the class `kubekka` and of other classes that name this controller, and those
    that name no class. `address`: what their status says (an IP, or empty to leave it alone).
    `default_certificate`: `namespace/name` of the Secret for hosts without one of their own."""

    def __init__(self, apiserver: Ref, address: str = "127.0.0.1", default_certificate: str = "") -> None:
        super().__init__()
        self.default_certificate = default_certificate
        self.client = Client(self, apiserver, user=USER, user_agent="ingress")
        self.address = address
        self.routes = Routes()
        self.requests = 0
        self._all: dict[str, Object] = {}
        self._ingresses: dict[str, Object] = {}  # ours
        self._classes: set[str] = {CLASS}
        self._secrets: dict[str, Object] = {}
        self._certificates = Certificates(0, {})
        self._waiting: list[Future[Certificates]] = []
        self._services: dict[str, Object] = {}
        self._slices: dict[str, dict[str, Object]] = {}
        self.informers = (
            self._inform("ingresses", self._note_ingress),
            self._inform("services", lambda name, obj: self._keep(self._services, name, obj)),
            self._inform("endpointslices", self._note_slice),
            self._inform("ingressclasses", self._note_class),
            self._inform("secrets", self._note_secret, field_selector="type=kubernetes.io/tls"),
        )

    def _inform(self, what: str, note: Callable[[str, Object | None], None], **selectors: str) -> Informer:
        return noting(self.client, what, lambda name, old, new: note(name, new), **selectors)

    def on_start(self) -> None:
        for informer in self.informers:
            informer.start()
        self.ref.tell(_EnsureClass())

    @staticmethod
    def _keep(store: dict[str, Object], name: str, obj: Object | None) -> None:
        if obj is None:
            store.pop(name, None)
        else:
            store[name] = obj

    def _note_ingress(self, name: str, obj: Object | None) -> None:
        self._keep(self._all, name, obj)
        ours = obj is not None and _class_of(obj) in self._classes
        self._keep(self._ingresses, name, obj if ours else None)
        self.routes.set(name, obj if ours else None)
        self._choose_certificates()
        if ours and self.address:
            self.ref.tell(_Publish(name))

    def _note_class(self, name: str, obj: Object | None) -> None:
        ours = name == CLASS or (obj is not None and (obj.get("spec") or {}).get("controller") == CONTROLLER)
        if ours != (name in self._classes):
            (self._classes.add if ours else self._classes.discard)(name)
            for key_, ingress in list(self._all.items()):
                self._note_ingress(key_, ingress)

    def _note_secret(self, name: str, obj: Object | None) -> None:
        self._keep(self._secrets, name, obj)
        self._choose_certificates()

    def _choose_certificates(self) -> None:
        if not self._secrets and not self._certificates.by_host:
            return
        from actors.network.ingress._certificates import certificates, pair_of

        by_host = certificates((self._ingresses[name] for name in sorted(self._ingresses)), self._secrets)
        default = pair_of(self._secrets.get(self.default_certificate)) if self.default_certificate else None
        if (by_host, default) == (self._certificates.by_host, self._certificates.default):
            return
        self._certificates = Certificates(self._certificates.number + 1, by_host, default)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.resolve(self._certificates)

    @handles(GetCertificates)
    async def get_certificates(self, message: GetCertificates) -> Certificates:
        await self._synced()
        if message.known == self._certificates.number:
            future: Future[Certificates] = Future()
            self._waiting.append(future)
            return await future
        return self._certificates

    async def _synced(self) -> None:
        for informer in self.informers:
            await informer.synced()

    def _note_slice(self, name: str, obj: Object | None) -> None:
        for slices in self._slices.values():
            slices.pop(name, None)
        service = (metadata(obj).get("labels") or {}).get("kubernetes.io/service-name") if obj else None
        if obj is not None and service:
            self._slices.setdefault(f"{metadata(obj)['namespace']}/{service}", {})[name] = obj

    @handles(_EnsureClass)
    async def ensure_class(self, message: _EnsureClass) -> None:
        default = {"ingressclass.kubernetes.io/is-default-class": "true"}
        obj = {"metadata": {"name": CLASS, "annotations": default}, "spec": {"controller": CONTROLLER}}
        try:
            await self.client.create("ingressclasses", obj)
        except StatusError as error:
            if error.code != 409:
                self.after(RETRY_S, _EnsureClass())
        except (ActorDead, AskTimeout):
            self.after(RETRY_S, _EnsureClass())

    @handles(_Publish, serial=lambda message: message.key)
    async def publish(self, message: _Publish) -> None:
        obj = self._ingresses.get(message.key)
        wanted = [{"ip": self.address}]
        if obj is None or ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") == wanted:
            return
        meta = metadata(obj)
        status = {"status": {"loadBalancer": {"ingress": wanted}}}
        try:
            await self.client.patch("ingresses", meta["name"], meta["namespace"], status, subresource="status")
        except StatusError as error:
            if error.code not in (404, 409):
                self.log.warning("ingress_status_not_written", ingress=message.key, error=str(error))
        except (ActorDead, AskTimeout):
            self.after(RETRY_S, message)

    @handles(Route)
    async def route(self, message: Route) -> Target:
        await self._synced()
        self.requests += 1
        backend = self.routes.match(message.host, message.path)
        if backend is None:
            return Target(404)
        addresses = self._addresses(backend)
        self.random.shuffle(addresses)
        name = f"{backend.namespace}/{backend.service}:{backend.port}"
        return Target(200 if addresses else 503, tuple(addresses), name)

    def _addresses(self, backend: Backend) -> list[tuple[str, int]]:
        """Ready endpoints of the Service's port."""
        name = f"{backend.namespace}/{backend.service}"
        spec = (self._services.get(name) or {}).get("spec") or {}
        port = next((p for p in spec.get("ports") or () if backend.port in (p["port"], p.get("name"))), None)
        if port is None:
            return []
        found: dict[tuple[str, int], None] = {}
        for _, endpoint_slice in sorted(self._slices.get(name, {}).items()):
            numbers = [
                p["port"]
                for p in endpoint_slice.get("ports") or ()
                if (p.get("name") or "") == (port.get("name") or "") and p.get("port")
            ]
            for endpoint in endpoint_slice.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    found.update({(ip, n): None for ip in endpoint.get("addresses") or () for n in numbers})
        return list(found)


def _class_of(ingress: Object) -> str:
    """The class of an Ingress; one that names none is ours."""
    legacy = (metadata(ingress).get("annotations") or {}).get("kubernetes.io/ingress.class")
    found: str = (ingress.get("spec") or {}).get("ingressClassName") or legacy or CLASS
    return found
