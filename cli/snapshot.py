"""`kubekka snapshot`: every object of a running cluster, read only, as a file that `up --import` takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from actors.client import Client, OutsideClient
from cli._errors import UsageError
from cli._moments import as_yaml
from cli._remote import remote_client
from cli._state import add_kubeconfig_option, find_kubeconfig
from protocol.api import Resource, StatusError
from protocol.kinds import FIRST_MINOR, LAST_MINOR, served

Object = dict[str, Any]
SECRET = "Secret"


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `snapshot`."""
    add_kubeconfig_option(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write it (stdout); JSON if its name ends so"
    )
    parser.add_argument(
        "--with-secrets", action="store_true", help="keep the values of Secrets (otherwise they are emptied)"
    )


def run(options: argparse.Namespace) -> int:
    """List every kind that the server serves and write one List."""
    with remote_client(find_kubeconfig(options)) as client:
        objects = _everything(client)
    if not options.with_secrets:
        objects = [_without_values(obj) if obj["kind"] == SECRET else obj for obj in objects]
    whole = {"apiVersion": "v1", "kind": "List", "items": objects}
    as_json = options.output is not None and options.output.suffix == ".json"
    text = orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode() + "\n" if as_json else as_yaml(whole)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        options.output.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror or error}") from None
    print(f"{len(objects)} objects in {options.output}", file=sys.stderr)
    return 0


def _everything(client: OutsideClient) -> list[Object]:
    """The objects of all built-in and custom kinds; what the server does not serve has none."""
    objects: list[Object] = []
    for resource, kind in _resources(client):
        try:
            found = client.run(partial(_pages, resource), timeout_s=600.0)
        except StatusError as error:
            if error.code in (404, 405):  # an older or newer server, or a kind that is not listed
                continue
            raise
        objects += [{"apiVersion": resource.api_version, "kind": kind, **obj} for obj in found]
    return objects


async def _pages(resource: Resource, client: Client) -> list[Object]:
    return [obj async for obj in client.pages(resource)]


def _resources(client: OutsideClient) -> Iterator[tuple[Resource, str]]:
    """Every stored resource once, definitions before their objects."""
    seen = set()
    for minor in range(LAST_MINOR, FIRST_MINOR - 1, -1):
        for kind in served(minor):
            if kind.stored and kind.store not in seen and kind.group == kind.storage_group and "list" in kind.verbs:
                seen.add(kind.store)
                yield Resource(kind.group, kind.version, kind.resource), kind.kind
    for definition in client.list("customresourcedefinitions"):
        spec = definition["spec"]
        version = next(v["name"] for v in spec["versions"] if v["storage"])
        if any(v["name"] == version and v["served"] for v in spec["versions"]):
            yield Resource(spec["group"], version, spec["names"]["plural"]), spec["names"]["kind"]


def _without_values(secret: Object) -> Object:
    return {**secret, "data": dict.fromkeys(secret.get("data") or (), "")}
