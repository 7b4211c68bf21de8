"""Programs in network namespaces.

Owns how a program is run: in this process's namespace or in that of a path. Everything here blocks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from protocol.cni import CODES, CniError

__all__ = ["ip", "ip_succeeds", "run", "set_sysctls"]

TIMEOUT_S = 30.0


def run(
    arguments: Sequence[str], *, netns: str = "", stdin: str = "", env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """-> exit status, stdout, stderr. `netns`: a path, empty for this namespace. Raises CniError when
    the program cannot be run."""
    command = [*(("nsenter", f"--net={netns}", "--") if netns else ()), *arguments]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=dict(env) if env is not None else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CniError(CODES["io failure"], f"{arguments[0]}: {error}") from error
    return done.returncode, done.stdout, done.stderr


def ip(*commands: str, netns: str = "") -> None:
    """Do `ip` commands in order, in one process. Raises CniError with what `ip` said."""
    status, _, errors = run(("ip", "-batch", "-"), netns=netns, stdin="".join(c + "\n" for c in commands))
    if status:
        raise CniError(CODES["io failure"], f"ip: {' '.join(errors.split())}")


def ip_succeeds(*arguments: str, netns: str = "") -> bool:
    """Whether one `ip` command goes well."""
    return run(("ip", *arguments), netns=netns)[0] == 0


def set_sysctls(settings: Mapping[str, str], netns: str = "") -> None:
    """Write kernel settings of a network namespace (`net/ipv4/ip_forward`); those that this kernel
    does not have, or does not let us change, are left as they are."""
    script = "".join(f"echo {value} 2>/dev/null > /proc/sys/{name}\n" for name, value in settings.items())
    run(("sh", "-c", script + "true"), netns=netns)
