"""HTTP and HTTPS for Ingresses: a reverse proxy on aiohttp.

Owns the moving of requests and answers between a client and an endpoint, as streams, and what both are
told of each other; TLS ends here, with the certificate of the name that the client asks for. Where a
request goes the controller says. Must run on the system's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from actors.kernel import LiveSystem, Ref
from actors.network.ingress._actor import Certificates, GetCertificates, Route, Target
from actors.network.ingress._certificates import Pair, certificate_for, self_signed
from actors.network.ingress._tunnel import open_tunnel
from protocol.podnet import OPEN, Dial, Dialed

__all__ = ["Server", "serve"]

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 60.0
RETRY_S = 1.0
SHUTDOWN_S = 2.0
SIMULATED_IP = "172.18.0.1"  # where this server is, as simulated pods see it
BODY_LIMIT = 2**40  # bodies pass as streams, so none is too large
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
Where = Callable[[str, int], tuple[str, int]]


class _Tls:
    """TLS contexts by host. A certificate that cannot be used leaves its host with the default one."""

    def __init__(self, default: Pair) -> None:
        self.fallback = self.default = _context(default)
        self.default.sni_callback = self._choose  # type: ignore[assignment]
        self._pairs: dict[str, Pair] = {}
        self._contexts: dict[Pair, ssl.SSLContext] = {}

    def use(self, found: Certificates) -> None:
        wanted = {*found.by_host.values(), *([found.default] if found.default else [])}
        self._contexts = {pair: known for pair, known in self._contexts.items() if pair in wanted}
        for pair in wanted - set(self._contexts):
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._contexts[pair] = _context(pair)
        self._pairs = found.by_host
        self.fallback = self._contexts.get(found.default, self.default) if found.default else self.default

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        pair = certificate_for(name, self._pairs) if name else None
        connection.context = self._contexts.get(pair, self.fallback) if pair else self.fallback


def _context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory(prefix="kubekka-ingress-") as folder:  # only readable by us
        file = Path(folder) / "pair.pem"
        file.write_bytes(pair.certificate + b"\n" + pair.key)
        context.load_cert_chain(file)
    return context


class Server:
    """One or two listeners. `dial`: where an endpoint's address really is (tests have pods elsewhere);
    `network`: who answers for simulated pods, which listen nowhere."""

    def __init__(self, controller: Ref, dial: Where, network: Ref | None = None) -> None:
        self.controller, self.dial, self.network = controller, dial, network
        self.address: tuple[str, int] = ("", 0)
        self.tls_address: tuple[str, int] = ("", 0)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._following: asyncio.Task[None] | None = None
        self._tunnels: set[asyncio.Task[object]] = set()

    async def start(self, host: str, port: int | None, tls_port: int | None, now: float) -> None:
        """Listen. Raises OSError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        if port is not None:
            self.address = await self._listen(host, port, None)
        if tls_port is not None:
            tls = _Tls(self_signed(now))
            self._following = asyncio.get_running_loop().create_task(self._follow(tls))
            self.tls_address = await self._listen(host, tls_port, tls.default)

    async def _listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, int]:
        assert self._runner is not None
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        return host, self._runner.addresses[-1][1]

    async def _follow(self, tls: _Tls) -> None:
        """Take over certificates as they change."""
        known = -1
        while True:
            try:
                question = GetCertificates(known)
                found: Certificates = await self.controller.ask(question, block=False).asyncio()
                known = found.number
                tls.use(found)
            except Exception:  # the controller starts anew
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
        for task in list(self._tunnels):  # they have no end of their own
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            target: Target = await self.controller.ask(Route(request.host, request.path), block=False).asyncio()
        except Exception:
            return web.Response(status=503, text="the ingress controller is away\n")
        if target.status == 404:
            return web.Response(status=404, text="default backend - 404\n")
        if target.status != 200:
            return web.Response(status=503, text=f"service {target.service} has no ready endpoint\n")
        if self.network is not None:
            return await self._simulated(self.network, target)
        for ip, port in target.addresses:
            place = self.dial(ip, port)
            try:
                if "upgrade" in request.headers.get("Connection", "").lower() and request.headers.get("Upgrade"):
                    return await self._upgrade(request, place)
                return await self._pass_on(request, *place)
            except (aiohttp.ClientConnectorError, ConnectionRefusedError):
                continue  # nothing was sent: another endpoint may take it
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                return web.Response(status=502, text=f"{target.service}: {error}\n")
        return web.Response(status=502, text=f"no endpoint of {target.service} takes connections\n")

    async def _simulated(self, network: Ref, target: Target) -> web.StreamResponse:
        for ip, port in target.addresses:
            found: Dialed = await network.ask(Dial("", "", (SIMULATED_IP,), ip, port), block=False).asyncio()
            if found.verdict == OPEN:
                return web.Response(status=found.status, body=found.body, content_type="text/plain")
        return web.Response(status=502, text=f"no endpoint of {target.service} takes connections\n")

    async def _upgrade(self, request: web.Request, place: tuple[str, int]) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            return await open_tunnel(request, place, _headers(request, upgrade=True), CONNECT_TIMEOUT_S)
        finally:
            self._tunnels.discard(task)

    async def _pass_on(self, request: web.Request, ip: str, port: int) -> web.StreamResponse:
        assert self._session is not None
        host = f"[{ip}]" if ":" in ip else ip
        url = f"http://{host}:{port}{request.raw_path}"
        body = request.content if request.can_read_body else None
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=_headers(request), data=body, allow_redirects=False
        ) as answer:
            kept = CIMultiDict((k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP)
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _headers(request: web.Request, *, upgrade: bool = False) -> CIMultiDict[str]:
    """The client's headers without those that are between neighbours (but for an upgrade), and who the
    client is."""
    dropped = HOP_BY_HOP - ({"upgrade"} if upgrade else set())
    found: CIMultiDict[str] = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in dropped)
    if upgrade:
        found["Connection"] = "Upgrade"
    client = request.remote or ""
    earlier = request.headers.get("X-Forwarded-For")
    found["X-Forwarded-For"] = f"{earlier}, {client}" if earlier else client
    found["X-Real-IP"] = client
    found["X-Forwarded-Host"] = request.host
    found["X-Forwarded-Proto"] = request.scheme
    return found


def serve(
    system: LiveSystem,
    controller: Ref,
    host: str = "127.0.0.1",
    port: int | None = 0,
    dial: Where = lambda ip, port: (ip, port),
    *,
    tls_port: int | None = None,
    network: Ref | None = None,
) -> Server:
    """Serve the controller's Ingresses at an address (port 0 picks one; None: not). Raises OSError."""
    server = Server(controller, dial, network)
    start = server.start(host, port, tls_port, system.clock.now())
    asyncio.run_coroutine_threadsafe(start, system.loop).result(10.0)
    return server
