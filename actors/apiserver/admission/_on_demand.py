"""Policies and webhooks, loaded when the first object that configures them is there.

Owns nothing of what they do. Most clusters have neither, and their machinery (CEL above all) would be
a good part of the time in which an API server starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from actors.apiserver.admission._base import Attributes, Plugin

__all__ = ["on_demand"]

_GROUP = "admissionregistration.k8s.io"


class _OnDemand(Plugin):
    """Stands in for a plugin until it is needed."""

    def __init__(self, name: str, resource: str, load: Callable[[], Plugin]) -> None:
        self.name = name
        self._resource = resource
        self._load = load
        self._plugin: Plugin | None = None

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Nothing that configures admission, which must stay repairable."""
        return group != _GROUP

    def needed(self, attributes: Attributes) -> Plugin | None:
        """The plugin; None when nothing is configured."""
        for _ in attributes.lookup.list(_GROUP, self._resource):
            if self._plugin is None:
                self._plugin = self._load()
            return self._plugin
        return None


class _Mutating(_OnDemand):
    def admit(self, attributes: Attributes) -> Awaitable[None] | None:
        """As the plugin does."""
        plugin = self.needed(attributes)
        return plugin.admit(attributes) if plugin is not None else None


class _Validating(_OnDemand):
    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        """As the plugin does."""
        plugin = self.needed(attributes)
        return plugin.validate(attributes) if plugin is not None else None


def _mutating_policy() -> Plugin:
    from actors.apiserver.admission._mutating_policy import MutatingAdmissionPolicy

    return MutatingAdmissionPolicy()


def _mutating_webhook() -> Plugin:
    from actors.apiserver.admission._webhooks import MutatingAdmissionWebhook

    return MutatingAdmissionWebhook()


def _validating_policy() -> Plugin:
    from actors.apiserver.admission._validating_policy import ValidatingAdmissionPolicy

    return ValidatingAdmissionPolicy()


def _validating_webhook() -> Plugin:
    from actors.apiserver.admission._webhooks import ValidatingAdmissionWebhook

    return ValidatingAdmissionWebhook()


def on_demand() -> list[Plugin]:
    """The four, in upstream's order."""
    return [
        _Mutating("MutatingAdmissionPolicy", "mutatingadmissionpolicybindings", _mutating_policy),
        _Mutating("MutatingAdmissionWebhook", "mutatingwebhookconfigurations", _mutating_webhook),
        _Validating("ValidatingAdmissionPolicy", "validatingadmissionpolicybindings", _validating_policy),
        _Validating("ValidatingAdmissionWebhook", "validatingwebhookconfigurations", _validating_webhook),
    ]
