"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386) on JSON values.

Follows the library that upstream uses (evanphx/json-patch v4) where it differs from the RFCs:
`replace` and `test` accept a missing member, negative indices count from the end. Both functions
change the document that they are given. Owns no HTTP errors.
"""

from __future__ import annotations

from typing import Any

__all__ = ["PatchProblem", "apply_operations", "merge"]

MAX_COPIED_BYTES = 3 * 1024 * 1024


class PatchProblem(Exception):
    """The patch does not apply; the text says why."""


_MISSING = object()


def apply_operations(document: Any, operations: list[Any]) -> Any:
    """The document after all operations. Raises `PatchProblem` at the first that does not apply."""
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchProblem("Unexpected kind: unknown")
        kind = operation.get("op")
        act = _OPERATIONS.get(kind) if isinstance(kind, str) else None
        if act is None:
            raise PatchProblem(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
        document = act(document, operation)
    return document


def _path(operation: dict[str, Any], field: str = "path") -> str:
    path = operation.get(field)
    if not isinstance(path, str):
        raise PatchProblem(f"operation missing {field} field: missing value")
    return path


def _find(document: Any, path: str, what: str) -> tuple[Any, str]:
    """The container that holds the path's last word, and that word."""
    words = path.split("/")
    if len(words) < 2:
        raise PatchProblem(f'{what} operation does not apply: doc is missing path: "{path}": missing value')
    container = document
    for word in words[1:-1]:
        container = _get(container, _decode(word), path, what)
        if not isinstance(container, (dict, list)):
            raise PatchProblem(f'{what} operation does not apply: doc is missing path: "{path}": missing value')
    if not isinstance(container, (dict, list)):
        raise PatchProblem(f'{what} operation does not apply: doc is missing path: "{path}": missing value')
    return container, _decode(words[-1])


def _decode(word: str) -> str:
    return word.replace("~1", "/").replace("~0", "~") if "~" in word else word


def _index(items: list[Any], word: str, path: str, what: str, limit: int) -> int:
    try:
        index = int(word)
    except ValueError:
        raise PatchProblem(f"error in {what} for path: '{path}': value was not a proper array index: '{word}'") from None
    if index < 0:
        index += limit if what == "add" else len(items)
        if index < 0:
            raise PatchProblem(f"error in {what} for path: '{path}': Unable to access invalid index: {word}")
    if index >= limit:
        raise PatchProblem(f"error in {what} for path: '{path}': Unable to access invalid index: {index}")
    return index


def _get(container: Any, word: str, path: str, what: str) -> Any:
    if isinstance(container, dict):
        return container.get(word, _MISSING)
    return container[_index(container, word, path, what, len(container))]


def _insert(container: Any, word: str, value: Any, path: str) -> None:
    if isinstance(container, dict):
        container[word] = value
    elif word == "-":
        container.append(value)
    else:
        container.insert(_index(container, word, path, "add", len(container) + 1), value)


def _take(container: Any, word: str, path: str, what: str) -> Any:
    if isinstance(container, dict):
        if word not in container:
            raise PatchProblem(f"error in {what} for path: '{path}': Unable to remove nonexistent key: {word}: missing value")
        return container.pop(word)
    return container.pop(_index(container, word, path, what, len(container)))


def _add(document: Any, operation: dict[str, Any]) -> Any:
    path = _path(operation)
    container, word = _find(document, path, "add")
    _insert(container, word, _copy(operation.get("value")), path)
    return document


def _remove(document: Any, operation: dict[str, Any]) -> Any:
    path = _path(operation)
    container, word = _find(document, path, "remove")
    _take(container, word, path, "remove")
    return document


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    path = _path(operation)
    value = _copy(operation.get("value"))
    if path == "":
        if not isinstance(value, (dict, list)):
            raise PatchProblem("replace operation value must be object or array")
        return value
    container, word = _find(document, path, "replace")
    if isinstance(container, dict):
        container[word] = value
    else:
        container[_index(container, word, path, "replace", len(container))] = value
    return document


def _move(document: Any, operation: dict[str, Any]) -> Any:
    source = _path(operation, "from")
    container, word = _find(document, source, "move")
    value = _take(container, word, source, "move")
    path = _path(operation)
    container, word = _find(document, path, "move")
    _insert(container, word, value, path)
    return document


def _copy_operation(document: Any, operation: dict[str, Any]) -> Any:
    source = _path(operation, "from")
    container, word = _find(document, source, "copy")
    value = _get(container, word, source, "copy")
    path = _path(operation)
    container, word = _find(document, path, "copy")
    _insert(container, word, None if value is _MISSING else _copy(value), path)
    return document


def _test(document: Any, operation: dict[str, Any]) -> Any:
    path = _path(operation)
    expected = operation.get("value")
    if path == "":
        found = document
    else:
        container, word = _find(document, path, "test")
        found = _get(container, word, path, "test")
    if found is _MISSING:
        found = None
    if not _equal(found, expected):
        raise PatchProblem(f"testing value {path} failed: test failed")
    return document


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


_OPERATIONS = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "test": _test,
    "copy": _copy_operation,
}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def merge(document: Any, patch: Any) -> Any:
    """The document after a merge patch: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return _copy(patch)
    if not isinstance(document, dict):
        return _pruned(patch)
    for key, value in patch.items():
        if value is None:
            document.pop(key, None)
            continue
        current = document.get(key)
        document[key] = _pruned(value) if current is None else merge(current, value)
    return document


def _pruned(value: Any) -> Any:
    """A value without the nulls of its objects: there is nothing they could remove."""
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value
