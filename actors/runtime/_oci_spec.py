"""What the CRI says of a container, as the `config.json` of an OCI bundle. Pure, but for reading the
image's user database through a root directory.

https://github.com/opencontainers/runtime-spec/blob/main/config.md
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from actors.runtime._idmap import id_mappings
from actors.runtime._seccomp import default_profile
from protocol import cri

__all__ = [
    "Identity",
    "Joined",
    "container_spec",
    "identity",
    "lowest_oom_score",
    "pause_spec",
    "process_spec",
    "resources_spec",
]

Object = dict[str, Any]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip
ALL_CAPABILITIES = (
    *DEFAULT_CAPABILITIES,
    "CAP_DAC_READ_SEARCH", "CAP_LINUX_IMMUTABLE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_LEASE", "CAP_AUDIT_CONTROL",
    "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
)  # fmt: skip
SYS_RESOURCE_BIT = 24
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}
SEPARATE_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


class Joined(NamedTuple):
    """The namespaces that a container joins: those of its pod's pause process, and where it is to see
    another container's processes (`target_pid`), that one's. `id_base`: see `id_mappings`; 0 for none."""

    pause_pid: int
    id_base: int = 0
    target_pid: int = 0


class Identity(NamedTuple):
    """Whom a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def _table(root: Path, name: str) -> list[list[str]]:
    """/etc/passwd or /etc/group of an image; what it links to outside of the image is not read."""
    path = root / "etc" / name
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            return []
        return [line.split(":") for line in path.read_text(errors="replace").splitlines() if line.count(":") >= 3]
    except OSError:
        return []


def identity(root: Path, config: cri.ContainerConfig, image_user: str) -> Identity:
    """The user of a container: the manifest's, else the image's, by number or by name.

    Raises: CriError when the image knows no such name.
    """
    security = config.security
    user, _, group = (image_user or "0").partition(":")
    if config.run_as_user is not None:
        user, group = str(config.run_as_user), ""
    elif security.run_as_username:
        user, group = security.run_as_username, ""
    passwd, groups = _table(root, "passwd"), _table(root, "group")
    entry = next((e for e in passwd if user in (e[0], e[2])), None)
    if entry is None and not user.isdigit():
        raise cri.CriError("Unknown", f"unable to find user {user}: no matching entries in passwd file")
    uid = int(entry[2]) if entry else int(user)
    gid = int(entry[3]) if entry and entry[3].isdigit() else 0
    if group:
        found = next((int(g[2]) for g in groups if group in (g[0], g[2])), None)
        if found is None and not group.isdigit():
            raise cri.CriError("Unknown", f"unable to find group {group}: no matching entries in group file")
        gid = int(group) if found is None else found
    if security.run_as_group is not None:
        gid = security.run_as_group
    member = (
        ()
        if security.strict_groups
        else tuple(int(g[2]) for g in groups if entry and entry[0] in g[3].split(",") and g[2].isdigit())
    )
    extra = tuple(dict.fromkeys((*security.supplemental_groups, *member)))
    return Identity(uid, gid, extra, entry[5] if entry and len(entry) > 5 and entry[5] else "/")


def capabilities(config: cri.ContainerConfig) -> list[str]:
    """The container's capabilities: all, or the usual ones with what is added and dropped."""
    permitted = _permitted()
    if config.privileged:
        return [c for c in ALL_CAPABILITIES if permitted is None or c in permitted]
    security = config.security
    drop = {_capability(c) for c in security.drop_capabilities}
    add = {_capability(c) for c in security.add_capabilities}
    base = set() if "CAP_ALL" in drop else set(DEFAULT_CAPABILITIES)
    if "CAP_ALL" in add:
        base = set(ALL_CAPABILITIES)
    chosen = (base - drop) | (add - {"CAP_ALL"})
    if unknown := sorted(chosen - set(ALL_CAPABILITIES)):
        raise cri.CriError("InvalidArgument", f'unknown capability "{unknown[0]}"')
    return [c for c in ALL_CAPABILITIES if c in chosen and (permitted is None or c in permitted)]


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def _permitted() -> set[str] | None:
    """The capabilities that this process can hand on, where one is missing that matters."""
    return set(ALL_CAPABILITIES) - {"CAP_SYS_RESOURCE"} if not _may_use_resources() else None


