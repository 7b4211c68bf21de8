"""Reading the published definitions of one minor version and compiling them into types.

Owns the files' layout and the mapping of definitions to Go types. It must do nothing at import.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from protocol.schema._types import ANY, Field, Type

__all__ = ["FIRST_MINOR", "LAST_MINOR", "Schema", "load"]

FIRST_MINOR = 31
LAST_MINOR = 37

GVK = "x-kubernetes-group-version-kind"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("quantity", "resource.Quantity"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("int-or-string", "intstr.IntOrString"),
    META + "Time": ("time", "v1.Time"),
    META + "MicroTime": ("micro-time", "v1.MicroTime"),
}
_PREFIXES = (
    "io.k8s.api.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
    "io.k8s.kube-aggregator.pkg.apis.",
    "io.k8s.apimachinery.pkg.apis.",
    "io.k8s.apimachinery.pkg.",
)
_FACT = re.compile(r"([A-Za-z0-9$_-]+)([&*!z]*)(?::(.+))?$")
# Kinds whose creationTimestamp is written as null when empty, before `omitzero` (1.34).
_OMITZERO_SINCE = 34


@cache
def _facts() -> dict[str, dict[str, tuple[str, str]]]:
    from protocol.schema._gofacts import FACTS

    table: dict[str, dict[str, tuple[str, str]]] = {}
    for line in FACTS.splitlines():
        name, *words = line.split()
        row = table[name] = {}
        for word in words:
            match = _FACT.match(word)
            if match is not None:
                row[match[1]] = (match[2], match[3] or "")
    return table


def _definitions_path(minor: int) -> Path:
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package kubernetes-validate, which carries the schemas, is not installed")
    root = Path(spec.submodule_search_locations[0])
    return root / "kubernetes-json-schema" / f"v1.{minor}.0-local" / "_definitions.json"


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _type_word(node: dict[str, Any]) -> str:
    word = node.get("type")
    if isinstance(word, list):
        word = word[0]
    return word if isinstance(word, str) else ""


_CHOICES = {
    f"v1.JSONSchemaProps{end}": (end, word)
    for end, word in (("OrArray", "or-array"), ("OrBool", "or-bool"), ("OrStringArray", "or-strings"))
}
"""Go types that hold a JSON schema or something else."""


class Schema:
    """All types of one minor version of Kubernetes."""

    def __init__(self, minor: int) -> None:
        if not FIRST_MINOR <= minor <= LAST_MINOR:
            raise ValueError(f"Kubernetes 1.{minor} is not known: 1.{FIRST_MINOR} to 1.{LAST_MINOR} are")
        self.minor = minor
        self._definitions: dict[str, dict[str, Any]] | None = None
        self._types: dict[str, Type] = {}
        self._names: dict[tuple[str, str, str], str] | None = None

    @property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The definitions as published, by name; nobody may change them."""
        if self._definitions is None:
            document = orjson.loads(_definitions_path(self.minor).read_bytes())
            self._definitions = document["$defs"]
        return self._definitions

    def name_of(self, group: str, version: str, kind: str) -> str:
        """The definition's name of a kind, empty when unknown."""
        if self._names is None:
            names: dict[tuple[str, str, str], str] = {}
            for name, node in self.definitions.items():
                for gvk in node.get(GVK, ()):
                    names.setdefault((gvk.get("group", ""), gvk["version"], gvk["kind"]), name)
            self._names = names
        return self._names.get((group, version, kind), "")

    def by_gvk(self, group: str, version: str, kind: str) -> Type | None:
        """The type of a kind, or None when this version does not have it."""
        name = self.name_of(group, version, kind)
        return self.type(name) if name else None

    def type(self, name: str) -> Type:
        """The type of a definition. Raises `KeyError` for an unknown name."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._compile(name, self.definitions[name])
        return found

    def meta(self) -> Type:
        """The type of `metadata`."""
        return self.type(META + "ObjectMeta")

    def _compile(self, name: str, node: dict[str, Any]) -> Type:
        special = _SPECIAL.get(name)
        if special is not None:
            return Type(special[0], name=name, go=special[1], source=node)
        package = name.split(".")[-2]
        go = f"{package}.{name.rsplit('.', 1)[1]}"
        if "properties" in node:
            type_ = Type("object", name=name, go=go, source=node)
            type_.atomic = node.get("x-kubernetes-map-type") == "atomic"
            type_._build = lambda: self._fields(name, node, package)
            return type_
        if _type_word(node) == "object" and not name.endswith((".FieldsV1", ".RawExtension", ".Patch")):
            return Type("object", name=name, go=go, fields={}, source=node)
        if _type_word(node) == "string":
            return Type("string", name=name, go=go, format=node.get("format", ""), source=node)
        choice = _CHOICES.get(go)
        if choice is not None:  # a schema, or something simpler in its place
            schema = self.type(name[: -len(choice[0])])
            return Type("any", name=name, go=go, format=choice[1], choice=schema, preserve=True, source=node)
        return Type("any", name=name, go=go, preserve=True, source=node)

    def _fields(self, name: str, node: dict[str, Any], package: str) -> dict[str, Field]:
        facts = _facts().get(_short(name))
        required = frozenset(node.get("required", ()))
        return {
            field: self._field(
                field,
                prop,
                field in required,
                facts.get(field, ("", "")) if facts is not None else ("&!" if field in required else "", ""),
                package,
            )
            for field, prop in node["properties"].items()
        }

    def _field(
        self, name: str, prop: dict[str, Any], required: bool, fact: tuple[str, str], package: str
    ) -> Field:
        flags, go = fact
        type_ = self._inline(prop, go, package)
        number = type_.kind in ("integer", "boolean", "number")
        by_pointer = number or "$ref" in prop
        if "*" in flags:
            by_pointer = True
        elif "&" in flags:
            by_pointer = False
        omit = "!" not in flags
        zero = "z" in flags and self.minor >= _OMITZERO_SINCE
        struct = type_.kind in ("object", "time", "micro-time", "quantity", "int-or-string")
        if type_.atomic and type_.kind == "map":
            struct = False
        always = not zero and ((not by_pointer and struct and "$ref" in prop) or not omit)
        strategy = prop.get("x-kubernetes-patch-strategy", "")
        return Field(
            name,
            type_,
            required=required,
            pointer=by_pointer,
            omit=omit,
            always=always,
            strategies=tuple(strategy.split(",")) if strategy else (),
            merge_key=prop.get("x-kubernetes-patch-merge-key", ""),
            source=prop,
        )

    def _inline(self, prop: dict[str, Any], go: str = "", package: str = "") -> Type:
        ref = prop.get("$ref")
        if ref is not None:
            found = self.type(ref.rsplit("/", 1)[1])
            how = prop.get("x-kubernetes-map-type")
            if how is not None and found.kind == "object" and found.atomic != (how == "atomic"):
                return Type("object", name=found.name, go=found.go, atomic=not found.atomic, build=lambda: found.fields)
            return found
        word = _type_word(prop)
        if word == "array":
            elem = self._inline(prop.get("items", {}))
            keys = tuple(prop.get("x-kubernetes-list-map-keys", ()))
            type_ = Type("list", go=_go(go, package) or f"[]{elem.go}", elem=elem, map_keys=keys, source=prop)
            type_.list_type = prop.get("x-kubernetes-list-type", "atomic")
            if keys and elem.kind == "object":
                for key in keys:
                    default = _KEY_DEFAULTS.get((elem.name, key))
                    if default is not None:
                        type_.key_defaults[key] = default
            return type_
        if word == "object":
            if "additionalProperties" not in prop:
                return Type("any", go=_go(go, package), preserve=True, source=prop)
            elem = self._inline(prop["additionalProperties"])
            type_ = Type("map", go=_go(go, package) or f"map[string]{elem.go}", elem=elem, source=prop)
            type_.atomic = prop.get("x-kubernetes-map-type") == "atomic"
            return type_
        if word == "":
            return ANY if "oneOf" not in prop else Type("int-or-string", go="intstr.IntOrString")
        return _scalar(word, prop, _go(go, package))


# Defaults of keys of list maps (`+default` markers), which make a key optional in an element.
_KEY_DEFAULTS: dict[tuple[str, str], Any] = {
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}


def _scalar(word: str, prop: dict[str, Any], go: str) -> Type:
    form = prop.get("format", "")
    if word == "string":
        if form == "byte":
            return Type("bytes", go=go or "[]uint8", format=form, source=prop)
        return Type("string", go=go or "string", format=form, source=prop)
    if word == "integer":
        return Type("integer", go=go or form or "int64", format=form or "int64", source=prop)
    if word == "number":
        return Type("number", go=go or "float64", format=form, source=prop)
    if word == "boolean":
        return Type("boolean", go=go or "bool", source=prop)
    return ANY


_PLAIN_GO = frozenset({"string", "bool", "int", "int32", "int64", "float64", "byte", "uint8", "interface{}"})


def _go(text: str, package: str) -> str:
    """A Go type as `reflect.Type.String` prints it: own types with their package's name."""
    if not text:
        return ""
    head = re.match(r"((?:\[\]|map\[[^\]]*\]|\*)*)(.+)$", text)
    if head is None:
        return text
    prefix, core = head[1], head[2]
    prefix = re.sub(r"map\[([A-Z]\w*)\]", lambda m: f"map[{package}.{m[1]}]", prefix)
    if core not in _PLAIN_GO and "." not in core:
        core = f"{package}.{core}"
    core = re.sub(r"^(meta|core|api)v?1?\.", "v1.", core)
    return prefix + {"byte": "uint8"}.get(core, core)


@cache
def load(minor: int) -> Schema:
    """The schema of Kubernetes 1.`minor`, read once. Raises `ValueError` for an unknown version."""
    return Schema(minor)
