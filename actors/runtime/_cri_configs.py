"""What the kubelet says, as the CRI's protobuf messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.runtime._cri_client import message
from actors.runtime._idmap import IDS_PER_POD
from actors.runtime._oci_spec import MASKED, READONLY
from actors.runtime._pod_mounts import HostMount
from protocol import cri

__all__ = ["NODE", "container_config", "mount_config", "resources_config", "sandbox_config"]

NODE = "kubekka.dev/node"
POD, CONTAINER, NODE_WIDE, TARGET = 0, 1, 2, 3
"""NamespaceMode."""
UNCONFINED = 1
PROFILES = {"RuntimeDefault": 0, "Unconfined": UNCONFINED, "Localhost": 2}
PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
PROPAGATION = {"": 0, "None": 0, "HostToContainer": 1, "Bidirectional": 2}


def _mapping(base: int) -> list[Any]:
    return [message("IDMapping")(host_id=base, container_id=0, length=IDS_PER_POD)] if base else []


def _namespaces(pod: cri.PodSandboxConfig, base: int, target: str = "") -> Any:
    fields: dict[str, Any] = {"target_id": target} if target else {}
    if base:
        fields["userns_options"] = message("UserNamespace")(mode=POD, uids=_mapping(base), gids=_mapping(base))
    own = TARGET if target else POD if pod.shared_pid else CONTAINER
    return message("NamespaceOption")(
        network=NODE_WIDE if pod.host_network else POD,
        pid=NODE_WIDE if pod.host_pid else own,
        ipc=NODE_WIDE if pod.host_ipc else POD,
        **fields,
    )


def mount_config(mount: HostMount, base: int) -> Any:
    """`Mount`; `base`: see `free_base`, 0 for none."""
    if mount.image:
        return message("Mount")(
            container_path=mount.target, readonly=True, image={"image": mount.image}, image_sub_path=mount.sub_path
        )
    return message("Mount")(
        container_path=mount.target,
        host_path=mount.source,
        readonly=mount.readonly,
        recursive_read_only=mount.recursive_readonly,
        propagation=PROPAGATION.get(mount.propagation, 0),
        uidMappings=_mapping(base),
        gidMappings=_mapping(base),
    )


def sandbox_config(pod: cri.PodSandboxConfig, node: str, log_directory: str, base: int) -> Any:
    """`PodSandboxConfig`; `base` is the pod's first user number, 0 where it has none of its own."""
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
                namespace_options=_namespaces(pod, base),
                privileged=pod.privileged,
                seccomp=message("SecurityProfile")(profile_type=0),
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


def _profile(text: str) -> Any:
    """`SecurityProfile` of `RuntimeDefault`, `Unconfined` or `Localhost/<name>`."""
    kind, _, name = text.partition("/")
    return message("SecurityProfile")(profile_type=PROFILES.get(kind, UNCONFINED), localhost_ref=name)


def _security(pod: cri.PodSandboxConfig, config: cri.ContainerConfig, base: int) -> Any:
    security = config.security
    kind, _, path = security.seccomp.partition("/")
    fields: dict[str, Any] = {}
    if config.run_as_user is not None:
        fields["run_as_user"] = message("Int64Value")(value=config.run_as_user)
    if security.run_as_group is not None:
        fields["run_as_group"] = message("Int64Value")(value=security.run_as_group)
    if security.apparmor:
        fields["apparmor"] = _profile(security.apparmor)
    open_up = config.privileged or security.unmasked
    return message("LinuxContainerSecurityContext")(
        capabilities=message("Capability")(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=config.privileged,
        namespace_options=_namespaces(pod, base, config.target_id),
        readonly_rootfs=config.readonly_rootfs,
        supplemental_groups=security.supplemental_groups,
        no_new_privs=security.no_new_privs,
        masked_paths=[] if open_up else MASKED,
        readonly_paths=[] if open_up else READONLY,
        seccomp=_profile(f"{kind}//{path}" if path else kind),
        supplemental_groups_policy=1 if security.strict_groups else 0,
        **fields,
    )


def container_config(
    pod: cri.PodSandboxConfig,
    config: cri.ContainerConfig,
    mounts: list[Any],
    labels: Mapping[str, str],
    oom_score: int,
    base: int,
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
        devices=[
            message("Device")(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions)
            for d in (*(cri.Device(p, p) for p in config.security.devices), *config.devices)
        ],
        labels={**dict(config.labels), **labels},
        annotations=dict(config.annotations),
        log_path=config.log_path or f"{config.name}/{config.attempt}.log",
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        stop_signal=f"SIGNAL_{config.stop_signal}" if config.stop_signal else None,
        linux=message("LinuxContainerConfig")(
            resources=resources_config(config.resources, oom_score), security_context=_security(pod, config, base)
        ),
    )
