"""Security contexts of pods and containers.

Owns the validation of users, groups, capabilities, profiles (seccomp, AppArmor, SELinux), sysctls
and Windows options. What a namespace's policy allows is for admission to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from actors.apiserver.strategies._volume_sources import relative_path
from protocol.names import dns1123_subdomain

__all__ = ["all_containers", "validate_host_users", "validate_os", "validate_pod_context", "validate_security_context", "validate_shared_processes", "validate_windows_host_process"]

Object = dict[str, Any]

_MAX_ID = 2**31 - 1
_ID_RANGE = f"must be between 0 and {_MAX_ID}, inclusive"
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = "(" + _SYSCTL_SEGMENT + "[\\./])*" + _SYSCTL_SEGMENT
_is_sysctl = re.compile(f"(?:{_SYSCTL})\\Z").match
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_OS_NAMES = ("linux", "windows")


def all_containers(spec: Object, path: str) -> Iterator[tuple[Object, str]]:
    """Every container of a pod with its path: init containers first, ephemeral ones last."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            yield container, f"{path}.{key}[{index}]"


def _ids(context: Object, names: Iterable[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in names:
        number = context.get(name)
        if number is not None and not 0 <= number <= _MAX_ID:
            errors.append(invalid(f"{path}.{name}", number, _ID_RANGE))
    return errors


def _seccomp(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    errors: list[FieldError] = []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        errors.append(required(path + ".type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILE_TYPES:
        errors.append(not_supported(path + ".type", kind, _PROFILE_TYPES))
    at = path + ".localhostProfile"
    if kind == "Localhost":
        if local is None:
            errors.append(required(at, "must be set when seccomp type is Localhost"))
        else:
            errors += relative_path(local, at)
    elif local is not None:
        shown = {"Type": kind, "LocalhostProfile": local}
        errors.append(invalid(at, shown, "can only be set when seccomp type is Localhost"))
    return errors


def _app_armor(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    at = path + ".localhostProfile"
    if kind == "Localhost":
        if local is None or not local.strip():
            if local:
                return [invalid(at, local, "must not be padded with whitespace")]
            return [required(at, "must be set when AppArmor type is Localhost")]
        errors: list[FieldError] = []
        if local.strip() != local:
            errors.append(invalid(at, local, "must not be padded with whitespace"))
        if len(local) > 4095:
            errors.append(too_long(at, 4095))
        return errors
    if kind in _PROFILE_TYPES:
        detail = "can only be set when AppArmor type is Localhost"
        return [invalid(at, local, detail)] if local is not None else []
    if not kind:
        return [required(path + ".type", "type is required when appArmorProfile is set")]
    return [not_supported(path + ".type", kind, _PROFILE_TYPES)]


def validate_security_context(context: Object | None, path: str, host_users: bool) -> list[FieldError]:
    """A container's security context."""
    if not context:
        return []
    errors = _ids(context, ("runAsUser", "runAsGroup"), path)
    mount = context.get("procMount")
    if mount is not None:
        if mount not in ("Default", "Unmasked"):
            errors.append(not_supported(path + ".procMount", mount, ("Default", "Unmasked")))
        if host_users and mount == "Unmasked":
            detail = "`hostUsers` must be false to use `Unmasked`"
            errors.append(invalid(path + ".procMount", mount, detail))
    errors += _seccomp(context.get("seccompProfile"), path + ".seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        refused = "cannot set `allowPrivilegeEscalation` to false and "
        if context.get("privileged"):
            shown = internal_form("core.SecurityContext", context)
            errors.append(invalid(path, shown, refused + "`privileged` to true"))
        for capability in (context.get("capabilities") or {}).get("add") or ():
            if capability == "CAP_SYS_ADMIN":
                shown = internal_form("core.SecurityContext", context)
                errors.append(invalid(path, shown, refused + "`capabilities.Add` CAP_SYS_ADMIN"))
    if "windowsOptions" in context:
        errors += _windows(context["windowsOptions"], path + ".windowsOptions")
    return errors + _app_armor(context.get("appArmorProfile"), path + ".appArmorProfile")


def validate_pod_context(spec: Object, path: str) -> list[FieldError]:
    """A pod's security context."""
    context = spec.get("securityContext")
    if not context:
        return []
    errors = _ids(context, ("fsGroup", "runAsUser", "runAsGroup"), path)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            errors.append(invalid(f"{path}.supplementalGroups[{index}]", group, _ID_RANGE))
    if context.get("sysctls"):
        errors += _sysctls(context["sysctls"], spec, path + ".sysctls")
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        at = path + ".fsGroupChangePolicy"
        errors.append(not_supported(at, policy, ("Always", "OnRootMismatch")))
    errors += _seccomp(context.get("seccompProfile"), path + ".seccompProfile")
    if "windowsOptions" in context:
        errors += _windows(context["windowsOptions"], path + ".windowsOptions")
    errors += _app_armor(context.get("appArmorProfile"), path + ".appArmorProfile")
    policy = context.get("supplementalGroupsPolicy")
    if policy is not None and policy not in ("Merge", "Strict"):
        errors.append(not_supported(path + ".supplementalGroupsPolicy", policy, ("Merge", "Strict")))
    policy = context.get("seLinuxChangePolicy")
    if policy is not None and policy not in ("MountOption", "Recursive"):
        at = path + ".seLinuxChangePolicy"
        errors.append(not_supported(at, policy, ("MountOption", "Recursive")))
    return errors


def validate_shared_processes(spec: Object, path: str) -> list[FieldError]:
    """A pod's own process namespace and the host's exclude each other."""
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        return [invalid(path + ".shareProcessNamespace", True, detail)]
    return []


def _sysctls(sysctls: list[Object], spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        name = sysctl.get("name", "")
        at = f"{path}[{index}].name"
        if not name:
            errors.append(required(at))
        elif len(name) > 253 or not _is_sysctl(name):
            detail = f"must have at most 253 characters and match regex ^{_SYSCTL}$"
            errors.append(invalid(at, name, detail))
        elif name in seen:
            errors.append(duplicate(at, name))
        plain = name.replace("/", ".")
        if spec.get("hostNetwork") and plain.startswith("net."):
            errors.append(invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (plain.startswith(_IPC_SYSCTLS) or plain == "kernel.sem"):
            errors.append(invalid(at, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)
    return errors


# --- Windows and operating systems --------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NET_BIOS = re.compile(r"[^\\/:*?\"<>|.][^\\/:*?\"<>|]{0,14}\Z")
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS_DOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*\Z")
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_DOTS = re.compile(r"[. ]+\Z")


def _windows(options: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        at = path + ".gmsaCredentialSpecName"
        errors += [invalid(at, name, message) for message in dns1123_subdomain(name)]
    text = options.get("gmsaCredentialSpec")
    if text is not None:
        at = path + ".gmsaCredentialSpec"
        if not text:
            errors.append(invalid(at, text, "gmsaCredentialSpec cannot be an empty string"))
        elif len(text) > 64 * 1024:
            errors.append(invalid(at, text, "gmsaCredentialSpec size must be under 64 KiB"))
    user = options.get("runAsUserName")
    if user is not None:
        at = path + ".runAsUserName"
        errors += [invalid(at, user, f"runAsUserName{problem}") for problem in _user_problems(user)]
    return errors


def _user_problems(name: str) -> list[str]:
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    parts = name.split("\\")
    if len(parts) > 2:
        return [" cannot contain more than one backslash"]
    out: list[str] = []
    domain, user = parts if len(parts) == 2 else ("", parts[0])
    if len(domain) >= 256:
        out.append("'s Domain length must be under 256 characters")
    if len(parts) == 2 and not (_NET_BIOS.match(domain) or _DNS_DOMAIN.match(domain)):
        out.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        out.append("'s User cannot be empty")
    elif len(user) > 104:
        out.append("'s User length must not be longer than 104 characters")
    if _DOTS.match(user):
        out.append("'s User cannot contain only periods or spaces")
    if _BAD_USER.search(user):
        out.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return out


def _host_process(context: Object | None) -> bool | None:
    return ((context or {}).get("windowsOptions") or {}).get("hostProcess")


def validate_windows_host_process(spec: Object, path: str) -> list[FieldError]:
    """All containers of a pod are host processes, or none."""
    pod_value = _host_process(spec.get("securityContext"))
    errors: list[FieldError] = []
    total = count = 0
    for container, at in all_containers(spec, path):
        total += 1
        own = _host_process(container.get("securityContext"))
        if pod_value is not None and own is not None and pod_value != own:
            was = str(pod_value).lower()
            detail = f"pod hostProcess value must be identical if both are specified, was {was}"
            errors.append(invalid(at + ".securityContext.windowsOptions.hostProcess", own, detail))
        count += bool(own if own is not None else pod_value)
    if count:
        if count != total:
            detail = (
                "If pod contains any hostProcess containers then all containers must be "
                "HostProcess containers"
            )
            errors.append(invalid(path, "", detail))
        if not spec.get("hostNetwork"):
            detail = "hostNetwork must be true if pod contains any hostProcess containers"
            errors.append(invalid(path + ".hostNetwork", False, detail))
    return errors


_NOT_ON_WINDOWS = "cannot be set for a windows pod"
_POD_FIELDS = (
    ("appArmorProfile", True),
    ("seLinuxOptions", True),
    ("hostUsers", False),
    ("hostPID", False),
    ("hostIPC", False),
    ("seccompProfile", True),
    ("fsGroup", True),
    ("fsGroupChangePolicy", True),
    ("sysctls", True),
    ("shareProcessNamespace", False),
    ("runAsUser", True),
    ("runAsGroup", True),
    ("supplementalGroups", True),
    ("supplementalGroupsPolicy", True),
    ("seLinuxChangePolicy", True),
)
_CONTAINER_FIELDS = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def validate_os(spec: Object, path: str) -> list[FieldError]:
    """Fields that the pod's declared operating system does not have."""
    name = spec["os"].get("name", "")
    if not name:
        return [required(path + ".os.name")]
    if name not in _OS_NAMES:
        return [not_supported(path + ".os", name, _OS_NAMES)]
    context = spec.get("securityContext") or {}
    errors: list[FieldError] = []
    if name == "linux":
        detail = "windows options cannot be set for a linux pod"
        if "windowsOptions" in context:
            errors.append(forbidden(path + ".securityContext.windowsOptions", detail))
        for container, at in all_containers(spec, path):
            if "windowsOptions" in (container.get("securityContext") or {}):
                errors.append(forbidden(at + ".securityContext.windowsOptions", detail))
        return errors
    for field, in_context in _POD_FIELDS:
        if field in (context if in_context else spec):
            at = f"{path}.securityContext.{field}" if in_context else f"{path}.{field}"
            errors.append(forbidden(at, _NOT_ON_WINDOWS))
    for container, at in all_containers(spec, path):
        own = container.get("securityContext") or {}
        for field in _CONTAINER_FIELDS:
            if field in own:
                errors.append(forbidden(f"{at}.securityContext.{field}", _NOT_ON_WINDOWS))
    return errors


def validate_host_users(spec: Object, path: str) -> list[FieldError]:
    """A pod with user namespaces of its own cannot share others with the host (KEP-127)."""
    if spec.get("hostUsers", True):
        return []
    detail = "when `hostUsers` is false"
    fields = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    errors = [forbidden(f"{path}.{shown}", detail) for key, shown in fields if spec.get(key)]
    for container, at in all_containers(spec, path):
        if container.get("volumeDevices"):
            errors.append(forbidden(at + ".volumeDevices", detail))
    return errors
