"""The types of built-in kinds: fields, list types, merge keys, formats, and what loading costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from protocol.schema import FIRST_MINOR, LAST_MINOR, load

POD = load(LAST_MINOR).by_gvk("", "v1", "Pod")


def test_importing_reads_nothing() -> None:
    program = "import protocol.schema; print(protocol.schema.load(36)._definitions)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "None\n"


def test_a_minor_version_is_loaded_once() -> None:
    assert load(LAST_MINOR) is load(LAST_MINOR)


@pytest.mark.parametrize("minor", [FIRST_MINOR - 1, LAST_MINOR + 1])
def test_an_unknown_minor_version_is_refused(minor: int) -> None:
    with pytest.raises(ValueError, match="is not known"):
        load(minor)


def test_a_kind_that_does_not_exist_has_no_type() -> None:
    assert load(LAST_MINOR).by_gvk("", "v1", "Nonsense") is None


@pytest.mark.parametrize(
    ("path", "list_type", "keys"),
    [
        (("spec", "containers"), "map", ("name",)),
        (("spec", "containers", "ports"), "map", ("containerPort", "protocol")),
        (("spec", "tolerations"), "atomic", ()),
        (("metadata", "finalizers"), "set", ()),
        (("metadata", "ownerReferences"), "map", ("uid",)),
        (("status", "conditions"), "map", ("type",)),
        (("spec", "containers", "args"), "atomic", ()),
    ],
)
def test_lists_say_how_they_are_owned(path: tuple[str, ...], list_type: str, keys: tuple[str, ...]) -> None:
    assert POD is not None
    found = POD.field(*path).type
    assert (found.list_type, found.map_keys) == (list_type, keys)


def test_patch_strategies_and_merge_keys_are_those_of_go_tags() -> None:
    assert POD is not None
    containers, volumes = POD.field("spec", "containers"), POD.field("spec", "volumes")
    assert (containers.strategies, containers.merge_key) == (("merge",), "name")
    assert (volumes.strategies, volumes.merge_key) == (("merge", "retainKeys"), "name")
    assert POD.field("spec", "tolerations").strategies == ()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (("spec", "containers", "resources", "limits"), "map"),
        (("spec", "containers", "livenessProbe", "httpGet", "port"), "int-or-string"),
        (("metadata", "creationTimestamp"), "time"),
        (("spec", "hostNetwork"), "boolean"),
        (("spec", "priority"), "integer"),
    ],
)
def test_scalars_have_their_formats(path: tuple[str, ...], kind: str) -> None:
    assert POD is not None
    assert POD.field(*path).type.kind == kind


def test_a_selector_is_owned_as_a_whole() -> None:
    assert POD is not None
    assert POD.field("spec", "nodeSelector").type.atomic


def test_a_field_that_is_not_declared_raises() -> None:
    assert POD is not None
    with pytest.raises(KeyError):
        POD.field("spec", "nonsense")


def test_every_served_kind_has_a_type_in_every_version() -> None:
    from protocol import kinds

    for minor in range(FIRST_MINOR, LAST_MINOR + 1):
        missing = [
            k.kind for k in kinds.served(minor) if load(minor).by_gvk(k.group, k.version, k.kind) is None
        ]
        assert not missing, (minor, missing)
