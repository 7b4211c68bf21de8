"""What a container is given of its pod: names, hosts, variables from files, images as volumes."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kubelet._env_file import EnvFileError, variable_in
from protocol.hosts import hosts_file, pod_hostname

World = Any
Object = dict[str, Any]


def log_of(world: World, name: str = "web", container: str = "c") -> str:
    world.until(lambda: world.phase(name) in ("Succeeded", "Failed"))
    records = [
        r for r in world.machine.containers.values() if r.config.name == container and r.sandbox.config.name == name
    ]
    return records[-1].log.read().decode() if records[-1].log else ""


def waiting(world: World) -> Object:
    found = [c["state"].get("waiting") or {} for c in world.status().get("containerStatuses") or ()]
    return found[0] if found else {}


def run(world: World, script: str, **spec: Any) -> str:
    world.pod("web", "sh", "-c", script, restartPolicy="Never", **spec)
    return log_of(world)


def test_hosts_names_the_pod_with_its_domain_and_its_aliases(world: World) -> None:
    aliases = [{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]
    text = run(world, "hostname; cat /etc/hosts", hostname="h", subdomain="s", hostAliases=aliases)
    ip = world.status()["podIP"]
    assert text.startswith("h\n# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert text.endswith(
        f"\n{ip}\th.s.default.svc.cluster.local\th\n\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n"
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ("web", "")),
        ({"hostname": "h"}, ("h", "")),
        ({"subdomain": "s"}, ("web", "web.s.ns.svc.cluster.local")),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, ("web.s.ns.svc.cluster.local",) * 2),
        ({"subdomain": "s", "setHostnameAsFQDN": True, "hostnameOverride": "o.x"}, ("o.x", "")),
    ],
)
def test_the_pods_own_names(spec: Object, expected: tuple[str, str]) -> None:
    assert pod_hostname({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}, "cluster.local") == expected


def test_a_long_name_is_cut_at_a_label_without_a_dash_at_its_end() -> None:
    name = "a" * 62 + "-" + "b" * 20
    assert pod_hostname({"metadata": {"name": name}, "spec": {}}, "x")[0] == "a" * 62


def test_a_full_name_that_linux_does_not_take_keeps_the_sandbox_from_being_made(world: World) -> None:
    world.pod("web", subdomain="s" * 50, setHostnameAsFQDN=True)
    world.until(lambda: "FailedCreatePodSandBox" in world.reasons())
    assert any("is too long (64 characters is the max, 80 characters requested)" in m for m in world.messages())


def test_the_nodes_network_has_the_nodes_hosts() -> None:
    text = hosts_file((), "n", "", (("1.1.1.1", ("x",)),), "127.0.0.1 localhost\n")
    assert text.splitlines()[0] == "# Kubernetes-managed hosts file (host network)."
    assert text.endswith("127.0.0.1 localhost\n\n# Entries added by HostAliases.\n1.1.1.1\tx\n")


def test_sysctls_and_identity_are_seen_inside(world: World) -> None:
    sysctls = [{"name": "kernel.shm_rmid_forced", "value": "1"}]
    text = run(
        world,
        "sysctl kernel.shm_rmid_forced; id; id -u",
        securityContext={"sysctls": sysctls, "runAsUser": 1001, "runAsGroup": 2002, "fsGroup": 3003},
    )
    assert text == "kernel.shm_rmid_forced = 1\nuid=1001 gid=2002 groups=2002,3003\n1001\n"


def test_a_root_that_is_read_only_refuses_in_the_shells_words(world: World) -> None:
    text = run(world, "echo x > /file; cat < /nope", container={"securityContext": {"readOnlyRootFilesystem": True}})
    assert text == "sh: can't create /file: Read-only file system\nsh: can't open /nope: No such file or directory\n"


FILE = """# a comment
A='one'
   B='two
lines' # more
C= 'nothing'
D=''
"""


@pytest.mark.parametrize(("key", "value"), [("A", "one"), ("B", "two\nlines"), ("C", ""), ("D", ""), ("E", "")])
def test_a_variable_of_a_file(key: str, value: str) -> None:
    assert variable_in(FILE, key) == value


@pytest.mark.parametrize("text", ["A=x", "A ='x'", "='x'", "word", "A='x' y", "A='x", 'A="x"', "A="])
def test_what_is_no_such_file(text: str) -> None:
    with pytest.raises(EnvFileError):
        variable_in(text, "Z")


def from_file(key: str, **more: Any) -> Object:
    return {"name": f"V_{key}", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "e", "key": key, **more}}}


def env_pod(world: World, *variables: Object) -> None:
    write = ["sh", "-c", "echo \"A='one'\" > /d/e"]
    world.pod(
        "web", "env", restartPolicy="Never", container={"env": list(variables)}, volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[{"name": "i", "image": "b", "command": write, "volumeMounts": [{"name": "v", "mountPath": "/d"}]}],
    )  # fmt: skip


def test_a_container_takes_variables_from_a_file_that_another_wrote(world: World) -> None:
    env_pod(world, from_file("A"), from_file("B", optional=True))
    text = log_of(world)
    assert "V_A=one\n" in text
    assert "V_B" not in text


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (from_file("B"), 'environment variable key "B" not found in file "e"'),
        (from_file("A", path="other"), "couldn't parse env file"),
    ],
)
def test_a_variable_that_is_not_there_keeps_the_container_waiting(world: World, variable: Object, words: str) -> None:
    env_pod(world, variable)
    world.until(lambda: waiting(world).get("reason") == "CreateContainerConfigError")
    assert waiting(world)["message"] == words


def image_pod(world: World, reference: str, policy: str) -> None:
    volumes = [{"name": "v", "image": {"reference": reference, "pullPolicy": policy}}]
    world.pod(volumes=volumes, container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]})


def test_the_image_of_a_volume_is_pulled_first_and_mounted_read_only(world: World) -> None:
    image_pod(world, "quay.io/x/y:1", "Always")
    world.until(world.ready)
    assert world.machine.images.status("quay.io/x/y:1") is not None
    record = next(iter(world.machine.containers.values()))
    assert [m.readonly for m in record.config.mounts] == [True]
    assert 'Pulling image "quay.io/x/y:1"' in world.messages()


@pytest.mark.parametrize(
    ("reference", "policy", "reason"),
    [("quay.io/x/y:broken", "IfNotPresent", "ErrImagePull"), ("quay.io/x/z:1", "Never", "ErrImageNeverPull")],
)
def test_a_volume_whose_image_is_not_to_be_had_keeps_the_container_waiting(
    world: World, reference: str, policy: str, reason: str
) -> None:
    image_pod(world, reference, policy)
    world.until(lambda: waiting(world).get("reason") == reason)
    assert reference in waiting(world)["message"]
    assert f"Error: {reason}" in world.messages()
