"""What a node has in a CRI runtime (containerd, CRI-O): the connection, its images, the pods' files.

Owns how images get there from the local store, pause's included. The runtime remembers everything else:
whoever comes back finds it by label. Blocks.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec

from actors.runtime._cri_client import CriClient
from actors.runtime._cri_configs import NODE
from actors.runtime._linux import LinuxError, build_pause
from actors.runtime._real_machine import RealMachine, features, if_there
from actors.runtime.images import ImageError, LocalImages, export, import_rootfs
from protocol import cri

__all__ = ["CriMachine", "why_no_cri"]

IMPORT_TIMEOUT_S = 120.0
CHECK_S = 5.0
REMOVAL_TRIES = 3


def why_no_cri(endpoint: str) -> str:
    """What keeps containers from running there; empty if nothing does."""
    client = CriClient(endpoint)
    try:
        status = client.call("Status", CHECK_S).status
    except cri.CriError as error:
        return f"no CRI runtime answers at {endpoint}: {error.message[:200]}"
    finally:
        client.close()
    for condition in status.conditions:
        if condition.type == "RuntimeReady" and not condition.status:
            return f"the runtime at {endpoint} is not ready: {condition.message}"
    return ""


class CriMachine(RealMachine):
    """See the module. Raises: LinuxError, when the runtime does not answer."""

    def __init__(self, endpoint: str, images: LocalImages, root: Path | None = None, keep: bool = False) -> None:
        missing = why_no_cri(endpoint)
        if missing:
            raise LinuxError(missing)
        super().__init__(images, root, keep)
        self.endpoint = endpoint
        self.client = CriClient(endpoint)
        self.call = self.client.call
        version = self.call("Version")
        self.prefix, self.version = version.runtime_name, version.runtime_version
        self.stopped = threading.Event()
        with contextlib.suppress(LinuxError, ImageError, cri.CriError):
            self._bring_pause()

    def user_namespaces(self) -> set[str]:
        """The runtime handlers ("" is the default one) that can give a pod user numbers of its own."""
        handlers = self.call("Status").runtime_handlers
        return {h.name for h in handlers if h.features.user_namespaces}

    def features(self) -> tuple[str, ...]:
        """`VersionResponse.features`."""
        status = self.call("Status")
        default = [h.features for h in status.runtime_handlers if not h.name]
        found = []
        if any(f.user_namespaces for f in default):
            found.append("user-namespaces")
        if any(f.recursive_read_only_mounts for f in default):
            found.append("recursive-read-only-mounts")
        if status.features.supplemental_groups_policy:
            found.append("supplemental-groups-policy")
        return features(*found)

    # -- finding

    def sandboxes(self, pod_uid: str = "") -> list[Any]:
        """This node's sandboxes."""
        labels = {NODE: str(self.root), **({"io.kubernetes.pod.uid": pod_uid} if pod_uid else {})}
        return list(self.call("ListPodSandbox", filter={"label_selector": labels}).items)

    def containers(self, pod_uid: str = "", sandbox_id: str = "") -> list[Any]:
        """This node's containers."""
        labels = {NODE: str(self.root), **({"io.kubernetes.pod.uid": pod_uid} if pod_uid else {})}
        wanted = {"label_selector": labels, "pod_sandbox_id": sandbox_id}
        return list(self.call("ListContainers", filter=wanted).containers)

    # -- images

    def load_image(self, name: str) -> bool:
        """Hand an image of the local store to containerd; answers whether there is one, and a way.

        Raises: LinuxError with what containerd said.
        """
        image = self.images.find(name)
        if image is None or shutil.which("ctr") is None or not self.prefix.startswith("containerd"):
            return False
        with tempfile.TemporaryFile() as file:
            export(self.images, image, file)
            file.seek(0)
            address = self.endpoint.removeprefix("unix://")
            done = subprocess.run(
                ["ctr", "--address", address, "--namespace", "k8s.io", "images", "import", "-"],
                stdin=file, capture_output=True, check=False, timeout=IMPORT_TIMEOUT_S,
            )  # fmt: skip
        if done.returncode:
            raise LinuxError(done.stderr.decode(errors="replace").strip())
        return True

    def _bring_pause(self) -> None:
        """Make sure that the runtime has the pause image that it is set up with: ours, under its name."""
        config = json.loads(self.call("Status", verbose=True).info.get("config", "{}"))
        name = config.get("sandboxImage", "")
        if not name or self.call("ImageStatus", image={"image": name}).image.id:
            return
        with tempfile.TemporaryDirectory() as folder:
            rootfs = Path(folder) / "rootfs"
            rootfs.mkdir()
            shutil.copy(build_pause(self.root / "bin"), rootfs / "pause")
            store, own = LocalImages(Path(folder) / "images"), self.images
            import_rootfs(store, rootfs, name, {"Entrypoint": ["/pause"], "User": "65535:65535"})
            self.images = store
            try:
                self.load_image(name)
            finally:
                self.images = own

    # -- the end

    def delete_sandbox(self, ident: str, parent: str = "") -> None:
        """Stop and remove a sandbox with its containers; one that has gone is no error."""
        for verb in ("StopPodSandbox", "RemovePodSandbox"):
            with if_there():
                self.call(verb, pod_sandbox_id=ident)
        shutil.rmtree(self.root / "sandboxes" / ident, ignore_errors=True)
        if parent:
            self.groups.remove(parent)

    def remove_all(self) -> None:
        """Leave nothing of this node in the runtime."""
        pods: dict[str, str] = {}
        for _ in range(REMOVAL_TRIES):  # one that is busy goes later, and keeps no other one
            try:
                sandboxes = self.sandboxes()
            except cri.CriError:  # a runtime that does not answer keeps what it has
                break
            for sandbox in sandboxes:
                pods[sandbox.metadata.uid] = sandbox.annotations.get("kubekka.dev/config", "")
                with contextlib.suppress(cri.CriError):
                    self.delete_sandbox(sandbox.id, sandbox.annotations.get("kubekka.dev/cgroup-parent", ""))
            if not sandboxes:
                break
        self.forget_messages("*")
        for record in filter(None, pods.values()):
            self.forget_pod(msgspec.json.decode(record, type=cri.PodSandboxConfig))
        self.clean_up()
