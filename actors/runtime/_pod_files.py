"""Files that a node keeps for its pods: the content of volumes, /etc/hosts and its like.

Owns how a configMap's or secret's content changes: all of it at once, by one rename of the link `..data`, so
that a container that reads meanwhile sees the old or the new, never both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from protocol.cri import PodSandboxConfig

__all__ = ["etc_files", "present", "write_volume"]

DATA = "..data"


def present(directory: Path) -> dict[str, bytes]:
    """What a volume holds now."""
    data = directory / DATA
    root = data if data.exists() else directory
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()} if root.exists() else {}


def write_volume(directory: Path, content: Mapping[str, bytes]) -> bool:
    """Make the volume hold exactly `content`; answers whether that changed anything."""
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / DATA
    if link.is_symlink() and present(directory) == dict(content):
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    os.chmod(fresh, 0o755)
    for name, data in content.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.chmod(path, 0o644)
    old = os.readlink(link) if link.is_symlink() else ""
    half = directory / "..data_tmp"
    half.unlink(missing_ok=True)
    half.symlink_to(fresh.name)
    half.rename(link)
    tops = {name.split("/", 1)[0] for name in content}
    for top in tops:
        with contextlib.suppress(FileExistsError):
            (directory / top).symlink_to(f"{DATA}/{top}")
    for entry in directory.iterdir():
        if entry.is_symlink() and entry.name not in tops and not entry.name.startswith(".."):
            entry.unlink()
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def etc_files(config: PodSandboxConfig, ips: tuple[str, ...]) -> dict[str, str]:
    """/etc/hostname, /etc/hosts and /etc/resolv.conf of a pod; the node's own where it shares them."""
    name = config.hostname or config.name
    if config.host_network:
        return {f: _read(f"/etc/{f}") for f in ("hostname", "hosts", "resolv.conf")}
    lines = [f"nameserver {s}" for s in config.dns_servers]
    if config.dns_searches:
        lines.append("search " + " ".join(config.dns_searches))
    if config.dns_options:
        lines.append("options " + " ".join(config.dns_options))
    hosts = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        *(f"{ip}\t{name}" for ip in ips),
    ]
    resolv = "".join(f"{line}\n" for line in lines) if lines else _read("/etc/resolv.conf")
    return {"hostname": f"{name}\n", "hosts": "\n".join(hosts) + "\n", "resolv.conf": resolv}


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
