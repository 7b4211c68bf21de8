"""What a pod and its container say of security, as the runtime is told. Pure."""

from __future__ import annotations

from typing import Any

from protocol.cri import SecurityContext

__all__ = ["needs_apparmor", "security_context"]

Object = dict[str, Any]
PLAIN = SecurityContext()


def security_context(pod: Object, container: Object) -> SecurityContext:
    """The container's own settings, else the pod's."""
    whole = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    if not whole and not own:
        return PLAIN
    both = {**whole, **own}
    profile, confined = both.get("seccompProfile") or {}, both.get("appArmorProfile") or {}
    kind = profile.get("type") or ""
    groups = [*(whole.get("supplementalGroups") or ())]
    if whole.get("fsGroup") is not None:
        groups.append(whole["fsGroup"])
    capabilities = own.get("capabilities") or {}
    return SecurityContext(
        both.get("runAsGroup"),
        "",
        tuple(int(g) for g in groups),
        tuple(capabilities.get("add") or ()),
        tuple(capabilities.get("drop") or ()),
        own.get("allowPrivilegeEscalation") is False,
        f"Localhost/var/lib/kubelet/seccomp/{profile.get('localhostProfile', '')}" if kind == "Localhost" else kind,
        own.get("procMount") == "Unmasked",
        strict_groups=whole.get("supplementalGroupsPolicy") == "Strict",
        apparmor=_apparmor(confined),
    )


def _apparmor(profile: Object) -> str:
    kind = str(profile.get("type") or "")
    return f"Localhost/{profile.get('localhostProfile', '')}" if kind == "Localhost" else kind


def needs_apparmor(pod: Object) -> bool:
    """Whether a container is to be confined by AppArmor."""
    whole = pod["spec"].get("securityContext") or {}
    containers = [
        c for group in ("initContainers", "containers", "ephemeralContainers") for c in pod["spec"].get(group) or ()
    ]
    profiles = ({**whole, **(c.get("securityContext") or {})}.get("appArmorProfile") for c in containers)
    return any(p and p.get("type") != "Unconfined" for p in profiles)
