"""The seccomp profile `RuntimeDefault`: which system calls a container is refused.

Everything is allowed but what reaches beyond a container: modules, mounts, clocks, keys, namespaces,
raw I/O and the like, each unless the container has the capability that grants it anyway. The
selection follows what Docker documents of its default profile.
https://docs.docker.com/engine/security/seccomp/#significant-syscalls-blocked-by-the-default-profile
"""

from __future__ import annotations

from typing import Any

__all__ = ["default_profile"]

REFUSED: dict[str, tuple[str, ...]] = {
    "CAP_SYS_ADMIN": (
        "bpf", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
        "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "umount", "umount2", "unshare",
    ),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_BOOT": ("kexec_file_load", "kexec_load", "reboot"),
    "CAP_SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "move_pages", "set_mempolicy"),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "": (
        "_sysctl", "add_key", "create_module", "get_kernel_syms", "io_uring_enter", "io_uring_register",
        "io_uring_setup", "keyctl", "nfsservctl", "pivot_root", "query_module", "request_key",
        "swapoff", "swapon", "sysfs", "userfaultfd", "uselib", "ustat", "vm86", "vm86old",
    ),
}  # fmt: skip
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
EPERM, ENOSYS = 1, 38
ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def default_profile(capabilities: list[str], machine: str) -> dict[str, Any]:
    """`linux.seccomp` of the OCI configuration for a container with these capabilities."""
    refused = [n for cap, names in REFUSED.items() if cap not in capabilities for n in names]
    rules: list[dict[str, Any]] = []
    if "clone3" in refused:  # its flags are in memory, where a filter cannot look: programs fall back to clone
        refused.remove("clone3")
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
        for bit in (b for b in range(32) if NEW_NAMESPACES >> b & 1):
            flag = {"index": 0, "value": 1 << bit, "valueTwo": 1 << bit, "op": "SCMP_CMP_MASKED_EQ"}
            rules.append({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": [flag]})
    rules.insert(0, {"names": sorted(refused), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM})
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHITECTURES.get(machine, []), "syscalls": rules}
