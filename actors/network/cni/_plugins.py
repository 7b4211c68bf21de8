"""Plugins: programs that make a pod's network, as the CNI specification has them.

Owns the protocol with them: which variables and what JSON a plugin is given, in what order they run,
what of a result is kept for later verbs. It knows no interface. Everything here blocks; a plugin's own
error becomes a CniError. Facts: CNI specification 1.1.0, sections 2 to 5; libcni's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.network.cni._config import NetworkConfig
from actors.network.cni._run import run
from protocol.cni import CODES, AddPod, CheckPod, CniError, DelPod, PodNetwork, PortMapping

__all__ = ["PluginNetwork"]

Verb = AddPod | DelPod | CheckPod


class PluginNetwork:
    """One network configuration. `path`: folders with plugins. `netns`: the node's namespace, in which
    plugins run. `cache`: where results are kept, so that a later process can take pods away."""

    def __init__(self, config: NetworkConfig, path: Sequence[Path], *, cache: Path, netns: str = "") -> None:
        self.config, self.path, self.cache, self.netns = config, tuple(path), cache, netns
        self.pod_cidr = ""

    def set_pod_cidr(self, cidr: str) -> None:
        """Plugins with the capability `ipRanges` are told of it."""
        self.pod_cidr = cidr

    # --- the verbs --------------------------------------------------------------------------------

    def add(self, message: AddPod) -> PodNetwork:
        """Run all plugins in order; each is given the result of the one before. If one fails, those
        that ran are asked to undo it."""
        cached = self._cached(message)
        if cached is not None:
            return PodNetwork(_addresses(cached), cached)
        result: dict[str, Any] | None = None
        try:
            for plugin in self.config.plugins:
                result = self._exec("ADD", plugin, message, result, message.port_mappings)
        except CniError:
            with contextlib.suppress(CniError):
                self._delete(message, None, message.port_mappings)
            raise
        assert result is not None
        addresses = _addresses(result)
        if not addresses:
            raise CniError(CODES["decoding failure"], f"network {self.config.name}: the result has no address")
        self.cache.mkdir(parents=True, exist_ok=True)
        kept = {"result": result, "portMappings": [_mapping(p) for p in message.port_mappings]}
        self._cache_file(message).write_text(json.dumps(kept))
        return PodNetwork(addresses, result)

    def delete(self, message: DelPod) -> None:
        """Run all plugins in reverse, with the result that ADD had."""
        self._delete(message, self._cached(message), message.port_mappings)
        self._cache_file(message).unlink(missing_ok=True)

    def _delete(self, message: AddPod | DelPod, result: Any, mappings: Sequence[PortMapping]) -> None:
        if not self.config.knows("CHECK"):
            result = None  # before 0.4.0 a plugin is not told of it
        for plugin in reversed(self.config.plugins):
            self._exec("DEL", plugin, message, result, mappings)

    def check(self, message: CheckPod) -> None:
        """Ask all plugins in order; a configuration may forbid it, or be too old for it."""
        if self.config.disable_check or not self.config.knows("CHECK"):
            return
        cached = self._cached(message)
        if cached is None:
            raise CniError(CODES["unknown container"], f"container {message.container_id} has no result of ADD")
        for plugin in self.config.plugins:
            self._exec("CHECK", plugin, message, cached, ())

    def status(self) -> str:
        """Why no pod can be attached now; empty if one can."""
        try:
            for plugin in self.config.plugins:
                self._find(plugin["type"])
                if self.config.knows("STATUS"):
                    self._exec("STATUS", plugin, None, None, ())
        except CniError as error:
            return str(error)
        return ""

    def collect(self, valid: tuple[tuple[str, str], ...]) -> None:
        """Take away what belongs to none of `valid`: by DEL for what the cache knows, then plugins that
        have the verb GC are told what is valid."""
        for container_id, ifname in self._cached_pods():
            if (container_id, ifname) not in valid:
                with contextlib.suppress(CniError):
                    self.delete(DelPod(container_id, ifname=ifname))
        if self.config.disable_gc or not self.config.knows("GC"):
            return
        attachments = [{"containerID": c, "ifname": i} for c, i in valid]
        for plugin in self.config.plugins:
            self._exec("GC", plugin, None, None, (), {"cni.dev/valid-attachments": attachments})

    def versions(self, plugin: str) -> list[str]:
        """What the program says it supports."""
        answer = self._program(plugin, {"CNI_COMMAND": "VERSION"}, {"cniVersion": self.config.version})
        return list((answer or {}).get("supportedVersions") or ())

    # --- one plugin -------------------------------------------------------------------------------

    def _exec(
        self,
        verb: str,
        plugin: Mapping[str, Any],
        message: Verb | None,
        result: Any,
        mappings: Sequence[PortMapping],
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        stdin = {k: v for k, v in plugin.items() if k != "capabilities"}
        stdin |= {"cniVersion": self.config.version, "name": self.config.name, **(extra or {})}
        runtime = self._runtime_config(plugin.get("capabilities") or {}, mappings)
        if runtime:
            stdin["runtimeConfig"] = runtime
        if result is not None:
            stdin["prevResult"] = result
        variables = {"CNI_COMMAND": verb}
        if message is not None:
            pod = {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": message.namespace, "K8S_POD_NAME": message.name}
            pod |= {"K8S_POD_INFRA_CONTAINER_ID": message.container_id, "K8S_POD_UID": message.uid}
            variables |= {
                "CNI_CONTAINERID": message.container_id,
                "CNI_NETNS": message.netns,
                "CNI_IFNAME": message.ifname,
                "CNI_ARGS": ";".join(f"{k}={v}" for k, v in pod.items()),
            }
        return self._program(plugin["type"], variables, stdin)

    def _runtime_config(self, capabilities: Mapping[str, Any], mappings: Sequence[PortMapping]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if capabilities.get("portMappings") and mappings:
            found["portMappings"] = [_mapping(p) for p in mappings]
        if capabilities.get("ipRanges") and self.pod_cidr:
            found["ipRanges"] = [[{"subnet": cidr}] for cidr in self.pod_cidr.split(",")]
        return found

    def _program(self, name: str, variables: Mapping[str, str], stdin: Any) -> dict[str, Any] | None:
        program = self._find(name)
        env = {**os.environ, **variables, "CNI_PATH": os.pathsep.join(map(str, self.path))}
        status, output, errors = run((str(program),), netns=self.netns, stdin=json.dumps(stdin), env=env)
        try:
            answer = json.loads(output) if output.strip() else None
        except ValueError as error:
            raise CniError(CODES["decoding failure"], f"plugin {name}: its answer is not JSON: {error}") from None
        if status:
            told = answer if isinstance(answer, dict) else {}
            text = str(told.get("msg") or errors.strip() or f"exit status {status}")
            raise CniError(int(told.get("code") or 100), f"plugin {name}: {text}", str(told.get("details") or ""))
        return answer

    def _find(self, name: str) -> Path:
        if "/" in name or name in ("", ".", ".."):
            raise CniError(CODES["invalid configuration"], f"{name!r} is no plugin's name")
        for folder in self.path:
            if os.access(folder / name, os.X_OK):
                return folder / name
        where = ", ".join(map(str, self.path))
        raise CniError(CODES["plugin not available"], f"failed to find plugin {name!r} in path [{where}]")

    # --- results ----------------------------------------------------------------------------------

    def _cache_file(self, message: Verb) -> Path:
        return self.cache / f"{self.config.name}-{message.container_id}-{message.ifname}"

    def _cached(self, message: Verb) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._cache_file(message).read_text())["result"])
        except (OSError, ValueError, KeyError):
            return None

    def _cached_pods(self) -> list[tuple[str, str]]:
        prefix = f"{self.config.name}-"
        names = sorted(p.name[len(prefix) :] for p in self.cache.glob(f"{prefix}*"))
        return [(c, i) for c, _, i in (name.rpartition("-") for name in names) if c]


def _mapping(mapping: PortMapping) -> dict[str, Any]:
    return {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol,
        "hostIP": mapping.host_ip,
    }


def _addresses(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The pod's own addresses: of interfaces in its sandbox, or all if the result does not tell."""
    interfaces = result.get("interfaces") or ()
    found = []
    for entry in (*(result.get("ips") or ()), *(result[k] for k in ("ip4", "ip6") if k in result)):
        at = entry.get("interface")
        if at is not None and at < len(interfaces) and not interfaces[at].get("sandbox"):
            continue
        address = entry.get("address") or entry.get("ip")
        if address:
            found.append(str(address).partition("/")[0])
    return tuple(found)
