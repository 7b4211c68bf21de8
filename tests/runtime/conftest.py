"""What tests of real runtimes share: a root file system, and worlds of each kind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.kernel import Actor, Child, LiveSystem, Ref, handles
from protocol import cri
from protocol.node import StreamClosed, StreamData

sys.path.insert(0, str(Path(__file__).parent))  # for real_clusters

WAIT_S = 30.0
IMAGE = "localhost/busybox:test"


def pytest_configure(config: pytest.Config) -> None:
    """Say which marks there are."""
    config.addinivalue_line("markers", "only_kinds(kind, ...): the runtimes that a test is about")


def own_network(number: int) -> str:
    """Addresses that no other test process on this machine uses: range 0 or 1."""
    block = os.getpid() * 2 + number
    return f"10.{160 + block // 256 % 64}.{block % 256}.0/24"


def busybox() -> str:
    """A busybox that needs no library, or an empty text."""
    path = shutil.which("busybox")
    if path is None:
        return ""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    return path if "not a dynamic executable" in said.stdout + said.stderr else ""


def make_rootfs(root: Path) -> Path:
    """A small root file system with busybox, users and groups."""
    for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/web"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(busybox(), root / "bin" / "busybox")
    applets = subprocess.run([busybox(), "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nweb:x:1000:\nextra:x:2000:web\n")
    return root


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of `make_rootfs`, or a skip."""
    if not busybox():
        pytest.skip("no static busybox here (Debian: apt-get install busybox-static)")
    return make_rootfs(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture(scope="session")
def image_store(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with `IMAGE`."""
    from actors.runtime.images import LocalImages, import_rootfs

    store = LocalImages(tmp_path_factory.mktemp("images"))
    import_rootfs(store, rootfs, IMAGE, {"Cmd": ["sh"], "Env": ["FROM_IMAGE=yes"]})
    return store


class Daemon:
    """A daemon that runs while it is needed; skips the test where it does not come up."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool]) -> None:
        if shutil.which("setpriv") is not None:  # whoever kills the tests ends their daemons
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        self.command, self.log, self.ready = command, log, ready
        self.endpoint = ""
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        end = time.monotonic() + WAIT_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.skip(f"{self.command[-1]} does not run here: {self.log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait(WAIT_S)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT_S)


@contextlib.contextmanager
def dockerd() -> Iterator[Daemon]:
    """A Docker daemon of the tests' own, whose containers outlive it."""
    from actors.runtime import why_no_docker

    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("dockerd is not installed (Debian: apt-get install docker.io), or this is not root")
    root = Path(tempfile.mkdtemp(prefix="kd-"))  # the path of a socket must be short
    endpoint = f"unix://{root}/d.sock"
    command = ["dockerd", "--host", endpoint, "--data-root", f"{root}/data", "--exec-root", f"{root}/exec"]
    command += ["--pidfile", f"{root}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false", "--live-restore"]
    try:
        daemon = Daemon(command, root / "log", lambda: not why_no_docker(endpoint))
        daemon.endpoint = endpoint
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def docker_endpoint() -> Iterator[str]:
    """Of a Docker daemon of the tests' own."""
    with dockerd() as daemon:
        yield daemon.endpoint


CONTAINERD = """
version = 2
root = "{root}/data"
state = "{root}/state"
[grpc]
  address = "{root}/c.sock"
[ttrpc]
  address = "{root}/c.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/kubekka/pause:1"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{root}/net.d"
"""
NETWORK = """{{"cniVersion": "0.4.0", "name": "kt", "plugins": [{{"type": "bridge", "bridge": "{bridge}", "isGateway": true,
 "ipam": {{"type": "host-local", "dataDir": "{root}/ipam", "ranges": [[{{"subnet": "{subnet}"}}]],
 "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}"""


@contextlib.contextmanager
def containerd() -> Iterator[Daemon]:
    """A containerd of the tests' own."""
    from actors.runtime import why_no_cri

    plugins = next((p for p in ("/opt/cni/bin", "/usr/lib/cni") if Path(p, "bridge").exists()), "")
    if shutil.which("containerd") is None or shutil.which("ctr") is None or not plugins or os.geteuid() != 0:
        pytest.skip(
            "no containerd with CNI plugins here (Debian: apt-get install containerd containernetworking-plugins)"
        )
    root = Path(tempfile.mkdtemp(prefix="kc-"))  # the path of a socket must be short
    bridge = f"kc{root.name[3:]}"
    (root / "net.d").mkdir()
    (root / "config.toml").write_text(CONTAINERD.format(root=root, plugins=plugins))
    (root / "net.d" / "10-kt.conflist").write_text(NETWORK.format(root=root, bridge=bridge, subnet=own_network(1)))
    endpoint = f"unix://{root}/c.sock"
    command = ["containerd", "--config", f"{root}/config.toml"]
    try:
        daemon = Daemon(command, root / "log", lambda: not why_no_cri(endpoint))
        daemon.endpoint = endpoint
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def cri_endpoint() -> Iterator[str]:
    """Of a containerd of the tests' own."""
    with containerd() as daemon:
        yield daemon.endpoint


@pytest.fixture
def own_daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon that the test may kill: `dockerd` or `containerd`."""
    with {"docker": dockerd, "cri": containerd}[request.param]() as daemon:
        yield daemon


class Listener(Actor):
    """Hears of ends and streams, and provides a volume."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[cri.ContainerStatus] = []
        self.data: dict[int, bytes] = {}
        self.closed: dict[int, Any] = {}
        self.content = {"key": b"content"}

    @handles(cri.ContainerEvent)
    def event(self, message: cri.ContainerEvent) -> None:
        self.ended.append(message.status)

    @handles(StreamData)
    def stream(self, message: StreamData) -> None:
        self.data[message.stream_id] = self.data.get(message.stream_id, b"") + message.data

    @handles(StreamClosed)
    def close(self, message: StreamClosed) -> None:
        self.closed[message.stream_id] = message.status or {}

    @handles(cri.ReadVolume)
    def volume(self, message: cri.ReadVolume) -> dict[str, bytes]:
        return dict(self.content)


class RuntimeWorld:
    """A runtime on a system of its own, with somebody who listens."""

    def __init__(self, spawn: Callable[[LiveSystem], Ref], image: str = IMAGE) -> None:
        self.system = LiveSystem("runtime-test").start_thread()
        self.image = image
        self.runtime = spawn(self.system)
        self.listener = self.system.spawn(Child("listener", Listener))
        self.ask(cri.GetContainerEvents(self.listener))
        self.streams = 0
        self.kind = ""
        self.root = Path()

    @property
    def heard(self) -> Listener:
        return self.listener.actor  # type: ignore[attr-defined,no-any-return]

    def ask(self, message: Any) -> Any:
        return self.runtime.ask(message, timeout=WAIT_S)

    def sandbox(self, name: str = "p", **fields: Any) -> str:
        uid = f"t{os.getpid()}-{name}"
        settings = {
            "hostname": name,
            "cgroup_parent": f"/kubepods/burstable/pod{uid}",
            "log_directory": f"/var/log/pods/ns_{name}_{uid}",
            **fields,
        }
        config = cri.PodSandboxConfig(name, "ns", uid, **settings)
        return str(self.ask(cri.RunPodSandbox(config)).pod_sandbox_id)

    def create(self, sandbox: str, *command: str, **fields: Any) -> str:
        attempt = fields.get("attempt", 0)
        name = fields.get("name", "c")
        settings = {
            "name": name,
            "image": self.image,
            "command": command,
            "log_path": f"{name}/{attempt}.log",
            **fields,
        }
        return str(self.ask(cri.CreateContainer(sandbox, cri.ContainerConfig(**settings))).container_id)

    def start(self, sandbox: str, *command: str, **fields: Any) -> str:
        ident = self.create(sandbox, *command, **fields)
        self.ask(cri.StartContainer(ident))
        return ident

    def status(self, ident: str) -> cri.ContainerStatus:
        return self.ask(cri.GetContainerStatus(ident))  # type: ignore[no-any-return]

    def end_of(self, ident: str) -> cri.ContainerStatus:
        """The container's status once its end was announced."""
        self.until(lambda: any(s.id == ident for s in self.heard.ended))
        if self.kind in ("docker", "cri"):  # daemons tell of an end before they have written the last lines
            self.until(lambda: self._log_is_whole(ident))
        return self.status(ident)

    def _log_is_whole(self, ident: str) -> bool:
        before = self.log(ident)
        time.sleep(0.1)
        return self.log(ident) == before

    def log(self, ident: str, **fields: Any) -> bytes:
        return bytes(self.ask(cri.ReadLog(ident, **fields)).data)

    def output(self, ident: str, *command: str) -> str:
        answer = self.ask(cri.ExecSync(ident, command, 10.0))
        assert answer.exit_code == 0, answer.stderr
        return str(answer.stdout.decode()).strip()

    def stream(self) -> int:
        self.streams += 1
        return self.streams

    def close(self) -> None:
        self.system.shutdown()

    @staticmethod
    def until(condition: Callable[[], bool], wait_s: float = WAIT_S) -> None:
        end = time.monotonic() + wait_s
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)


def _runc(program: str) -> Callable[..., Any]:
    def make(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[LiveSystem], Ref], str]:
        from actors.runtime import RuncMachine, RuncRuntime, why_no_runc

        missing = why_no_runc(program)
        if missing:
            pytest.skip(missing)
        machine = RuncMachine(request.getfixturevalue("image_store"), tmp_path / "node", program)
        return lambda system: system.spawn(Child("runtime", lambda: RuncRuntime(machine))), IMAGE

    return make


def _docker(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[LiveSystem], Ref], str]:
    from actors.runtime import DockerMachine, DockerRuntime

    store = request.getfixturevalue("image_store")
    machine = DockerMachine(request.getfixturevalue("docker_endpoint"), store, tmp_path / "node")
    machine.load_image(IMAGE)
    return lambda system: system.spawn(Child("runtime", lambda: DockerRuntime(machine))), IMAGE


