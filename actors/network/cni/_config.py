"""Network configurations: which plugins make the pods' network.

Owns finding and reading of `*.conflist`, `*.conf` and `*.json` files. Must never run anything.
Facts: CNI specification 1.1.0, section 1; libcni's order of files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.cni import CODES, CniError

__all__ = ["SUPPORTED", "NetworkConfig", "find_config", "parse_config"]

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
EXTENSIONS = (".conf", ".conflist", ".json")


class NetworkConfig(msgspec.Struct, frozen=True):
    """A list of plugins, to be run in order. `version`: the newest that both sides know."""

    name: str
    version: str
    plugins: tuple[dict[str, Any], ...]
    disable_check: bool = False
    disable_gc: bool = False

    def knows(self, verb: str) -> bool:
        """Whether plugins of this version have a verb."""
        since = {"CHECK": "0.4.0", "STATUS": "1.1.0", "GC": "1.1.0"}.get(verb, "0.1.0")
        return SUPPORTED.index(self.version) >= SUPPORTED.index(since)


def find_config(folder: Path) -> NetworkConfig | None:
    """The first usable configuration of a folder, files in the order of their names; None if there is
    no file of the kind. Raises CniError when there are files, but none can be used."""
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in EXTENSIONS)
    except OSError:
        return None
    failure: CniError | None = None
    for file in files:
        try:
            return parse_config(file.read_text(), inlined_from=file.parent)
        except (CniError, OSError) as error:
            failure = failure or CniError(CODES["invalid configuration"], f"{file}: {error}")
    if failure is not None:
        raise failure
    return None


def parse_config(text: str, *, inlined_from: Path | None = None) -> NetworkConfig:
    """Read a list, or a single plugin's configuration, which is a list of one. Raises CniError."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise CniError(CODES["decoding failure"], f"not JSON: {error}") from None
    if not isinstance(raw, Mapping):
        raise _invalid("not an object")
    name = raw.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise _invalid("it has no name")
    plugins = raw.get("plugins", [raw] if "type" in raw else None)
    plugins = [*(plugins or ()), *_folder_plugins(raw, name, inlined_from)]
    if not plugins or not all(isinstance(p, Mapping) and isinstance(p.get("type"), str) for p in plugins):
        raise _invalid("plugins: each needs a type")
    return NetworkConfig(
        name=name,
        version=_version(raw),
        plugins=tuple(dict(p) for p in plugins),
        disable_check=_flag(raw, "disableCheck"),
        disable_gc=_flag(raw, "disableGC"),
    )


def _folder_plugins(raw: Mapping[str, Any], name: str, folder: Path | None) -> Iterable[dict[str, Any]]:
    """Since 1.1.0 more plugins may lie in a folder that has the network's name."""
    if folder is None or "plugins" not in raw or _flag(raw, "loadOnlyInlinedPlugins"):
        return
    for file in sorted((folder / name).glob("*.conf")):
        try:
            yield json.loads(file.read_text())
        except ValueError as error:
            raise CniError(CODES["decoding failure"], f"{file}: not JSON: {error}") from None


def _version(raw: Mapping[str, Any]) -> str:
    listed = [raw.get("cniVersion") or "0.1.0", *(raw.get("cniVersions") or ())]
    known = [v for v in listed if v in SUPPORTED]
    if not known:
        raise CniError(CODES["incompatible version"], f"none of the versions {', '.join(map(str, listed))} is known")
    return max(known, key=SUPPORTED.index)


def _flag(raw: Mapping[str, Any], field: str) -> bool:
    """A boolean; older configurations write it as text."""
    value = raw.get(field, False)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "t", "1", "false", "f", "0"):
        return value.lower() in ("true", "t", "1")
    raise _invalid(f"{field}: {value!r} is no boolean")


def _invalid(what: str) -> CniError:
    return CniError(CODES["invalid configuration"], f"the network configuration is invalid: {what}")
