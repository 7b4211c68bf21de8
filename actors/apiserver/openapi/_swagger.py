"""Path items of OpenAPI v3 in the dialect of v2 (Swagger)."""

from __future__ import annotations

from typing import Any

__all__ = ["v2_path"]

Node = dict[str, Any]


def _ref(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: value.replace("#/components/schemas/", "#/definitions/") if key == "$ref" else _ref(value)
            for key, value in node.items()
        }
    return [_ref(item) for item in node] if isinstance(node, list) else node


def _parameter(parameter: Node) -> Node:
    out = {key: value for key, value in parameter.items() if key != "schema"}
    out.update(parameter["schema"])
    return out


def _operation(operation: Node) -> Node:
    out: Node = {key: operation[key] for key in ("description", "tags", "operationId")}
    out["consumes"] = ["*/*"]
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body is not None:
        content = body["content"]
        schema = next(iter(content.values()))["schema"]
        if "*/*" not in content:
            out["consumes"] = list(content)
        entry: Node = {"name": "body", "in": "body", "schema": _ref(schema)}
        if body.get("required"):
            entry["required"] = True
        parameters.insert(0, entry)
    produces: list[str] = []
    responses: Node = {}
    for code, response in operation["responses"].items():
        responses[code] = {"description": response["description"]}
        for media, content in response.get("content", {}).items():
            responses[code]["schema"] = _ref(content["schema"])
            if media not in produces:
                produces.append(media)
    out["produces"] = produces
    out["schemes"] = ["https"]
    if parameters:
        out["parameters"] = parameters
    out["responses"] = responses
    for key in ("x-kubernetes-action", "x-kubernetes-group-version-kind"):
        if key in operation:
            out[key] = operation[key]
    return out


def v2_path(item: Node) -> Node:
    """One path item."""
    out: Node = {}
    for key, value in item.items():
        out[key] = [_parameter(parameter) for parameter in value] if key == "parameters" else _operation(value)
    return out
