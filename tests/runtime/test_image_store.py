"""The local image store: what it takes, what it refuses, what it keeps."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from actors.runtime.images import ImageError, LocalImages, export, import_rootfs, load

as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="layers are unpacked by root")
ROOT = Path(__file__).resolve().parents[2]


def tarball(*entries: tuple[str, Any], **fields: Any) -> bytes:
    """A tar of (name, bytes | None for a directory | "-> target" | "= target" for a hard link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if content is None else 0o644
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif isinstance(content, str):
                kind, _, entry.linkname = content.partition(" ")
                entry.type = tarfile.SYMTYPE if kind == "->" else tarfile.LNKTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def docker_save(path: Path, *layers: bytes, tags: tuple[str, ...] = ("web:1",), diffs: list[str] | None = None) -> Path:
    """A tarball as `docker save` wrote it before version 25."""
    config = json.dumps(
        {"config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": diffs or [digest(x) for x in layers]}}
    ).encode()
    name = f"{digest(config)[7:]}.json"
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]
    path.write_bytes(
        tarball(
            (name, config),
            ("manifest.json", json.dumps(manifest).encode()),
            *((f"{i}/layer.tar", layer) for i, layer in enumerate(layers)),
        )
    )
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalImages:
    return LocalImages(tmp_path / "store")


def test_a_docker_save_tarball_is_loaded_under_its_tags(store: LocalImages, tmp_path: Path) -> None:
    path = docker_save(tmp_path / "a.tar", tarball(("f", b"x")), tags=("web:1", "registry.local:5000/web:2"))
    assert load(store, path) == ["docker.io/library/web:1", "registry.local:5000/web:2"]
    image = store.find("web:1")
    assert image is not None
    assert image == store.find(image.id) == store.find(image.id[7:19])
    assert image.config["config"]["Cmd"] == ["sh"]
    assert image.as_cri().repo_digests == (
        f"docker.io/library/web@{image.digest}",
        f"registry.local:5000/web@{image.digest}",
    )


def test_what_is_exported_loads_elsewhere_as_the_same_image(store: LocalImages, tmp_path: Path) -> None:
    load(store, docker_save(tmp_path / "a.tar", tarball(("f", b"x"))))
    image = store.find("web:1")
    assert image is not None
    with (tmp_path / "b.tar").open("wb") as file:
        export(store, image, file)
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress((tmp_path / "b.tar").read_bytes()))
    for number, name in enumerate(("b.tar", "c.tar.gz")):
        other = LocalImages(tmp_path / f"other-{number}")
        assert load(other, tmp_path / name) == ["docker.io/library/web:1"]
        assert other.find("web:1") == image
    with tarfile.open(tmp_path / "b.tar") as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    assert load(LocalImages(tmp_path / "third"), tmp_path / "layout", "mine:1") == ["docker.io/library/mine:1"]


def test_an_index_gives_the_manifest_of_this_machine(store: LocalImages, tmp_path: Path) -> None:
    load(store, docker_save(tmp_path / "a.tar", tarball(("f", b"x"))))
    image = store.find("web:1")
    assert image is not None
    layout = tmp_path / "layout"
    shutil.copytree(store.blobs.directory, layout / "blobs" / "sha256")
    mine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

    def index(architecture: str) -> bytes:
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "platform": {"architecture": architecture},
        }
        return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    for architecture in (mine, "sparc"):
        data = index(architecture)
        (layout / "blobs" / "sha256" / digest(data)[7:]).write_bytes(data)
        outer = {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest(data),
            "annotations": {"org.opencontainers.image.ref.name": "web:multi"},
        }
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [outer]}))
        if architecture == mine:
            assert load(store, layout) == ["docker.io/library/web:multi"]
        else:
            with pytest.raises(ImageError, match="the image is for sparc"):
                load(store, layout)


def test_damage_is_found(store: LocalImages, tmp_path: Path) -> None:
    load(store, docker_save(tmp_path / "a.tar", tarball(("f", b"x"))))
    image = store.find("web:1")
    assert image is not None
    with (tmp_path / "b.tar").open("wb") as file:
        export(store, image, file)
    with tarfile.open(tmp_path / "b.tar") as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    layer = tmp_path / "layout" / "blobs" / "sha256" / image.manifest["layers"][0]["digest"][7:]
    layer.write_bytes(layer.read_bytes().replace(b"x", b"y"))
    with pytest.raises(ImageError, match="is damaged"):
        load(LocalImages(tmp_path / "other"), tmp_path / "layout")
    layer.unlink()
    with pytest.raises(ImageError, match="is missing from the image"):
        load(LocalImages(tmp_path / "other"), tmp_path / "layout")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no image|no tarball"), (b"not a tar at all" * 100, "no tarball"), (tarball(("f", b"")), "import-rootfs")],
)
def test_what_is_no_image_is_refused_in_one_line(
    store: LocalImages, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ImageError, match=words) as refused:
        load(store, tmp_path / "x")
    assert "\n" not in str(refused.value)


