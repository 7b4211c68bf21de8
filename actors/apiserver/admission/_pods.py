"""Small plugins about pods and nodes: tolerations, taints, priorities, runtime classes, topology.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status
from protocol.api import StatusError

__all__ = ["DefaultTolerationSeconds", "PodTopologyLabels", "Priority", "RuntimeClass", "TaintNodesByCondition"]

Object = dict[str, Any]
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
MIRROR = "kubernetes.io/config.mirror"
TOLERATION_SECONDS = 300


def _pod_forbidden(attributes: Attributes, why: str) -> StatusError:
    return status.forbidden("", "pods", attributes.name, why)


class DefaultTolerationSeconds(Plugin):
    """Pods stay five minutes on a node that is not ready or cannot be reached."""

    name = "DefaultTolerationSeconds"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New and changed pods."""
        return operation in (CREATE, UPDATE) and group == "" and resource == "pods" and not subresource

    def admit(self, attributes: Attributes) -> None:
        """Add what is not tolerated yet."""
        spec = (attributes.object or {}).get("spec")
        if spec is None:
            return
        tolerations = spec.get("tolerations") or []
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
            for key in (NOT_READY, UNREACHABLE)
            if not any(
                t.get("key", "") in (key, "") and t.get("effect", "") in ("NoExecute", "") for t in tolerations
            )
        ]
        if added:
            spec["tolerations"] = [*tolerations, *added]


class TaintNodesByCondition(Plugin):
    """A new node takes no pods until it is ready."""

    name = "TaintNodesByCondition"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New nodes."""
        return operation == CREATE and group == "" and resource == "nodes" and not subresource

    def admit(self, attributes: Attributes) -> None:
        """Add the taint once."""
        spec = (attributes.object or {}).setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(t.get("key") == NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


class Priority(Plugin):
    """Turns the name of a priority class into its number; one class may be the default."""

    name = "Priority"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New and changed pods and priority classes."""
        if operation not in (CREATE, UPDATE) or subresource:
            return False
        return (group, resource) in (("", "pods"), ("scheduling.k8s.io", "priorityclasses"))

    def admit(self, attributes: Attributes) -> None:
        """Pods only."""
        if attributes.resource != "pods" or attributes.object is None:
            return
        spec = attributes.object.setdefault("spec", {})
        if attributes.operation == UPDATE:
            old = (attributes.old_object or {}).get("spec", {})
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and old.get(field) is not None:
                    spec[field] = old[field]
            return
        self._resolve(attributes, spec)

    def _resolve(self, attributes: Attributes, spec: Object) -> None:
        number, policy = 0, "PreemptLowerPriority"
        name = spec.get("priorityClassName", "")
        found: Object | None
        if name:
            found = attributes.lookup.get("scheduling.k8s.io", "priorityclasses", "", name)
            if found is None:
                raise _pod_forbidden(attributes, f"no PriorityClass with name {name} was found")
        else:
            found = self._default(attributes)
            if found is not None:
                spec["priorityClassName"] = found["metadata"]["name"]
        if found is not None:
            number = found.get("value", 0)
            policy = found.get("preemptionPolicy") or policy
        given = spec.get("priority")
        if given is not None and given != number:
            raise _pod_forbidden(
                attributes,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission"
                f" controller computed {number} from the given PriorityClass name",
            )
        spec["priority"] = number
        given = spec.get("preemptionPolicy")
        if given is not None and given != policy:
            raise _pod_forbidden(
                attributes,
                f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission"
                f" controller computed {policy} from the given PriorityClass name",
            )
        spec["preemptionPolicy"] = policy

    @staticmethod
    def _default(attributes: Attributes) -> Object | None:
        best: Object | None = None
        for candidate in attributes.lookup.list("scheduling.k8s.io", "priorityclasses"):
            if candidate.get("globalDefault") and (best is None or candidate.get("value", 0) < best.get("value", 0)):
                best = candidate
        return best

    def validate(self, attributes: Attributes) -> None:
        """Priority classes only: no second default."""
        if attributes.resource != "priorityclasses" or not (attributes.object or {}).get("globalDefault"):
            return
        default = self._default(attributes)
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == CREATE or name != attributes.name:
            raise status.forbidden(
                "scheduling.k8s.io",
                "priorityclasses",
                attributes.name,
                f"PriorityClass {name} is already marked as default. Only one default can exist",
            )


class RuntimeClass(Plugin):
    """Pods of a runtime class carry its overhead and go where it can run."""

    name = "RuntimeClass"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New pods."""
        return operation == CREATE and group == "" and resource == "pods" and not subresource

    def _class(self, attributes: Attributes, spec: Object) -> Object | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        found = attributes.lookup.get("node.k8s.io", "runtimeclasses", "", name)
        if found is None:
            raise _pod_forbidden(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found

    def admit(self, attributes: Attributes) -> None:
        """Merge the class into the pod."""
        spec = (attributes.object or {}).get("spec", {})
        found = self._class(attributes, spec)
        if found is None:
            return
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead is not None:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise _pod_forbidden(
                    attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                )
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling") or {}
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.get(key, value) != value:
                raise _pod_forbidden(
                    attributes,
                    f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                    f" pod.spec.nodeSelector[{key}] = {selector[key]}",
                )
            selector[key] = value
        if selector:
            spec["nodeSelector"] = selector
        tolerations = spec.get("tolerations") or []
        more = [dict(t) for t in scheduling.get("tolerations") or () if t not in tolerations]
        if more:
            spec["tolerations"] = [*tolerations, *more]

    def validate(self, attributes: Attributes) -> None:
        """An overhead must come from a class."""
        spec = (attributes.object or {}).get("spec", {})
        given = spec.get("overhead")
        found = self._class(attributes, spec)
        overhead = ((found or {}).get("overhead") or {}).get("podFixed")
        if given and overhead is None:
            raise _pod_forbidden(
                attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if overhead is not None and given != overhead:
            raise _pod_forbidden(
                attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            )


class PodTopologyLabels(Plugin):
    """A pod that is bound, or made with a node, learns that node's zone and region."""

    name = "PodTopologyLabels"
    labels = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New pods and bindings of pods."""
        return operation == CREATE and group == "" and resource == "pods" and subresource in ("", "binding")

    def admit(self, attributes: Attributes) -> None:
        """Write them into the pod, or into the binding, whose labels go to the pod."""
        obj = attributes.object or {}
        target = obj.get("target") or {}
        if target.get("kind", "Node") not in ("", "Node"):
            return
        name = target.get("name", "") if attributes.subresource else (obj.get("spec") or {}).get("nodeName")
        if not name:
            return
        node = attributes.lookup.get("", "nodes", "", name)
        labels = (node or {}).get("metadata", {}).get("labels") or {}
        found = {key: labels[key] for key in self.labels if key in labels}
        if found:
            meta = obj.setdefault("metadata", {})
            meta["labels"] = {**(meta.get("labels") or {}), **found}
