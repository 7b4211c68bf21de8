"""What the kubelet says, as the CRI's protobuf messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.runtime._cri_client import message
from actors.runtime._oci_spec import MASKED, READONLY
from protocol import cri

__all__ = ["NODE", "container_config", "resources_config", "sandbox_config"]

NODE = "kubekka.dev/node"
POD, CONTAINER, NODE_WIDE = 0, 1, 2
"""NamespaceMode."""
SECCOMP = {"RuntimeDefault": 0, "": 1, "Unconfined": 1}
LOCALHOST = 2
PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
PROPAGATION = {"": 0, "None": 0, "HostToContainer": 1, "Bidirectional": 2}


def _namespaces(pod: cri.PodSandboxConfig) -> Any:
    return message("NamespaceOption")(
        network=NODE_WIDE if pod.host_network else POD,
        pid=NODE_WIDE if pod.host_pid else POD if pod.shared_pid else CONTAINER,
        ipc=NODE_WIDE if pod.host_ipc else POD,
    )


def sandbox_config(pod: cri.PodSandboxConfig, node: str, log_directory: str) -> Any:
    """`PodSandboxConfig`."""
    labels = {
        **dict(pod.labels),
        NODE: node,
        "io.kubernetes.pod.name": pod.name,
        "io.kubernetes.pod.namespace": pod.namespace,
        "io.kubernetes.pod.uid": pod.uid,
    }
    ports = [
        message("PortMapping")(protocol=PROTOCOLS.get(p, 0), container_port=inside, host_port=host, host_ip=ip)
        for p, inside, host, ip in pod.port_mappings
    ]
    return message("PodSandboxConfig")(
        metadata=message("PodSandboxMetadata")(
            name=pod.name, uid=pod.uid, namespace=pod.namespace, attempt=pod.attempt
        ),
        hostname="" if pod.host_network else pod.hostname or pod.name,
        log_directory=log_directory,
        dns_config=message("DNSConfig")(servers=pod.dns_servers, searches=pod.dns_searches, options=pod.dns_options),
        port_mappings=ports,
        labels=labels,
        annotations=dict(pod.annotations),
        linux=message("LinuxPodSandboxConfig")(
            cgroup_parent=pod.cgroup_parent,
            sysctls=dict(pod.sysctls),
            security_context=message("LinuxSandboxSecurityContext")(
                namespace_options=_namespaces(pod), seccomp=message("SecurityProfile")(profile_type=0)
            ),
        ),
    )


def resources_config(resources: cri.ContainerResources, oom_score: int) -> Any:
    """`LinuxContainerResources`."""
    return message("LinuxContainerResources")(
        cpu_period=resources.cpu_period_us or 0,
        cpu_quota=resources.cpu_quota_us or 0,
        cpu_shares=resources.cpu_shares or 2,
        memory_limit_in_bytes=resources.memory_limit_bytes or 0,
        oom_score_adj=oom_score,
        hugepage_limits=[message("HugepageLimit")(page_size=s, limit=n) for s, n in resources.hugepage_limits.items()],
        unified=dict(resources.unified),
    )


def _security(pod: cri.PodSandboxConfig, config: cri.ContainerConfig) -> Any:
    security = config.security
    kind = LOCALHOST if security.seccomp.startswith("Localhost/") else SECCOMP.get(security.seccomp, 1)
    fields: dict[str, Any] = {}
    if config.run_as_user is not None:
        fields["run_as_user"] = message("Int64Value")(value=config.run_as_user)
    if security.run_as_group is not None:
        fields["run_as_group"] = message("Int64Value")(value=security.run_as_group)
    open_up = config.privileged or security.unmasked
    return message("LinuxContainerSecurityContext")(
        capabilities=message("Capability")(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=config.privileged,
        namespace_options=_namespaces(pod),
        readonly_rootfs=config.readonly_rootfs,
        supplemental_groups=security.supplemental_groups,
        no_new_privs=security.no_new_privs,
        masked_paths=[] if open_up else MASKED,
        readonly_paths=[] if open_up else READONLY,
        seccomp=message("SecurityProfile")(
            profile_type=kind, localhost_ref=f"/{security.seccomp.partition('/')[2]}" if kind == LOCALHOST else ""
        ),
        **fields,
    )


def container_config(
    pod: cri.PodSandboxConfig,
    config: cri.ContainerConfig,
    mounts: list[Any],
    labels: Mapping[str, str],
    oom_score: int,
) -> Any:
    """`ContainerConfig`; `mounts` as `Mount` messages."""
    return message("ContainerConfig")(
        metadata=message("ContainerMetadata")(name=config.name, attempt=config.attempt),
        image=message("ImageSpec")(image=config.image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[message("KeyValue")(key=k, value=v.encode()) for k, v in config.envs],
        mounts=mounts,
        devices=[message("Device")(container_path=d, host_path=d, permissions="rwm") for d in config.security.devices],
        labels={**dict(config.labels), **labels},
        annotations=dict(config.annotations),
        log_path=config.log_path or f"{config.name}/{config.attempt}.log",
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=message("LinuxContainerConfig")(
            resources=resources_config(config.resources, oom_score), security_context=_security(pod, config)
        ),
    )
