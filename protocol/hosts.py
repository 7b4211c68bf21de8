"""The /etc/hosts that a kubelet writes for a pod, and the names by which the pod knows itself.

Pure; upstream's `pkg/kubelet/kubelet_pods.go`.
https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["MAX_HOSTNAME", "hosts_file", "pod_hostname"]

Aliases = Sequence[tuple[str, tuple[str, ...]]]
"""(IP, host names) of the pod's hostAliases."""
MAX_HOSTNAME = 64
"""What Linux takes for a host name, in characters."""
_MAX_LABEL = 63
_HEAD = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
)


def pod_hostname(pod: dict[str, Any], cluster_domain: str) -> tuple[str, str]:
    """(what `hostname` prints, the name with its domain or nothing). The first is longer than `MAX_HOSTNAME`
    where such a pod cannot be started."""
    spec, meta = pod["spec"], pod["metadata"]
    override = spec.get("hostnameOverride")
    if override:
        return override, ""
    name = spec.get("hostname") or meta["name"]
    if len(name) > _MAX_LABEL:
        name = name[:_MAX_LABEL].rstrip("-.")
    if not spec.get("subdomain"):
        return name, ""
    full = f"{name}.{spec['subdomain']}.{meta.get('namespace', '')}.svc.{cluster_domain}"
    return (full if spec.get("setHostnameAsFQDN") else name), full


def hosts_file(ips: Iterable[str], name: str, full_name: str, aliases: Aliases, node: str | None = None) -> str:
    """The file; `full_name` is the name with its domain, if it has one, `node` the machine's own file, for a
    pod in the node's network."""
    if node is not None:
        text = f"# Kubernetes-managed hosts file (host network).\n{node}"
    else:
        shown = f"{full_name}\t{name}" if full_name else name
        lines = ["# Kubernetes-managed hosts file.", *_HEAD, *(f"{ip}\t{shown}" for ip in ips)]
        text = "\n".join(lines) + "\n"
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{ip}\t" + "\t".join(names) + "\n" for ip, names in aliases)
    return text
