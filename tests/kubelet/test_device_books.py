"""Who holds which devices and cores: pure books."""

from __future__ import annotations

from typing import Any

import pytest

from actors.kubelet.devices import AllocationError, CpuBook, DeviceBook, Granted, cpu_list, parse_cpu_list

Object = dict[str, Any]
GPU = "example.com/gpu"


def container(name: str, kind: str = "", **requests: str) -> Object:
    amounts = {k.replace("gpu", GPU): v for k, v in requests.items()}
    spec: Object = {"name": name, "resources": {"requests": amounts, "limits": amounts}}
    return {**spec, "restartPolicy": "Always"} if kind == "sidecar" else spec


def pod(uid: str, *main: Object, init: tuple[Object, ...] = ()) -> Object:
    return {"metadata": {"uid": uid}, "spec": {"containers": list(main), "initContainers": list(init)}}


def book(count: int = 3) -> DeviceBook:
    made = DeviceBook()
    made.update(GPU, {f"gpu-{n}": True for n in range(count)})
    return made


def test_devices_are_given_once_and_again_after_their_release() -> None:
    devices = book(2)
    assert devices.choose(pod("a", container("c", gpu="1"), container("d", gpu="1"))) == [
        ("c", GPU, ("gpu-0",)),
        ("d", GPU, ("gpu-1",)),
    ]
    with pytest.raises(AllocationError, match="Requested: 1, Available: 0"):
        devices.choose(pod("b", container("c", gpu="1")))
    assert "b" not in devices.held
    devices.release("a")
    assert devices.choose(pod("b", container("c", gpu="2")))[0][2] == ("gpu-0", "gpu-1")


def test_all_of_a_pod_or_nothing() -> None:
    devices = book(2)
    with pytest.raises(AllocationError):
        devices.choose(pod("a", container("c", gpu="1"), container("d", gpu="2")))
    assert devices.free(GPU) == {"gpu-0", "gpu-1"}


def test_what_init_containers_had_goes_on_and_what_sidecars_have_stays() -> None:
    devices = book(3)
    init = (container("i", gpu="2"), container("s", "sidecar", gpu="1"))
    found = {c: ids for c, _, ids in devices.choose(pod("a", container("c", gpu="2"), init=init))}
    assert found["i"] == ("gpu-0", "gpu-1")
    assert found["s"] == ("gpu-0",)
    assert found["c"] == ("gpu-1", "gpu-2")


def test_a_plugins_preference_comes_first() -> None:
    assert book().choose(pod("a", container("c", gpu="1")), {("c", GPU): ["gpu-2"]})[0][2] == ("gpu-2",)


def test_unhealthy_devices_count_but_are_not_given() -> None:
    devices = book(2)
    assert devices.update(GPU, {"gpu-0": False, "gpu-1": True})
    assert not devices.update(GPU, {"gpu-0": False, "gpu-1": True})
    assert devices.capacity() == ({GPU: "2"}, {GPU: "1"})
    assert devices.choose(pod("a", container("c", gpu="1")))[0][2] == ("gpu-1",)
    devices.update(GPU, {"gpu-0": False, "gpu-1": False})
    assert devices.health(GPU, "gpu-1") == "Unhealthy"
    with pytest.raises(AllocationError, match="no healthy devices present"):
        devices.choose(pod("b", container("c", gpu="1")))


def test_devices_of_a_plugin_that_has_gone_are_counted_for_five_minutes() -> None:
    devices = book(2)
    devices.plugin_gone(GPU, 100.0)
    assert devices.capacity() == ({GPU: "2"}, {GPU: "0"})
    assert not devices.forget_old(399.0)
    with pytest.raises(AllocationError, match="unregistered"):
        devices.choose(pod("a", container("c", gpu="1")))
    assert devices.forget_old(400.0)
    assert devices.capacity() == ({GPU: "0"}, {GPU: "0"})
    devices.update(GPU, {"gpu-0": True})
    assert devices.capacity() == ({GPU: "1"}, {GPU: "1"})


def test_what_was_given_outlives_the_kubelet() -> None:
    devices = book(2)
    devices.choose(pod("a", container("c", gpu="1")))
    devices.granted["a", "c", GPU] = Granted({"X": "1"}, (("/c", "/h", True),), (("/dev/a", "/dev/b", "rw"),))
    again = DeviceBook()
    again.restore(devices.checkpoint(), 0.0)
    assert again.capacity() == ({GPU: "2"}, {GPU: "0"}), "until the plugin comes again"
    assert again.grants("a", "c") == devices.grants("a", "c")
    again.update(GPU, {"gpu-0": True, "gpu-1": True})
    assert again.choose(pod("a", container("c", gpu="1"))) == [], "it has them already"
    assert again.free(GPU) == {"gpu-1"}
    with pytest.raises(ValueError, match="corrupt"):
        DeviceBook().restore(devices.checkpoint().replace(b"gpu-0", b"gpu-9"), 0.0)


@pytest.mark.parametrize("text", ["", "0", "0-2,5", "1,3,5-6"])
def test_sets_of_cores_as_the_kernel_writes_them(text: str) -> None:
    assert cpu_list(parse_cpu_list(text)) == text


def test_whole_cores_of_guaranteed_pods_are_their_own() -> None:
    cpus = CpuBook.of_node("4", "", "500m")
    assert cpus.reserved == {0}
    assert cpus.choose(pod("a", container("c", cpu="2", memory="1Gi")))
    assert cpus.of_container("a", "c") == {1, 2}
    assert cpus.shared == {0, 3}
    assert not cpus.choose(pod("b", container("c", cpu="1500m", memory="1Gi"))), "half a core is shared"
    assert cpus.of_container("b", "c") == {0, 3}
    with pytest.raises(AllocationError, match="requested=2, available=1"):
        cpus.choose(pod("d", container("c", cpu="2", memory="1Gi")))
    cpus.release("a")
    assert cpus.shared == {0, 1, 2, 3}


def test_pods_that_are_not_guaranteed_share() -> None:
    cpus = CpuBook.of_node("4", "3", "")
    burstable = pod("a", {"name": "c", "resources": {"requests": {"cpu": "1"}}})
    assert not cpus.choose(burstable)
    assert cpus.reserved == {3}


def test_the_state_file_outlives_the_kubelet_and_fits_only_its_machine() -> None:
    cpus = CpuBook.of_node("4", "0", "")
    cpus.choose(pod("a", container("c", cpu="2", memory="1Gi")))
    again = CpuBook.of_node("4", "0", "")
    again.restore(cpus.state())
    assert again.held == cpus.held
    with pytest.raises(ValueError, match="another machine"):
        CpuBook.of_node("8", "0", "").restore(cpus.state())
    with pytest.raises(ValueError, match="corrupted"):
        again.restore(cpus.state().replace(b'"1-2"', b'"2-3"'))
    with pytest.raises(ValueError, match="greater than zero"):
        CpuBook.of_node("4", "", "")
