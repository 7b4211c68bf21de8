"""`kubekka chaos VERB`: break a running cluster, over the path that it offers to its administrator."""

from __future__ import annotations

import argparse
import http.client
from pathlib import Path
from typing import Any

import orjson

from cli._errors import Failed, UsageError
from cli._state import add_kubeconfig_option, find_kubeconfig

PATH = "/kubekka/chaos"
INTERMIXED = True  # options may stand between what a fault takes


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `chaos`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    from simulation import VERBS

    lines = []
    for name, known in VERBS.items():
        takes = [f"{key}={'...' if default is None else default}" for key, (_, default) in known.parameters.items()]
        lines.append(f"  {name} {' '.join(takes)}\n      {known.about}")
    parser.epilog = "faults:\n" + "\n".join(lines) + "\n\nothers:\n  list\n  stop [NUMBER]    end one, or all"
    add_kubeconfig_option(parser)
    parser.add_argument("fault", metavar="FAULT", help="one of those below, or list, or stop")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="what it takes; the first may be a value alone")
    parser.add_argument("--for", dest="length", default=None, metavar="DURATION", help="how long (until stopped)")


def run(options: argparse.Namespace) -> int:
    """Send one request and print what came of it."""
    kubeconfig = find_kubeconfig(options)
    if options.fault == "list":
        for fault in _request(kubeconfig, "GET", PATH)["faults"]:
            print(_line(fault))
        return 0
    if options.fault == "stop":
        number = f"/{_number(options.parameters[0])}" if options.parameters else ""
        ended = _request(kubeconfig, "DELETE", PATH + number)["ended"]
        print("ended: " + (", ".join(map(str, ended)) or "none"))
        return 0
    print(_line(_request(kubeconfig, "POST", PATH, _fault(options))))
    return 0


def _fault(options: argparse.Namespace) -> dict[str, Any]:
    from simulation import VERBS, FaultError, read_duration
    from simulation._faults import checked

    names = list(VERBS[options.fault].parameters) if options.fault in VERBS else []
    given: dict[str, Any] = {}
    for index, word in enumerate(options.parameters):
        name, equals, value = word.partition("=")
        if not equals and index < len(names):
            name, value = names[index], word
        given[name] = value
    try:
        checked(options.fault, given)
        if options.length is not None:
            read_duration(options.length)
    except FaultError as error:
        raise UsageError(str(error)) from None
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    return {"verb": options.fault, **given, **({"for": options.length} if options.length is not None else {})}


def _number(text: str) -> str:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is no number of a fault; `chaos list` shows them")
    return text


def _line(fault: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in fault.items())


def _request(kubeconfig: Path, method: str, path: str, body: Any = None) -> Any:
    """One HTTPS exchange as the administrator. Raises: UsageError, Failed."""
    from actors.client import load_kubeconfig

    try:
        config = load_kubeconfig(kubeconfig)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if config.tls is None:
        connection = http.client.HTTPConnection(config.host, config.port, timeout=65)
    else:
        connection = http.client.HTTPSConnection(config.host, config.port, timeout=65, context=config.tls)
    headers = {"Content-Type": "application/json"}
    if config.authorization:
        headers["Authorization"] = config.authorization
    try:
        connection.request(method, config.prefix + path, orjson.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        answer = response.read()
    except OSError as error:
        raise Failed(f"no cluster answers at {config.host}:{config.port}: {error}") from None
    finally:
        connection.close()
    if response.status == 404 and b"page not found" in answer:
        raise Failed("that API server offers no chaos: it is not run by `kubekka up`")
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        found = {"message": answer.decode(errors="replace")[:200]}
    if response.status >= 400:
        raise Failed(found.get("message") or f"HTTP {response.status}")
    return found
