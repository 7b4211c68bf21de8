"""CustomResourceDefinitions themselves: defaults, preparation and validation.

Owns upstream's rules for a definition and the paths they report (fields that are the same in all
versions are judged once, at the top, as upstream's internal form has them).

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.crd._field_path import PathProblem, find_path
from actors.apiserver.crd._form import Surroundings, parts
from actors.apiserver.crd._names import is_established
from actors.apiserver.crd._schema_rules import check_schema
from actors.apiserver.crd._shown import shown_versions
from actors.apiserver.crd._structural import why_not_built
from actors.apiserver.strategies import Column, Context, FieldError, Strategy
from actors.apiserver.strategies._admission_rules import check_service, check_url
from actors.apiserver.strategies._errors import duplicate, forbidden, invalid, not_supported, required, too_many
from protocol.names import dns1035_label, dns1123_subdomain, dns_subdomain_name

__all__ = ["DefinitionStrategy", "check_spec"]

Object = dict[str, Any]
Errors = list[FieldError]
APPROVED = "api-approved.kubernetes.io"
_HOISTED = (
    ("schema", "Schema", "validation"),
    ("subresources", "Subresources", "subresources"),
    ("additionalPrinterColumns", "AdditionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "SelectableFields", "selectableFields"),
)
MOST_SELECTABLE = 8
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


class DefinitionStrategy(Strategy):
    """The strategy of CustomResourceDefinition."""

    has_status: ClassVar[bool] = True
    has_generation: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False

    def default(self, obj: Object) -> None:
        """Names that follow from the kind, and no conversion."""
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        kind = names.get("kind", "")
        if not names.get("singular") and kind:
            names["singular"] = kind.lower()
        if not names.get("listKind") and kind:
            names["listKind"] = kind + "List"
        if not spec.get("conversion"):
            spec["conversion"] = {"strategy": "None"}
        service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443
        if spec.get("preserveUnknownFields") is False:
            del spec["preserveUnknownFields"]
        status = obj.setdefault("status", {})
        if not status.get("storedVersions"):
            _remember_stored(spec, status)

    def reset_status(self, obj: Object) -> None:
        """No conditions and names yet, but the version that is stored from now on."""
        obj["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": None}
        _remember_stored(obj["spec"], obj["status"])

    def keep_status(self, new: Object, old: Object) -> None:
        """The old status, with a new storage version added to the stored ones."""
        new["status"] = dict(old.get("status") or {})
        _remember_stored(new["spec"], new["status"])

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """Nothing beyond the generic."""

    def check(self, obj: Object) -> Errors:
        """Everything about a new definition."""
        spec = obj["spec"]
        wanted = f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}"

        def rule(name: str, prefix: bool) -> Any:
            problems = list(dns_subdomain_name(name, prefix))
            if name != wanted:
                problems.append('must be spec.names.plural+"."+spec.group')
            return problems

        from actors.apiserver.strategies._meta import validate_meta

        errors = validate_meta(obj["metadata"], False, rule)
        errors += check_spec(spec)
        errors += _check_stored(obj.get("status") or {}, spec)
        errors += _check_approval(obj, None)
        return errors + _check_preserve(spec, None)

    def check_update(self, new: Object, old: Object) -> Errors:
        """Everything about a change."""
        from actors.apiserver.strategies._meta import validate_meta_update

        spec, was = new["spec"], old["spec"]
        errors = validate_meta_update(new["metadata"], old["metadata"])
        errors += check_spec(spec, was)
        fixed = [(("group",), "spec.group"), (("names", "plural"), "spec.names.plural")]
        if is_established(old):
            fixed = [(("scope",), "spec.scope"), (("names", "kind"), "spec.names.kind"), *fixed]
        for words, path in fixed:
            now, before = _dig(spec, words), _dig(was, words)
            if now != before:
                errors.append(invalid(path, now, "field is immutable"))
        errors += _check_stored(new.get("status") or {}, spec)
        errors += _check_approval(new, old)
        return errors + _check_preserve(spec, was)

    def columns(self) -> tuple[Column, ...]:
        """Name and age."""
        return (
            Column("Name", "string", "name", "Name must be unique within a namespace."),
            Column("Created At", "date", "", "When the definition was created."),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        """One row of a table."""
        return [obj["metadata"].get("name", ""), obj["metadata"].get("creationTimestamp")]


def _dig(obj: Object, words: tuple[str, ...]) -> Any:
    value: Any = obj
    for word in words:
        value = (value or {}).get(word)
    return value


def _remember_stored(spec: Object, status: Object) -> None:
    for version in spec.get("versions") or ():
        if version.get("storage"):
            stored = status.get("storedVersions") or []
            if version.get("name") not in stored:
                status["storedVersions"] = [*stored, version.get("name")]
            return


def _internal(spec: Object) -> Object:
    """The spec with what all versions share moved to the top."""
    versions = [dict(version) for version in spec.get("versions") or ()]
    out: Object = {**spec, "versions": versions}
    out["version"] = versions[0].get("name", "") if versions else ""
    for field, _, top in _HOISTED:
        values = [version.get(field) for version in versions]
        if values and all(value == values[0] for value in values):
            out[top] = values[0]
            for version in versions:
                version.pop(field, None)
    return out


def check_spec(published: Object, before: Object | None = None) -> Errors:
    """The rules of `spec`. `before`: the one that it replaces; schemas that it had are not judged by cost."""
    spec = _internal(published)
    versions = spec["versions"]
    errors = _check_group(spec.get("group", ""))
    scope = spec.get("scope", "")
    if not scope:
        errors.append(required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        errors.append(not_supported("spec.scope", scope, ("Cluster", "Namespaced")))
    if _schema_of(spec.get("validation")) is None:
        for i, version in enumerate(versions):
            if _schema_of(version.get("schema")) is None:
                errors.append(required(f"spec.versions[{i}].schema.openAPIV3Schema"))
    if spec.get("preserveUnknownFields") and any(
        _has_default(schema)
        for schema in (_schema_of(holder) for holder in (spec.get("validation"), *(v.get("schema") for v in versions)))
    ):
        errors.append(invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema"))
    known = _known_schemas(published, before)
    errors += _check_versions(spec, versions, known)
    errors += _check_names(spec.get("names") or {})
    has_status = bool((spec.get("subresources") or {}).get("status") is not None) or any(
        (version.get("subresources") or {}).get("status") is not None for version in versions
    )
    errors += check_schema(spec.get("validation"), "spec.validation", has_status, spec["version"] in known)
    errors += _check_subresources(spec.get("subresources"), "spec.subresources")
    for i, column in enumerate(spec.get("additionalPrinterColumns") or ()):
        errors += _check_column(column, f"spec.additionalPrinterColumns[{i}]")
    if spec.get("selectableFields"):
        if spec.get("validation") is None:
            words = "may only be set when validations.schema is included"
            errors.append(invalid("spec.selectableFields", "", words))
        else:
            errors += _check_selectable(spec["selectableFields"], spec["validation"], "spec")
    conversion = spec.get("conversion")
    if conversion is not None and conversion.get("strategy", "") != "None" and spec.get("preserveUnknownFields"):
        words = "must be None if spec.preserveUnknownFields is true"
        errors.append(invalid("spec.conversion.strategy", conversion.get("strategy", ""), words))
    return errors + _check_conversion(conversion)


def _schema_of(validation: Object | None) -> Object | None:
    return (validation or {}).get("openAPIV3Schema")


def _has_default(schema: Object | None) -> bool:
    if schema is None:
        return False
    if schema.get("default") is not None:
        return True
    return any(_has_default(sub) for sub, *_ in parts(schema, "", Surroundings()))


def _check_group(group: str) -> Errors:
    if not group:
        return [required("spec.group")]
    problems = dns1123_subdomain(group)
    if problems:
        return [invalid("spec.group", group, ",".join(problems))]
    if "." not in group:
        return [invalid("spec.group", group, "should be a domain with at least one dot")]
    return []


def _known_schemas(spec: Object, before: Object | None) -> set[str]:
    """The versions whose schemas did not change."""
    was = {version.get("name"): version.get("schema") for version in (before or {}).get("versions") or ()}
    return {
        version["name"]
        for version in spec.get("versions") or ()
        if version.get("name") in was and was[version["name"]] == version.get("schema")
    }


def _check_versions(spec: Object, versions: list[Object], known: set[str]) -> Errors:
    errors: Errors = []
    own_subresources = any(version.get("subresources") is not None for version in versions)
    for i, version in enumerate(versions):
        path = f"spec.versions[{i}]"
        problems = dns1035_label(version.get("name", ""))
        if problems:
            errors.append(invalid(f"{path}.name", version.get("name", ""), ",".join(problems)))
        for problem in _deprecation_problems(version):
            errors.append(invalid(f"{path}.deprecationWarning", version.get("deprecationWarning"), problem))
        subresources = (version.get("subresources") if own_subresources else spec.get("subresources")) or {}
        errors += check_schema(version.get("schema"), f"{path}.schema", subresources.get("status") is not None,
                               version.get("name") in known)
        errors += _check_subresources(version.get("subresources"), f"{path}.subresources")
        for j, column in enumerate(version.get("additionalPrinterColumns") or ()):
            errors += _check_column(column, f"{path}.additionalPrinterColumns[{j}]")
        if version.get("selectableFields"):
            if _schema_of(version.get("schema")) is None:
                words = "may only be set when `version.schema.openAPIV3Schema` is not included"
                errors.append(invalid(f"{path}.selectableFields", "", words))
            else:
                errors += _check_selectable(version["selectableFields"], version["schema"], path)
    names = [version.get("name") for version in versions]
    if len(set(names)) != len(names):
        errors.append(invalid("spec.versions", shown_versions(versions), "must contain unique version names"))
    if sum(1 for version in versions if version.get("storage")) != 1:
        errors.append(
            invalid("spec.versions", shown_versions(versions), "must have exactly one version marked as storage version")
        )
    if spec["version"]:
        problems = dns1035_label(spec["version"])
        if problems:
            errors.append(invalid("spec.version", spec["version"], ",".join(problems)))
    return errors


def _deprecation_problems(version: Object) -> list[str]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return []
    if not version.get("deprecated"):
        return ["can only be set for deprecated versions"]
    problems = []
    if len(warning.encode()) > 256:
        problems.append("must be <= 256 characters long")
    if not warning:
        problems.append("must not be an empty string")
    for i, char in enumerate(warning):
        if not char.isprintable():
            problems.append(
                f"must only contain printable UTF-8 characters; non-printable character found at index {i}"
            )
            break
    return problems


def _check_names(names: Object) -> Errors:
    errors = [required(f"spec.names.{field}") for field in ("plural", "singular", "kind", "listKind") if not names.get(field)]
    for field in ("plural", "singular"):
        value = names.get(field, "")
        problems = dns1035_label(value) if value else ()
        if problems:
            errors.append(invalid(f"spec.names.{field}", value, ",".join(problems)))
    for field in ("kind", "listKind"):
        value = names.get(field, "")
        problems = dns1035_label(value.lower()) if value else ()
        if problems:
            detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
            errors.append(invalid(f"spec.names.{field}", value, detail))
    for i, value in enumerate(names.get("shortNames") or ()):
        problems = dns1035_label(value)
        if problems:
            errors.append(invalid(f"spec.names.shortNames[{i}]", value, ",".join(problems)))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        errors.append(invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same"))
    for i, value in enumerate(names.get("categories") or ()):
        problems = dns1035_label(value)
        if problems:
            errors.append(invalid(f"spec.names.categories[{i}]", value, ",".join(problems)))
    return errors


def _check_subresources(subresources: Object | None, path: str) -> Errors:
    scale = (subresources or {}).get("scale")
    if scale is None:
        return []
    errors: Errors = []
    for field, roots, words in (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
        ("labelSelectorPath", (".spec.", ".status."), "should be a json path under either .spec or .status"),
    ):
        value = scale.get(field) or ""
        where = f"{path}.scale.{field}"
        if not value:
            if field != "labelSelectorPath":
                errors.append(required(where))
            continue
        problem = _simple_path(value, where)
        if problem:
            errors += problem
        elif not value.startswith(roots):
            errors.append(invalid(where, value, words))
    return errors


def _simple_path(value: str, where: str) -> Errors:
    if not value:
        return [invalid(where, value, "must not be empty")]
    return [] if value[0] == "." else [invalid(where, value, "must be a simple json path starting with .")]


def _check_column(column: Object, path: str) -> Errors:
    errors: Errors = []
    types = "must be one of " + ",".join(_COLUMN_TYPES)
    if not column.get("name"):
        errors.append(required(f"{path}.name"))
    if not column.get("type"):
        errors.append(required(f"{path}.type", types))
    elif column["type"] not in _COLUMN_TYPES:
        errors.append(invalid(f"{path}.type", column["type"], types))
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        errors.append(invalid(f"{path}.format", column["format"], "must be one of " + ",".join(_COLUMN_FORMATS)))
    if not column.get("jsonPath"):
        errors.append(required(f"{path}.JSONPath"))
    else:
        errors += _simple_path(column["jsonPath"], f"{path}.JSONPath")
    return errors


def _check_selectable(fields: list[Object], validation: Object | None, holder: str) -> Errors:
    errors: Errors = []
    path, schema = f"{holder}.selectableFields", _schema_of(validation)
    problem = "" if schema is None else why_not_built(schema)
    if schema is None or problem:
        schema = {}
    if problem:
        errors.append(invalid(f"{holder}.schema.openAPIV3Schema", "", problem))
    seen: set[str] = set()
    for i, entry in enumerate(fields):
        where, value = f"{path}[{i}].jsonPath", entry.get("jsonPath", "")
        if not value:
            errors.append(required(where))
            continue
        try:
            shown, found = find_path(value, schema, indexes=False)
        except PathProblem as error:
            errors.append(invalid(where, value, f"is an invalid path: {error}"))
            continue
        if shown.partition(".")[0] == "metadata":
            errors.append(invalid(where, value, "must not point to fields in metadata"))
        if found.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats"
                " are allowed."
            )
            errors.append(invalid(where, value, detail))
        if shown in seen:
            errors.append(duplicate(where, value))
        seen.add(shown)
    if len(seen) > MOST_SELECTABLE:
        errors.append(too_many(path, len(seen), MOST_SELECTABLE))
    return errors


def _check_conversion(conversion: Object | None) -> Errors:
    if conversion is None:
        return []
    path = "spec.conversion"
    strategy = conversion.get("strategy", "")
    errors: Errors = []
    if not strategy:
        errors.append(required(f"{path}.strategy"))
    elif strategy not in ("None", "Webhook"):
        errors.append(not_supported(f"{path}.strategy", strategy, ("None", "Webhook")))
    webhook = conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        words = "should not be set when strategy is not set to Webhook"
        if config is not None:
            errors.append(forbidden(f"{path}.webhookClientConfig", words))
        if versions:
            errors.append(forbidden(f"{path}.conversionReviewVersions", words))
        return errors
    if config is None:
        errors.append(required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook"))
    elif (config.get("url") is None) == (config.get("service") is None):
        errors.append(required(f"{path}.webhookClientConfig", "exactly one of url or service is required"))
    elif config.get("url") is not None:
        errors += check_url(config["url"], f"{path}.webhookClientConfig.url")
    else:
        # upstream takes the name for the namespace here, and the reverse
        service = {**config["service"], "name": config["service"].get("namespace"), "namespace": config["service"].get("name")}
        errors += check_service(service, f"{path}.webhookClientConfig.service")
    return errors + _check_review_versions(versions, f"{path}.conversionReviewVersions")


def _check_review_versions(versions: list[str], path: str) -> Errors:
    if not versions:
        return [required(path)]
    errors: Errors = []
    seen: set[str] = set()
    for i, version in enumerate(versions):
        if version in seen:
            errors.append(invalid(f"{path}[{i}]", version, "duplicate version"))
        else:
            seen.add(version)
            errors += [invalid(f"{path}[{i}]", version, words) for words in dns1035_label(version)]
    if not {"v1", "v1beta1"} & seen:
        errors.append(invalid(path, versions, "must include at least one of v1, v1beta1"))
    return errors


def _check_stored(status: Object, spec: Object) -> Errors:
    path = "status.storedVersions"
    stored = status.get("storedVersions") or []
    if not stored:
        return [invalid(path, None, "must have at least one stored version")]
    errors: Errors = []
    left = {name: i for i, name in enumerate(stored)}
    for version in spec.get("versions") or ():
        name = version.get("name")
        if version.get("storage") and name not in left:
            errors.append(invalid(path, stored, f"must have the storage version {name}"))
        left.pop(name, None)
    for name, i in left.items():
        detail = (
            f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a"
            f" storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        )
        errors.append(invalid(f"{path}[{i}]", name, detail))
    return errors


def _approval(obj: Object) -> tuple[str, str]:
    """Whether a protected group's definition is approved, and what to say when not."""
    value = (obj["metadata"].get("annotations") or {}).get(APPROVED, "")
    if not value:
        see = "see https://github.com/kubernetes/enhancements/pull/1111"
        return "missing", f'protected groups must have approval annotation "{APPROVED}", {see}'
    if value.startswith("unapproved"):
        return "bypassed", ""
    if value.startswith(("http://", "https://")):
        return "approved", ""
    return "invalid", f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with "unapproved", see https://github.com/kubernetes/enhancements/pull/1111'


def _check_approval(obj: Object, old: Object | None) -> Errors:
    group = obj["spec"].get("group", "")
    if not (group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))):
        return []
    state, reason = _approval(obj)
    if old is not None and _approval(old)[0] == state:
        return []
    path = f"metadata.annotations[{APPROVED}]"
    if state == "missing":
        return [required(path, reason)]
    if state == "invalid":
        return [invalid(path, obj["metadata"]["annotations"][APPROVED], reason)]
    return []


def _check_preserve(spec: Object, old: Object | None) -> Errors:
    if (old or {}).get("preserveUnknownFields") or not spec.get("preserveUnknownFields"):
        return []
    detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [invalid("spec.preserveUnknownFields", True, detail)]
