"""Probes and lifecycle hooks of containers.

Owns the validation of handlers (exec, httpGet, tcpSocket, grpc, sleep), of probes around them and of
lifecycle hooks and stop signals.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import nonnegative
from protocol.names import http_header_name, port_name, port_number

__all__ = ["validate_lifecycle", "validate_port", "validate_probe"]

Object = dict[str, Any]

_SCHEMES = ("HTTP", "HTTPS")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_LINUX_SIGNALS = ["SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGRTMAX", "SIGRTMAX-1", "SIGRTMAX-10", "SIGRTMAX-11", "SIGRTMAX-12", "SIGRTMAX-13", "SIGRTMAX-14", "SIGRTMAX-2", "SIGRTMAX-3", "SIGRTMAX-4", "SIGRTMAX-5", "SIGRTMAX-6", "SIGRTMAX-7", "SIGRTMAX-8", "SIGRTMAX-9", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4", "SIGRTMIN+5", "SIGRTMIN+6", "SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ"]
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")
_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_port(port: int | str, path: str) -> list[FieldError]:
    """A port by number or by name."""
    if isinstance(port, int):
        return [invalid(path, port, message) for message in port_number(port)]
    return [invalid(path, port, message) for message in port_name(port)]


def _http_get(action: Object, path: str) -> list[FieldError]:
    errors = [] if action.get("path") else [required(path + ".path")]
    errors += validate_port(action.get("port", 0), path + ".port")
    scheme = action.get("scheme", "")
    if scheme not in _SCHEMES:
        errors.append(not_supported(path + ".scheme", scheme, _SCHEMES))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        errors += [invalid(path + ".httpHeaders", name, m) for m in http_header_name(name)]
    return errors


def _sleep(action: Object, grace_s: int | None, path: str) -> list[FieldError]:
    seconds = action.get("seconds", 0)
    if grace_s is None or 0 <= seconds <= grace_s:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
    return [invalid(path, seconds, detail)]


def _handler(handler: Object, grace_s: int | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    found = 0
    for kind in _HANDLERS:
        action = handler.get(kind)
        if action is None:
            continue
        at = f"{path}.{kind}"
        found += 1
        if found > 1:
            errors.append(forbidden(at, "may not specify more than 1 handler type"))
        elif kind == "exec":
            errors += [] if action.get("command") else [required(at + ".command")]
        elif kind == "httpGet":
            errors += _http_get(action, at)
        elif kind == "sleep":
            errors += _sleep(action, grace_s, at)
        else:
            errors += validate_port(action.get("port", 0), at + ".port")
    return errors if found else [required(path, "must specify a handler type")]


def validate_probe(probe: Object, kind: str, grace_s: int | None, path: str) -> list[FieldError]:
    """A probe; `kind` is the name of its field."""
    errors = _handler(probe, grace_s, path)
    for name in _NUMBERS:
        errors += nonnegative(probe.get(name), f"{path}.{name}")
    own_grace = probe.get("terminationGracePeriodSeconds")
    at = path + ".terminationGracePeriodSeconds"
    if own_grace is not None and own_grace <= 0:
        errors.append(invalid(at, own_grace, "must be greater than 0"))
    if kind == "readinessProbe":
        if own_grace is not None:
            errors.append(invalid(at, own_grace, "must not be set for readinessProbes"))
    elif probe.get("successThreshold", 0) != 1:
        threshold = probe.get("successThreshold", 0)
        errors.append(invalid(path + ".successThreshold", threshold, "must be 1"))
    return errors


def validate_lifecycle(
    lifecycle: Object, grace_s: int | None, path: str, os: Object | None
) -> list[FieldError]:
    """What runs after a container's start and before its stop."""
    errors: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            errors += _handler(lifecycle[hook], grace_s, f"{path}.{hook}")
    signal = lifecycle.get("stopSignal")
    if signal is not None:
        errors += _stop_signal(signal, path + ".stopSignal", os)
    return errors


def _stop_signal(signal: str, path: str, os: Object | None) -> list[FieldError]:
    if os is None:
        return [forbidden(path, "may not be set for containers with empty `spec.os.name`")]
    known = {"linux": _LINUX_SIGNALS, "windows": _WINDOWS_SIGNALS}.get(os.get("name", ""))
    if known is None or signal in known:
        return []
    return [not_supported(path, signal, known)]
