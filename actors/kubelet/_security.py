"""What a pod and its container say of security, as the runtime is told. Pure."""

from __future__ import annotations

from typing import Any

from protocol.cri import SecurityContext

__all__ = ["breaks_non_root", "needs_apparmor", "security_context", "unenforceable"]

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


def breaks_non_root(pod: Object, container: Object, image_user: str, full_name: str) -> str:
    """Why a container that must not run as root may not run; empty if it may. `image_user`: whom the image names."""
    both = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    if not both.get("runAsNonRoot"):
        return ""
    who = f'(pod: "{full_name}", container: {container["name"]})'
    if both.get("runAsUser") is not None:
        return "" if both["runAsUser"] else f"container's runAsUser breaks non-root policy {who}"
    user = image_user.partition(":")[0]
    if not user or user.isdigit():
        return "" if user and int(user) else f"container has runAsNonRoot and image will run as root {who}"
    return f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {who}"


def unenforceable(pod: Object, features: tuple[str, ...] | None) -> tuple[str, str] | None:
    """(reason, message) of the refusal of a pod that asks for what this machine cannot keep."""
    if features is None:
        return None
    if "apparmor" not in features and needs_apparmor(pod):
        return "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    strict = (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy") == "Strict"
    if strict and "supplemental-groups-policy" not in features:
        text = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return "SupplementalGroupsPolicyNotSupported", text
    return None


def needs_apparmor(pod: Object) -> bool:
    """Whether a container is to be confined by AppArmor."""
    whole = pod["spec"].get("securityContext") or {}
    containers = [
        c for group in ("initContainers", "containers", "ephemeralContainers") for c in pod["spec"].get(group) or ()
    ]
    profiles = ({**whole, **(c.get("securityContext") or {})}.get("appArmorProfile") for c in containers)
    return any(p and p.get("type") != "Unconfined" for p in profiles)
