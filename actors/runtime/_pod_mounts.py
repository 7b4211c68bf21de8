"""What is mounted into a container besides its image: the pod's files, the termination message, volumes.

Owns where each comes from on this machine; how a runtime is told of it, the runtime says. Blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from protocol import cri

__all__ = ["ETC_FILES", "MESSAGE_FILE", "HostMount", "pod_mounts", "termination_message"]

ETC_FILES = ("hostname", "hosts", "resolv.conf")
MESSAGE_FILE = "termination-log"
MESSAGE_MAX_BYTES, MESSAGE_LINES, MESSAGE_LOG_BYTES = 4096, 80, 2048
"""Of a termination message; of a log that stands for one."""


class HostMount(NamedTuple):
    """A directory or file of this machine, or an image, at a place of a container."""

    target: str
    source: str
    readonly: bool = False
    propagation: str = ""
    image: str = ""
    sub_path: str = ""
    recursive_readonly: bool = False


def pod_mounts(
    config: cri.ContainerConfig, etc: Path, messages: Path, volume: Callable[[int, cri.Mount], Path]
) -> list[HostMount]:
    """In the order in which they have to be mounted. `etc`: the directory of the pod's files; `messages`: that of the
    container's termination message, which is made; `volume` answers where a mount's volume is.
    """
    taken = {m.container_path.rstrip("/") for m in config.mounts}
    found = [
        HostMount(f"/etc/{name}", str(etc / name), config.readonly_rootfs)
        for name in ETC_FILES
        if f"/etc/{name}" not in taken
    ]
    if config.termination_message_path and config.termination_message_path not in taken:
        messages.mkdir(parents=True, exist_ok=True)
        (messages / MESSAGE_FILE).touch()
        (messages / MESSAGE_FILE).chmod(0o666)
        found.append(HostMount(config.termination_message_path, str(messages / MESSAGE_FILE)))
    for number, mount in enumerate(sorted(config.mounts, key=lambda m: m.container_path.count("/"))):
        source = "" if mount.image else str(volume(number, mount))
        found.append(
            HostMount(
                mount.container_path, source, mount.readonly, mount.propagation, mount.image,
                mount.sub_path if mount.image else "", mount.recursive_readonly,
            )
        )  # fmt: skip
    return found


def termination_message(messages: Path, policy: str, exit_code: int, tail: Callable[[int], bytes]) -> str:
    """What a container left to say: its message, else, where the policy says so and it failed, the end of its log
    (`tail` answers some of its last lines)."""
    try:
        data = (messages / MESSAGE_FILE).read_bytes()[-MESSAGE_MAX_BYTES:]
    except OSError:
        data = b""
    if not data and exit_code and policy == "FallbackToLogsOnError":
        data = tail(MESSAGE_LINES)[-MESSAGE_LOG_BYTES:]
    return data.decode(errors="replace")
