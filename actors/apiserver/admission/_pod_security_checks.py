"""The checks of the Pod Security Standards: each takes a pod's metadata and spec and names what is wrong.

A check answers None, or a reason and its detail. `CHECKS` lists them by level with the version since
which each form holds (source: k8s.io/pod-security-admission/policy).

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from actors.apiserver.patch._gotext import go_quote

__all__ = ["CHECKS", "Check", "evaluate"]

Object = dict[str, Any]
Finding = tuple[str, str] | None
Test = Callable[[Object, Object], Finding]


class Check(NamedTuple):
    """`versions`: the first minor version and the test from there on, ascending. `overrides`: checks
    of the lower level that this one makes superfluous."""

    id: str
    level: str
    versions: tuple[tuple[int, Test], ...]
    overrides: tuple[str, ...] = ()


def _containers(spec: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def _context(owner: Object) -> Object:
    return owner.get("securityContext") or {}


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def _named(names: list[str]) -> str:
    return f"{_plural('container', 'containers', len(names))} {_quoted(names)}"


def _bad(spec: Object, test: Callable[[Object], bool]) -> list[str]:
    return [container.get("name", "") for container in _containers(spec) if test(container)]


def _setters(spec: Object, pod: bool, names: list[str]) -> str:
    out = ["pod"] if pod else []
    if names:
        out.append(_named(names))
    return " and ".join(out)


def _windows(test: Test) -> Test:
    """Does not apply to Windows."""
    return lambda meta, spec: None if (spec.get("os") or {}).get("name") == "windows" else test(meta, spec)


def _relaxed(test: Test) -> Test:
    """Does not apply to pods with a user namespace."""
    return lambda meta, spec: None if spec.get("hostUsers") is False else test(meta, spec)


def _escalation(meta: Object, spec: Object) -> Finding:
    names = _bad(spec, lambda c: _context(c).get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    return "allowPrivilegeEscalation != false", f"{_named(names)} must set securityContext.allowPrivilegeEscalation=false"


APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"


def _apparmor(meta: Object, spec: Object) -> Finding:
    def wrong(owner: Object) -> str | None:
        profile = _context(owner).get("appArmorProfile")
        kind = (profile or {}).get("type", "")
        return kind if profile is not None and kind not in ("RuntimeDefault", "Localhost") else None

    values = {kind for kind in (wrong(owner) for owner in (spec, *_containers(spec))) if kind is not None}
    setters = []
    if wrong(spec) is not None:
        setters.append("pod")
    names = _bad(spec, lambda c: wrong(c) is not None)
    if names:
        setters.append(_named(names))
    listed = sorted(values)
    notes = sorted(
        f"{key}={go_quote(value)}"
        for key, value in (meta.get("annotations") or {}).items()
        if key.startswith(APPARMOR_PREFIX) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    if notes:
        listed += notes
        setters.append(_plural("annotation", "annotations", len(notes)))
    if not setters:
        return None
    reason = _plural("forbidden AppArmor profile", "forbidden AppArmor profiles", len(listed))
    return reason, f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(listed)}"


DEFAULT_CAPABILITIES = frozenset(
    ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
)


def _added(container: Object) -> list[str]:
    return (_context(container).get("capabilities") or {}).get("add") or []


def _capabilities(meta: Object, spec: Object) -> Finding:
    names = _bad(spec, lambda c: any(name not in DEFAULT_CAPABILITIES for name in _added(c)))
    if not names:
        return None
    extra = sorted({n for c in _containers(spec) for n in _added(c) if n not in DEFAULT_CAPABILITIES})
    return "non-default capabilities", f"{_named(names)} must not include {_quoted(extra)} in securityContext.capabilities.add"


def _capabilities_restricted(meta: Object, spec: Object) -> Finding:
    details = []
    keeping = _bad(spec, lambda c: "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or ()))
    if keeping:
        details.append(f'{_named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    adding = _bad(spec, lambda c: any(name != "NET_BIND_SERVICE" for name in _added(c)))
    if adding:
        extra = sorted({n for c in _containers(spec) for n in _added(c) if n != "NET_BIND_SERVICE"})
        details.append(f"{_named(adding)} must not include {_quoted(extra)} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(details)) if details else None


def _host_namespaces(meta: Object, spec: Object) -> Finding:
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return ("host namespaces", ", ".join(found)) if found else None


def _host_paths(meta: Object, spec: Object) -> Finding:
    names = [v.get("name", "") for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    if not names:
        return None
    return "hostPath volumes", f"{_plural('volume', 'volumes', len(names))} {_quoted(names)}"


def _host_ports(meta: Object, spec: Object) -> Finding:
    names = _bad(spec, lambda c: any(port.get("hostPort") for port in c.get("ports") or ()))
    if not names:
        return None
    ports = sorted({str(p["hostPort"]) for c in _containers(spec) for p in c.get("ports") or () if p.get("hostPort")})
    return "hostPort", (
        f"{_named(names)} {_plural('uses', 'use', len(names))} {_plural('hostPort', 'hostPorts', len(ports))}"
        f" {', '.join(ports)}"
    )


def _probe_hosts(container: Object) -> list[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(name) or {} for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [lifecycle.get(name) or {} for name in ("postStart", "preStop")]
    found = [(handler.get(kind) or {}).get("host", "") for handler in handlers for kind in ("httpGet", "tcpSocket")]
    return [host for host in found if host]


def _host_probes(meta: Object, spec: Object) -> Finding:
    names = sorted(set(_bad(spec, lambda c: bool(_probe_hosts(c)))))
    if not names:
        return None
    hosts = sorted({host for c in _containers(spec) for host in _probe_hosts(c)})
    what = _plural("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    return "probe or lifecycle host", f"{_named(names)} {_plural('uses', 'use', len(names))} {what} {_quoted(hosts)}"


def _privileged(meta: Object, spec: Object) -> Finding:
    names = _bad(spec, lambda c: bool(_context(c).get("privileged")))
    return ("privileged", f"{_named(names)} must not set securityContext.privileged=true") if names else None


def _proc_mount(meta: Object, spec: Object) -> Finding:
    names = _bad(spec, lambda c: _context(c).get("procMount") not in (None, "Default"))
    if not names:
        return None
    kinds = sorted({_context(c)["procMount"] for c in _containers(spec) if _context(c).get("procMount") not in (None, "Default")})
    return "procMount", f"{_named(names)} must not set securityContext.procMount to {_quoted(kinds)}"


ALLOWED_VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip


def _volumes(meta: Object, spec: Object) -> Finding:
    names, kinds = [], set()
    for volume in spec.get("volumes") or ():
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if any(source in ALLOWED_VOLUMES for source in sources):
            continue
        names.append(volume.get("name", ""))
        kinds.add(sources[0] if sources else "unknown")
    if not names:
        return None
    what = _plural("restricted volume type", "restricted volume types", len(kinds))
    return "restricted volume types", (
        f"{_plural('volume', 'volumes', len(names))} {_quoted(names)} {_plural('uses', 'use', len(names))} {what}"
        f" {_quoted(sorted(kinds))}"
    )


def _non_root(meta: Object, spec: Object) -> Finding:
    pod = _context(spec).get("runAsNonRoot")
    wrong = _bad(spec, lambda c: _context(c).get("runAsNonRoot") is False)
    if pod is False or wrong:
        return "runAsNonRoot != true", f"{_setters(spec, pod is False, wrong)} must not set securityContext.runAsNonRoot=false"
    lacking = _bad(spec, lambda c: _context(c).get("runAsNonRoot") is None) if pod is not True else []
    if not lacking:
        return None
    return "runAsNonRoot != true", f"pod or {_named(lacking)} must set securityContext.runAsNonRoot=true"


def _user(meta: Object, spec: Object) -> Finding:
    pod = _context(spec).get("runAsUser") == 0
    names = _bad(spec, lambda c: _context(c).get("runAsUser") == 0)
    return ("runAsUser=0", f"{_setters(spec, pod, names)} must not set runAsUser=0") if pod or names else None


def _selinux(*allowed: str) -> Test:
    def test(meta: Object, spec: Object) -> Finding:
        def wrong(owner: Object) -> bool:
            options = _context(owner).get("seLinuxOptions") or {}
            return options.get("type", "") not in allowed or bool(options.get("user")) or bool(options.get("role"))

        names = _bad(spec, wrong)
        if not names and not wrong(spec):
            return None
        options = [_context(owner).get("seLinuxOptions") or {} for owner in (spec, *_containers(spec))]
        kinds = sorted({o.get("type", "") for o in options if o.get("type", "") not in allowed})
        data = [f"{_plural('type', 'types', len(kinds))} {_quoted(kinds)}"] if kinds else []
        data += [f"{field} may not be set" for field in ("user", "role") if any(o.get(field) for o in options)]
        who = _setters(spec, wrong(spec), names)
        return "seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"

    return test


SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def _seccomp_annotations(meta: Object, spec: Object) -> Finding:
    notes = meta.get("annotations") or {}
    keys = [SECCOMP_POD, *(SECCOMP_CONTAINER + c.get("name", "") for c in _containers(spec))]
    wrong = sorted(
        f"{key}={go_quote(notes[key])}"
        for key in keys
        if key in notes and notes[key] not in ("runtime/default", "docker/default") and not notes[key].startswith("localhost/")
    )
    if not wrong:
        return None
    return "seccompProfile", f"forbidden {_plural('annotation', 'annotations', len(wrong))} {', '.join(wrong)}"


def _seccomp_kind(owner: Object) -> str | None:
    profile = _context(owner).get("seccompProfile")
    return None if profile is None else str(profile.get("type", ""))


_GOOD_SECCOMP = ("RuntimeDefault", "Localhost")


def _seccomp(meta: Object, spec: Object) -> Finding:
    pod = _seccomp_kind(spec) not in (None, *_GOOD_SECCOMP)
    names = _bad(spec, lambda c: _seccomp_kind(c) not in (None, *_GOOD_SECCOMP))
    if not pod and not names:
        return None
    kinds = {_seccomp_kind(owner) for owner in (spec, *_containers(spec))} - {None, *_GOOD_SECCOMP}
    who = _setters(spec, pod, names)
    return "seccompProfile", f"{who} must not set securityContext.seccompProfile.type to {_quoted(sorted(map(str, kinds)))}"


def _seccomp_restricted(meta: Object, spec: Object) -> Finding:
    wrong = _seccomp(meta, spec)
    if wrong is not None:
        return wrong
    if _seccomp_kind(spec) in _GOOD_SECCOMP:
        return None
    names = _bad(spec, lambda c: _seccomp_kind(c) is None)
    if not names:
        return None
    return "seccompProfile", (
        f'pod or {_named(names)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    )


_SYSCTLS_0 = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)
_SYSCTLS_27 = (*_SYSCTLS_0, "net.ipv4.ip_local_reserved_ports")
_SYSCTLS_29 = (
    *_SYSCTLS_27,
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)
_SYSCTLS_32 = (*_SYSCTLS_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
_SYSCTLS_37 = (*_SYSCTLS_32, "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat")


def _sysctls(allowed: tuple[str, ...]) -> Test:
    def test(meta: Object, spec: Object) -> Finding:
        names = [s.get("name", "") for s in _context(spec).get("sysctls") or () if s.get("name") not in allowed]
        return ("forbidden sysctls", ", ".join(names)) if names else None

    return test


def _host_process(meta: Object, spec: Object) -> Finding:
    def wrong(owner: Object) -> bool:
        return bool((_context(owner).get("windowsOptions") or {}).get("hostProcess"))

    names = _bad(spec, wrong)
    if not names and not wrong(spec):
        return None
    return "hostProcess", f"{_setters(spec, wrong(spec), names)} must not set securityContext.windowsOptions.hostProcess=true"


CHECKS: tuple[Check, ...] = (
    Check("allowPrivilegeEscalation", "restricted", ((8, _escalation), (25, _windows(_escalation)))),
    Check("appArmorProfile", "baseline", ((0, _apparmor),)),
    Check("capabilities_baseline", "baseline", ((0, _capabilities),)),
    Check(
        "capabilities_restricted",
        "restricted",
        ((22, _capabilities_restricted), (25, _windows(_capabilities_restricted))),
        ("capabilities_baseline",),
    ),
    Check("hostNamespaces", "baseline", ((0, _host_namespaces),)),
    Check("hostPathVolumes", "baseline", ((0, _host_paths),)),
    Check("hostPorts", "baseline", ((0, _host_ports),)),
    Check("hostProbesAndHostLifecycle", "baseline", ((34, _host_probes),)),
    Check("privileged", "baseline", ((0, _privileged),)),
    Check("procMount", "baseline", ((0, _proc_mount), (35, _relaxed(_proc_mount)))),
    Check("procMount_restricted", "restricted", ((35, _proc_mount),), ("procMount",)),
    Check("restrictedVolumes", "restricted", ((0, _volumes),), ("hostPathVolumes",)),
    Check("runAsNonRoot", "restricted", ((0, _non_root), (35, _relaxed(_non_root)))),
    Check("runAsUser", "restricted", ((23, _user), (35, _relaxed(_user)))),
    Check(
        "seLinuxOptions",
        "baseline",
        (
            (0, _selinux("", "container_t", "container_init_t", "container_kvm_t")),
            (31, _selinux("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")),
        ),
    ),
    Check("seccompProfile_baseline", "baseline", ((0, _seccomp_annotations), (19, _seccomp))),
    Check(
        "seccompProfile_restricted",
        "restricted",
        ((19, _seccomp_restricted), (25, _windows(_seccomp_restricted))),
        ("seccompProfile_baseline",),
    ),
    Check(
        "sysctls",
        "baseline",
        (
            (0, _sysctls(_SYSCTLS_0)),
            (27, _sysctls(_SYSCTLS_27)),
            (29, _sysctls(_SYSCTLS_29)),
            (32, _sysctls(_SYSCTLS_32)),
            (37, _sysctls(_SYSCTLS_37)),
        ),
    ),
    Check("windowsHostProcess", "baseline", ((0, _host_process),)),
)


def evaluate(level: str, minor: int, meta: Object, spec: Object, newest: int) -> list[tuple[str, str]]:
    """What a pod breaks of a level at a version, as reasons with details, baseline first. `newest`: the
    minor version of the cluster, which knows no rules made after it."""
    if level == "privileged":
        return []
    minor = min(minor, newest)
    chosen: dict[str, Test] = {}
    overridden: set[str] = set()
    for check in CHECKS:
        if check.level == "restricted" and level != "restricted":
            continue
        test = next((test for since, test in reversed(check.versions) if since <= minor), None)
        if test is not None:
            chosen[check.id] = test
            overridden.update(check.overrides)
    order = sorted(CHECKS, key=lambda check: (check.level, check.id))
    findings = [chosen[check.id](meta, spec) for check in order if check.id in chosen and check.id not in overridden]
    return [finding for finding in findings if finding is not None]