def _may_use_resources() -> bool:
    try:
        fields = dict(
            line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
        )
        return bool(int(fields["CapPrm"], 16) >> SYS_RESOURCE_BIT & 1)
    except (OSError, KeyError, ValueError):
        return True


def lowest_oom_score(wanted: int) -> int:
    """Only who has CAP_SYS_RESOURCE may lower it below its own."""
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text())
    except (OSError, ValueError):
        return wanted
    return wanted if _may_use_resources() else max(wanted, own)


def resources_spec(resources: cri.ContainerResources, unified: bool) -> Object:
    """`linux.resources`, as `update` takes it too."""
    cpu: Object = {"shares": resources.cpu_shares or 2}
    if resources.cpu_quota_us and resources.cpu_quota_us > 0:
        cpu |= {"quota": resources.cpu_quota_us, "period": resources.cpu_period_us or 100_000}
    found: Object = {"cpu": cpu}
    if resources.memory_limit_bytes:
        found["memory"] = {"limit": resources.memory_limit_bytes}
        if unified:
            found["memory"]["swap"] = resources.memory_limit_bytes  # memory and swap together: no swap
    if resources.pids_limit:
        found["pids"] = {"limit": resources.pids_limit}
    if resources.hugepage_limits:
        found["hugepageLimits"] = [{"pageSize": s, "limit": n} for s, n in resources.hugepage_limits.items()]
    if unified and resources.unified:
        found["unified"] = dict(resources.unified)
    return found


def process_spec(
    config: cri.ContainerConfig,
    image: Mapping[str, Any],
    who: Identity,
    hostname: str,
    command: tuple[str, ...] = (),
    tty: bool | None = None,
) -> Object:
    """`process`: the container's own, or that of a `command` to be executed in it.

    Raises: CriError when there is nothing to run.
    """
    entrypoint = list(config.command) or list(image.get("Entrypoint") or ())
    cmd = list(config.args) or ([] if config.command else list(image.get("Cmd") or ()))
    args = list(command) or entrypoint + cmd
    if not args:
        raise cri.CriError("InvalidArgument", "no command specified")
    env = {"PATH": PATH, "HOSTNAME": hostname}
    terminal = config.tty if tty is None else tty
    if terminal:
        env["TERM"] = "xterm"
    env |= dict(e.partition("=")[::2] for e in image.get("Env") or ())
    env |= dict(config.envs)
    env.setdefault("HOME", who.home)
    caps = capabilities(config)
    sets = dict.fromkeys(("bounding", "effective", "permitted"), caps)
    return {
        "terminal": terminal,
        "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
        "args": args,
        "env": [f"{k}={v}" for k, v in env.items()],
        "cwd": config.working_dir or image.get("WorkingDir") or "/",
        "capabilities": sets,
        "noNewPrivileges": config.security.no_new_privs,
        "oomScoreAdj": lowest_oom_score(config.resources.oom_score_adj),
    }


def _mount(destination: str, kind: str, source: str, *options: str) -> Object:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _base_mounts(privileged: bool, host_network: bool) -> list[Object]:
    access = "rw" if privileged else "ro"
    cgroup = _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access)
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access),
        cgroup,
    ]


