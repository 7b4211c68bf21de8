"""What a pod and its container say of security, as the runtime is told. Pure."""

from __future__ import annotations

from typing import Any

from protocol.cri import SecurityContext

__all__ = ["security_context"]

Object = dict[str, Any]
PLAIN = SecurityContext()


def security_context(pod: Object, container: Object) -> SecurityContext:
    """The container's own settings, else the pod's."""
    whole = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    if not whole and not own:
        return PLAIN
    both = {**whole, **own}
    profile = both.get("seccompProfile") or {}
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
    )
