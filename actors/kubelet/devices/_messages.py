"""Messages between a kubelet and the host of its device plugins. Private to this component."""

from __future__ import annotations

from collections.abc import Mapping

from protocol.message import Message

__all__ = ["Allocate", "DevicesListed", "ListPodResources", "PluginError", "PluginGone", "PreStart", "Prefer"]


class DevicesListed(Message, frozen=True):
    """A plugin has registered, or told its devices anew: id -> healthy."""

    resource: str
    devices: Mapping[str, bool]
    registered: bool = False


class PluginGone(Message, frozen=True):
    """A plugin does not answer any more."""

    resource: str


class Prefer(Message, frozen=True):
    """Asked: which of the available devices a plugin would give. Answered by a tuple, empty if it does not care."""

    resource: str
    available: tuple[str, ...]
    must_include: tuple[str, ...]
    size: int


class Allocate(Message, frozen=True):
    """Asked: have a plugin make devices ready. Answered by `Granted`; raises `PluginError`."""

    resource: str
    devices: tuple[str, ...]


class PreStart(Message, frozen=True):
    """Asked: a container with these devices is about to start. Raises `PluginError`."""

    resource: str
    devices: tuple[str, ...]


class ListPodResources(Message, frozen=True):
    """Asked of the kubelet: who has what. Answered by a dict: `pods`: (namespace, name, [(container, {resource:
    ids}, cpus, [claim])]) each, `devices`: {resource: ids}, `cpus`."""


class PluginError(Exception):
    """What a plugin refused with, as gRPC prints it."""
