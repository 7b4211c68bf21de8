"""A pod as a whole: what is checked of it on creation and again on each change.

Owns the walk over metadata, annotations and spec; the parts have their own modules.
"""

from __future__ import annotations

from actors.apiserver.strategies._base import Object, Strategy
from actors.apiserver.strategies._errors import FieldError, forbidden
from actors.apiserver.strategies.pod_containers import validate_image_whitespace
from actors.apiserver.strategies.pod_validation import validate_pod_annotations, validate_pod_spec

__all__ = ["CONTAINER_LISTS", "MIRROR", "check_object"]



MIRROR = "kubernetes.io/config.mirror"
CONTAINER_LISTS = ("containers", "initContainers")


def check_object(strategy: Strategy, pod: Object) -> list[FieldError]:
    """Metadata and spec, on create as on each update."""
    meta, spec = pod["metadata"], pod["spec"]
    errors = strategy.check_meta(pod)
    if annotations := meta.get("annotations"):
        errors += validate_pod_annotations(annotations, spec, "metadata.annotations")
    errors += validate_pod_spec(spec, "spec", meta)
    if not spec.get("serviceAccountName"):
        errors += _tokens_without_account(spec)
    for key in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(key) or ()):
            if container.get("image", "")[:1].isspace() or container.get("image", "")[-1:].isspace():
                errors += validate_image_whitespace(container, f"spec.{key}[{index}]")
    return errors


def _tokens_without_account(spec: Object) -> list[FieldError]:
    detail = "must not be specified when serviceAccountName is not set"
    return [
        forbidden(f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken", detail)
        for index, volume in enumerate(spec.get("volumes") or ())
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if "serviceAccountToken" in source
    ]
