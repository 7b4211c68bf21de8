"""pause: small, without libraries, an image of nothing but itself; it reaps what it inherits and ends when asked."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "actors" / "runtime" / "pause"
WAIT_S = 10.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here (Debian: apt-get install gcc libc6-dev)")
    from actors.runtime._linux import build_pause

    return build_pause(tmp_path_factory.mktemp("pause"))


def test_it_is_small_and_needs_no_library(program: Path) -> None:
    assert program.stat().st_size < 1_000_000
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in said.stdout + said.stderr or "statically linked" in said.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_asked_to(program: Path, number: int) -> None:
    process = subprocess.Popen([str(program)])
    status, end = Path(f"/proc/{process.pid}/status"), time.monotonic() + WAIT_S
    while "State:\tS" not in status.read_text():  # it sleeps nowhere but where it waits for signals
        assert time.monotonic() < end, "it does not wait"
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(WAIT_S) == 0


def test_it_reaps_what_it_inherits(program: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a PID namespace needs root and unshare")
    process = subprocess.Popen(["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", str(program)])
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + WAIT_S
        while not children.read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.02)
        one = children.read_text().split()[0]
        for _ in range(20):
            subprocess.run(["nsenter", "-t", one, "-p", "-m", "sh", "-c", "(sleep 0.05 &) ; true"], check=True)
        inherited = Path(f"/proc/{one}/task/{one}/children")
        while inherited.read_text().strip():
            assert time.monotonic() < end, "zombies"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


def test_its_recipe_makes_an_image_of_it(program: Path, docker_endpoint: str) -> None:
    import docker

    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(program, "pause")
        archive.add(SOURCE / "Dockerfile", "Dockerfile")
    context.seek(0)
    client = docker.DockerClient(base_url=docker_endpoint)
    try:
        image, _ = client.images.build(fileobj=context, custom_context=True, tag="localhost/pause:recipe")
        assert image.attrs["Size"] < 1_000_000
        assert image.attrs["Config"]["User"] == "65535:65535"
        container = client.containers.run(image, detach=True, network_mode="none")
        container.reload()
        assert container.status == "running"
        container.remove(force=True)
    finally:
        client.close()