@as_root
@pytest.mark.parametrize(
    "layer",
    [
        tarball(("../out", b"x")),
        tarball(("a/../../out", b"x")),
        tarball(("link", "-> /tmp"), ("link/out", b"x")),
        tarball(("link", "-> .."), ("link/out", b"x")),
        tarball(("hard", "= ../../etc/passwd")),
        tarball(("link", "-> /etc"), ("hard", "= link/passwd")),
        tarball((".wh...", b"")),
        tarball(("d", None), ("d/.wh..", b"")),
    ],
)
def test_a_layer_cannot_reach_outside(store: LocalImages, tmp_path: Path, layer: bytes) -> None:
    load(store, docker_save(tmp_path / "evil.tar", layer))
    image = store.find("web:1")
    assert image is not None
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(ImageError):
        store.layers(image)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert not list((store.root / "layers").glob("*")), "half a layer was left"


@as_root
def test_a_later_entry_replaces_a_link_and_never_follows_it(store: LocalImages, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    load(store, docker_save(tmp_path / "a.tar", tarball(("f", f"-> {victim}"), ("f", b"mine"))))
    image = store.find("web:1")
    assert image is not None
    (layer,) = store.layers(image)
    assert victim.read_text() == "safe"
    assert not (layer / "f").is_symlink()
    assert (layer / "f").read_bytes() == b"mine"


@as_root
def test_whiteouts_and_opaque_directories_hide_what_is_below(store: LocalImages, tmp_path: Path) -> None:
    lower = tarball(("d", None), ("d/old", b"1"), ("gone", b"2"), ("o", None), ("o/hidden", b"3"))
    upper = tarball((".wh.gone", b""), ("o", None), ("o/.wh..wh..opq", b""), ("o/new", b"4"))
    load(store, docker_save(tmp_path / "a.tar", lower, upper))
    image = store.find("web:1")
    assert image is not None
    layers = store.layers(image)
    info = (layers[1] / "gone").lstat()
    assert stat.S_ISCHR(info.st_mode)
    assert info.st_rdev == 0
    place = tmp_path / "merged"
    place.mkdir()
    options = f"lowerdir={layers[1]}:{layers[0]}"
    if subprocess.run(
        ["mount", "-t", "overlay", "-o", options, "overlay", place], capture_output=True, check=False
    ).returncode:
        pytest.skip("no overlayfs here")
    try:
        assert sorted(str(p.relative_to(place)) for p in place.rglob("*")) == ["d", "d/old", "o", "o/new"]
    finally:
        subprocess.run(["umount", place], check=True)


@as_root
def test_a_layer_whose_content_is_not_what_the_image_says_is_refused(store: LocalImages, tmp_path: Path) -> None:
    load(store, docker_save(tmp_path / "a.tar", tarball(("f", b"x")), diffs=[digest(b"something else")]))
    image = store.find("web:1")
    assert image is not None
    with pytest.raises(ImageError, match="damaged"):
        store.layers(image)


@as_root
def test_layers_stay_while_they_are_used_and_go_with_the_last_user(store: LocalImages, tmp_path: Path) -> None:
    shared, own = tarball(("f", b"x")), tarball(("g", b"y"))
    load(store, docker_save(tmp_path / "a.tar", shared, tags=("a:1",)))
    load(store, docker_save(tmp_path / "b.tar", shared, own, tags=("b:1",)))
    image = store.find("b:1")
    assert image is not None
    layers = store.layers(image)
    store.use("container", image)
    store.remove("b:1")
    assert store.find("b:1") is None
    assert all(layer.is_dir() for layer in layers)
    store.release("container")
    assert [layer.is_dir() for layer in layers] == [True, False], "the layer that a:1 shares stays"
    store.remove("a:1")
    assert not list(store.blobs.directory.iterdir())
    with pytest.raises(ImageError, match="no image"):
        store.remove("a:1")


def test_the_command_line_imports_lists_inspects_and_removes(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    (rootfs / "hello").write_text("x")

    def image(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, str(ROOT / "cluster.py"), "image", *arguments, "--image-store", str(tmp_path / "s")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    assert (
        image("import-rootfs", str(rootfs), "mine:1", "--env", "A=b", "--user", "web")
        == "imported: docker.io/library/mine:1\n"
    )
    assert "docker.io/library/mine:1" in image("list")
    (entry,) = json.loads(image("inspect", "mine:1"))
    assert (entry["config"]["config"]["Env"], entry["config"]["config"]["User"]) == (["A=b"], "web")
    assert image("inspect", "nope", code=1) == "kubekka image: no image 'nope' is here\n"
    assert image("load", str(tmp_path / "nope"), code=2).count("\n") == 1
    assert image("rm", "mine:1") == "removed: docker.io/library/mine:1\n"


def test_a_name_that_is_none_is_refused(store: LocalImages, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(ImageError, match="is no image name"):
        import_rootfs(store, tmp_path / "r", "Not A Name")
