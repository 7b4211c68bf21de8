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

from actors.runtime._ownership import give_to_group
from protocol.cri import PodSandboxConfig
from protocol.hosts import hosts_file

__all__ = ["etc_files", "present", "write_volume"]

DATA = "..data"


def present(directory: Path) -> dict[str, bytes]:
    """What a volume holds now."""
    data = directory / DATA
    root = data if data.exists() else directory
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()} if root.exists() else {}


def write_volume(
    directory: Path,
    content: Mapping[str, bytes],
    mode: int = 0o644,
    modes: Mapping[str, int] | None = None,
    group: int | None = None,
    owners: Mapping[str, int] | None = None,
) -> bool:
    """Make the volume hold exactly `content`; answers whether that changed anything.

    `modes`: those of files that differ from `mode`. `group` is to own everything, and users what `owners` says.
    """
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
        os.chmod(path, (modes or {}).get(name, mode))
        if owners and name in owners:
            os.chown(path, owners[name], -1)
    if group is not None:
        give_to_group(fresh, group, readonly=True)
        give_to_group(directory, group, readonly=True, on_mismatch_only=True)
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
    node = _read("/etc/hosts") if config.host_network else None
    return {
        "hostname": f"{name}\n" if node is None else _read("/etc/hostname"),
        "hosts": hosts_file(ips, name, config.host_domain, config.host_aliases, node),
        "resolv.conf": _resolv_conf(config),
    }


def _resolv_conf(config: PodSandboxConfig) -> str:
    lines = [f"nameserver {s}" for s in config.dns_servers]
    if config.dns_searches:
        lines.append("search " + " ".join(config.dns_searches))
    if config.dns_options:
        lines.append("options " + " ".join(config.dns_options))
    return "".join(f"{line}\n" for line in lines) if lines else _read("/etc/resolv.conf")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