def _devices(config: cri.ContainerConfig) -> tuple[list[Object], list[Object]]:
    """(device nodes, rules of the device group)."""
    rules: list[Object] = [{"allow": config.privileged, "access": "rwm"}]
    nodes: list[Object] = []
    wanted = [*config.devices, *(cri.Device(p, p) for p in config.security.devices)]
    if config.privileged:
        known = {f"/dev/{name}" for name, _, _ in SEPARATE_DEVICES} | {"/dev/console", "/dev/ptmx"}
        wanted += [cri.Device(str(p), str(p)) for p in sorted(Path("/dev").iterdir()) if str(p) not in known]
    for device in wanted:
        path = device.container_path
        try:
            info = os.stat(device.host_path)
        except OSError as error:
            raise cri.CriError("InvalidArgument", f"device {device.host_path}: {error.strerror}") from None
        kind = {0o020000: "c", 0o060000: "b"}.get(info.st_mode & 0o170000)
        if kind is None:
            continue
        major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        nodes.append({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": info.st_mode & 0o777})
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": device.permissions})
    return nodes, rules


def _seccomp(profile: str, caps: list[str], privileged: bool) -> Object | None:
    if privileged or profile in ("", "Unconfined"):
        return None
    if profile == "RuntimeDefault":
        return default_profile(caps, platform.machine())
    path = profile.partition("/")[2]
    try:
        value = orjson.loads(Path("/", path).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise cri.CriError("InvalidArgument", f"failed to load seccomp profile {path}: {error}") from None
    return value if isinstance(value, dict) else None


def container_spec(
    sandbox: cri.PodSandboxConfig,
    config: cri.ContainerConfig,
    process: Object,
    rootfs: str,
    mounts: list[Object],
    joins: Joined,
    group: str,
    unified: bool,
) -> Object:
    """`config.json` of a container that joins the namespaces of its pod."""
    owned = {
        "network": sandbox.host_network,
        "ipc": sandbox.host_ipc,
        "uts": sandbox.host_network,
        "pid": sandbox.host_pid,
    }
    spaces: list[Object] = [{"type": "mount"}]
    for kind, hosts in owned.items():
        pid = joins.target_pid if kind == "pid" and joins.target_pid else joins.pause_pid
        if kind == "pid" and not hosts and not sandbox.shared_pid and not joins.target_pid:
            spaces.append({"type": "pid"})
        elif not hosts:
            spaces.append({"type": kind, "path": f"/proc/{pid}/ns/{'net' if kind == 'network' else kind}"})
    if unified:
        spaces.append({"type": "cgroup"})
    nodes, rules = _devices(config)
    open_up = config.privileged or config.security.unmasked
    linux: Object = {
        "namespaces": spaces,
        "cgroupsPath": group,
        "resources": {**resources_spec(config.resources, unified), "devices": rules},
        "devices": nodes,
        "maskedPaths": [] if open_up else list(MASKED),
        "readonlyPaths": [] if open_up else list(READONLY),
    }
    if joins.id_base:
        spaces.append({"type": "user", "path": f"/proc/{joins.pause_pid}/ns/user"})
        linux |= {"uidMappings": id_mappings(joins.id_base), "gidMappings": id_mappings(joins.id_base)}
    profile = _seccomp(config.security.seccomp, process["capabilities"]["bounding"], config.privileged)
    if profile is not None:
        linux["seccomp"] = profile
    if any(m.propagation for m in config.mounts):
        linux["rootfsPropagation"] = (
            "rshared" if any(m.propagation == "Bidirectional" for m in config.mounts) else "rslave"
        )
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": rootfs, "readonly": config.readonly_rootfs},
        "mounts": _base_mounts(config.privileged, sandbox.host_network) + mounts,
        "annotations": {"io.kubernetes.cri.container-name": config.name, "io.kubernetes.cri.sandbox-uid": sandbox.uid},
        "linux": linux,
    }


def pause_spec(
    sandbox: cri.PodSandboxConfig, rootfs: str, group: str, id_base: int = 0, oom_score: int = -998
) -> Object:
    """`config.json` of a pod's pause container, which owns the namespaces."""
    kinds = {
        "network": not sandbox.host_network,
        "ipc": not sandbox.host_ipc,
        "uts": not sandbox.host_network,
        "pid": not sandbox.host_pid,
        "user": id_base > 0,
    }
    spec: Object = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 65535, "gid": 65535},
            "args": ["/pause"],
            "env": [f"PATH={PATH}"],
            "cwd": "/",
            "noNewPrivileges": True,
            "oomScoreAdj": lowest_oom_score(oom_score),
        },
        "root": {"path": rootfs, "readonly": True},
        "mounts": _base_mounts(False, sandbox.host_network)[:5],
        "linux": {
            "namespaces": [{"type": "mount"}] + [{"type": k} for k, own in kinds.items() if own],
            "cgroupsPath": group,
            "resources": {"cpu": {"shares": 2}, "devices": [{"allow": False, "access": "rwm"}]},
            "sysctl": dict(sandbox.sysctls),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
            **({"uidMappings": id_mappings(id_base), "gidMappings": id_mappings(id_base)} if id_base else {}),
        },
    }
    if not sandbox.host_network:
        spec["hostname"] = (sandbox.hostname or sandbox.name)[:64]
    return spec


def bind(
    destination: str, source: str, readonly: bool, propagation: str = "", recursive_readonly: bool = False
) -> Object:
    """A volume's mount."""
    access = ["ro", *(["rro"] if recursive_readonly else [])] if readonly else ["rw"]
    return _mount(destination, "bind", source, "rbind", PROPAGATION.get(propagation, "rprivate"), *access)
