"""HTTP for Ingresses: a reverse proxy on aiohttp.

Owns the moving of requests and answers between a client and an endpoint, as streams, and what both are
told of each other. Where a request goes the controller says. Must run on the system's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from actors.kernel import LiveSystem, Ref
from actors.network.ingress._actor import Route, Target

__all__ = ["Server", "serve"]

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 60.0
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
Dial = Callable[[str, int], tuple[str, int]]


class Server:
    """One listener. `dial`: where an endpoint's address really is (tests have pods elsewhere)."""

    def __init__(self, controller: Ref, dial: Dial) -> None:
        self.controller, self.dial = controller, dial
        self.address: tuple[str, int] = ("", 0)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.address = (host, self._runner.addresses[0][1])

    async def close(self) -> None:
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
        for ip, port in target.addresses:
            try:
                return await self._pass_on(request, *self.dial(ip, port))
            except aiohttp.ClientConnectorError:
                continue  # nothing was sent: another endpoint may take it
            except (aiohttp.ClientError, TimeoutError) as error:
                return web.Response(status=502, text=f"{target.service}: {error}\n")
        return web.Response(status=502, text=f"no endpoint of {target.service} takes connections\n")

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


def _headers(request: web.Request) -> CIMultiDict[str]:
    """The client's headers without those that are between neighbours, and who the client is."""
    found: CIMultiDict[str] = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP)
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
    port: int = 0,
    dial: Dial = lambda ip, port: (ip, port),
) -> Server:
    """Serve the controller's Ingresses at an address (port 0 picks one). Raises OSError."""
    server = Server(controller, dial)
    asyncio.run_coroutine_threadsafe(server.start(host, port), system.loop).result(10.0)
    return server
