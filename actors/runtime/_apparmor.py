"""AppArmor: whether this kernel has it, which profiles are loaded, and the one that `RuntimeDefault` means.

The profile lets a container do what it likes with its own files and network, and keeps it from mounting,
from tracing others, and from writing to the parts of /proc and /sys that are the machine's. What runs
outside of it may be signalled only by its own kind. Blocks.
https://kubernetes.io/docs/tutorials/security/apparmor/, https://gitlab.com/apparmor/apparmor/-/wikis/QuickProfileLanguage
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from actors.runtime._linux import LinuxError

__all__ = ["DEFAULT_PROFILE", "PROFILE_TEXT", "is_enabled", "profile_for"]

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
LOADED = Path("/sys/kernel/security/apparmor/profiles")
DEFAULT_PROFILE = "kubekka-default"
PARSE_TIMEOUT_S = 20.0
PROFILE_TEXT = f"""
profile {DEFAULT_PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (send, receive) peer={DEFAULT_PROFILE},
  ptrace (trace, read, tracedby, readby) peer={DEFAULT_PROFILE},

  deny mount,
  deny @{{PROC}}/sys/[^kn]** wklx,
  deny @{{PROC}}/sys/kernel/[^ms]** wklx,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/[^fdck]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
}}
"""


def is_enabled() -> bool:
    """Whether this kernel confines by AppArmor."""
    try:
        return ENABLED.read_text().startswith("Y")
    except OSError:
        return False


def _is_loaded(name: str) -> bool:
    try:
        return any(line.rpartition(" (")[0] == name for line in LOADED.read_text().splitlines())
    except OSError:
        return False


def _load_default() -> None:
    parser = shutil.which("apparmor_parser")
    if parser is None:
        raise LinuxError("apparmor_parser is not installed (Debian: apt-get install apparmor)")
    text = f"#include <tunables/global>\n{PROFILE_TEXT}".encode()
    done = subprocess.run([parser, "-Kr"], input=text, capture_output=True, check=False, timeout=PARSE_TIMEOUT_S)
    if done.returncode:
        raise LinuxError(f"apparmor_parser: {done.stderr.decode(errors='replace').strip()}")


def profile_for(wanted: str, privileged: bool) -> str:
    """The profile of a container that asks for `wanted` (`RuntimeDefault`, `Unconfined`, `Localhost/<name>` or nothing,
    which means the default); empty where it is not confined. Raises: LinuxError, when it cannot be had.
    """
    if not is_enabled():
        return ""
    kind, _, name = wanted.partition("/")
    if kind == "Localhost":
        if not _is_loaded(name):
            raise LinuxError(f"apparmor profile not found {name}")
        return name
    if kind == "Unconfined" or (privileged and not kind):
        return ""
    if not _is_loaded(DEFAULT_PROFILE):
        _load_default()
    return DEFAULT_PROFILE
