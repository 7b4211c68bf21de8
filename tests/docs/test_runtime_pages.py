"""The commands of the pages on pause and on real containers, in one shell per page. As root on Linux, or skipped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.runtime._idmap import is_supported
from cli._errors import UsageError
from cli._machines import check_runtime
from cli.kubectl import find_kubectl

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 90.0
MARK = "@@ command"


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a page with the lines expected of it."""
    found: list[tuple[str, list[str]]] = []
    for language, _, text in BLOCK.findall(page):
        for line in text.splitlines() if language == "console" else ():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    yield from found


def pattern(line: str) -> re.Pattern[str]:
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("...")]
    return re.compile(r".*".join(parts))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user who has a state directory of the test's own, and busybox in the store."""
    try:
        check_runtime("runc")
        find_kubectl()
    except UsageError as missing:
        pytest.skip(str(missing))
    if shutil.which("busybox") is None or shutil.which("pgrep") is None:
        pytest.skip("busybox or pgrep is not installed (Debian: apt-get install busybox-static procps)")
    program = tmp_path / "bin" / "kubekka"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "cluster.py"} "$@"\n')
    program.chmod(0o755)
    paths = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    yield {**os.environ, "PATH": paths, "XDG_STATE_HOME": str(tmp_path / "state"), "KUBEKKA": str(ROOT)}
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text(), "a mount was left"


def run_page(page: str, folder: Path, env: dict[str, str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    for _, name, content in BLOCK.findall(text):
        if name:
            (folder / name).write_text(content)
    steps = list(commands(text))
    script = "".join(f"echo '{MARK} {n}'\n{command}\n" for n, (command, _) in enumerate(steps))
    (folder / "script").write_text(script + f"echo '{MARK} {len(steps)}'\n")
    shown = run_script(folder, env)
    assert f"{MARK} {len(steps)}" in shown, shown
    for number, (command, expected) in enumerate(steps):
        said = shown.split(f"{MARK} {number}\n", 1)[1].split(f"{MARK} {number + 1}", 1)[0]
        rest = iter(re.sub(r"[ \t]+", " ", said).splitlines())
        for line in expected:
            wanted = pattern(line)
            assert any(wanted.search(shown) for shown in rest), f"{command} does not say: {line}\n{said}"


def run_script(folder: Path, env: dict[str, str]) -> str:
    """The output of the script, and of what it leaves in the background."""
    process = subprocess.Popen(
        ["bash", "script"], cwd=folder, env=env, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        return process.communicate(timeout=TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        return process.communicate(timeout=TIMEOUT_S)[0]


def import_busybox(folder: Path, env: dict[str, str]) -> None:
    """What the page on real containers shows first."""
    page = (ROOT / "docs" / "runtimes.md").read_text()
    script = "\n".join(command for command, _ in list(commands(page))[:3])
    subprocess.run(["bash", "-ec", script], cwd=folder, env=env, check=True, capture_output=True)


def test_the_page_on_pause_is_true(tmp_path: Path, shell: dict[str, str]) -> None:
    if not Path("/sys/fs/cgroup/cpu").is_dir():
        pytest.skip("the page shows the first version of control groups")
    import_busybox(tmp_path, shell)
    run_page("pause.md", tmp_path, shell)


def test_the_page_on_real_containers_is_true(tmp_path: Path, shell: dict[str, str]) -> None:
    if not is_supported():
        pytest.skip("the page shows user namespaces, which this kernel does not have as they are needed")
    run_page("runtimes.md", tmp_path, shell)
