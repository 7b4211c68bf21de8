"""Annotations for security profiles, which fields replaced.

Owns the forms of seccomp and AppArmor annotations and their agreement with the fields.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import FieldError, forbidden, invalid
from actors.apiserver.strategies._volume_sources import relative_path
from actors.apiserver.strategies.pod_security import all_containers

__all__ = ["validate_profile_annotations", "validate_profiles_match"]

Object = dict[str, Any]
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"


def validate_profile_annotations(annotations: Object, spec: Object, path: str) -> list[FieldError]:
    """The old annotations for seccomp and AppArmor, where they are still given."""
    errors: list[FieldError] = []
    for key, value in annotations.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            errors += _seccomp_annotation(value, f"{path}.{key}")
        elif key.startswith(_APP_ARMOR):
            name = key.removeprefix(_APP_ARMOR)
            at = f"{path}[{key}]"
            if all(c.get("name") != name for c, _ in all_containers(spec, "")):
                errors.append(invalid(at, name, "container not found"))
            if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
                errors.append(invalid(at, value, f'invalid AppArmor profile name: "{value}"'))
    return errors


def _seccomp_annotation(value: str, path: str) -> list[FieldError]:
    if value in ("runtime/default", "docker/default", "unconfined"):
        return []
    if value.startswith("localhost/"):
        return relative_path(value.removeprefix("localhost/"), path)
    return [invalid(path, value, "must be a valid seccomp profile")]


def _mismatch(profile: Object, annotation: str, what: str, path: str) -> list[FieldError]:
    kind, local = profile.get("type"), profile.get("localhostProfile")
    defaults = ("runtime/default",) if what == "apparmor" else ("runtime/default", "docker/default")
    wrong = (
        (kind == "Unconfined" and annotation != "unconfined")
        or (kind == "RuntimeDefault" and annotation not in defaults)
        or (kind == "Localhost" and not annotation.startswith("localhost/"))
    )
    if wrong:
        return [forbidden(path + ".type", f"{what} type in annotation and field must match")]
    if kind == "Localhost" and annotation.removeprefix("localhost/") != local:
        detail = f"{what} profile in annotation and field must match"
        return [forbidden(path + ".localhostProfile", detail)]
    return []


def validate_profiles_match(annotations: Object, spec: Object, path: str) -> list[FieldError]:
    """On creation the old annotations must say what the fields say."""
    context = spec.get("securityContext") or {}
    errors: list[FieldError] = []
    profile = context.get("seccompProfile")
    if profile is not None and _SECCOMP_POD in annotations:
        at = path + ".securityContext.seccompProfile"
        errors += _mismatch(profile, annotations[_SECCOMP_POD], "seccomp", at)
    for container, at in all_containers(spec, path):
        own = (container.get("securityContext") or {}).get("seccompProfile")
        key = _SECCOMP_CONTAINER + container.get("name", "")
        if own is not None and key in annotations:
            where = at + ".securityContext.seccompProfile"
            errors += _mismatch(own, annotations[key], "seccomp", where)
    if (spec.get("os") or {}).get("name") == "windows":
        return errors
    for container, at in all_containers(spec, path):
        own = (container.get("securityContext") or {}).get("appArmorProfile")
        own = own or context.get("appArmorProfile")
        key = _APP_ARMOR + container.get("name", "")
        if own is not None and key in annotations:
            where = at + ".securityContext.appArmorProfile"
            errors += _mismatch(own, annotations[key], "apparmor", where)
    return errors