def _cri(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[LiveSystem], Ref], str]:
    from actors.runtime import CriMachine, CriRuntime

    store = request.getfixturevalue("image_store")
    machine = CriMachine(request.getfixturevalue("cri_endpoint"), store, tmp_path / "node")
    machine.load_image(IMAGE)
    return lambda system: system.spawn(Child("runtime", lambda: CriRuntime(machine))), IMAGE


KINDS: dict[str, Callable[..., tuple[Callable[[LiveSystem], Ref], str]]] = {
    "runc": _runc("runc"),
    "crun": _runc("crun"),
    "docker": _docker,
    "cri": _cri,
}


def leftovers(root: Path) -> list[str]:
    """Mounts, groups and processes of this test's pods that are still there."""
    mark = f"t{os.getpid()}-"
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line]
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):  # unlike glob it bears that others remove theirs meanwhile
        found += [f"{folder}/{name}" for name in folders if name.startswith(f"pod{mark}")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(root).encode() in path.read_bytes():
                found.append(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def node_root(tmp_path: Path) -> Path:
    """Where a node keeps its files."""
    return tmp_path / "node"


@pytest.fixture
def pod_network() -> str:
    """The addresses of a world's pods."""
    return own_network(0)


@pytest.fixture
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], RuntimeWorld]]:
    """Makes a world of a kind; nothing may be left of its pods."""
    made: list[RuntimeWorld] = []

    def make(kind: str) -> RuntimeWorld:
        spawn, image = KINDS[kind](request, tmp_path)
        world = RuntimeWorld(spawn, image)
        made.append(world)
        world.kind, world.root = kind, tmp_path / "node"
        world.ask(cri.UpdateRuntimeConfig(own_network(0)))
        return world

    yield make
    for world in made:
        world.close()
    if made:
        with contextlib.suppress(AssertionError):  # a shim reads on for a moment what its container's pipes still hold
            RuntimeWorld.until(lambda: leftovers(tmp_path) == [], 5.0)
        assert leftovers(tmp_path) == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that wants a `node` runs with every kind of runtime, or with those that it names."""
    if "node" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("only_kinds")
        metafunc.parametrize("node", mark.args if mark else sorted(KINDS), indirect=True)


@pytest.fixture
def node(request: pytest.FixtureRequest, worlds: Callable[[str], RuntimeWorld]) -> RuntimeWorld:
    """A world of each kind of runtime that this machine can run."""
    return worlds(request.param)
