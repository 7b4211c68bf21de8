"""`kubekka image`: the images that `--runtime runc`, `docker` and `cri` run, from local files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli._errors import Failed, UsageError
from cli._machines import add_image_store_option
from cli._state import default_data_dir

if TYPE_CHECKING:
    from actors.runtime.images import LocalImages


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `image`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    load = actions.add_parser("load", help="images from an OCI layout or a `docker save` tarball")
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--name", default="", help="the image's name, if the file has none or another")
    rootfs = actions.add_parser("import-rootfs", help="an image from a root file system")
    rootfs.add_argument("file", type=Path, metavar="DIR|TAR")
    rootfs.add_argument("name", metavar="NAME")
    rootfs.add_argument("--cmd", nargs="+", default=[], help="the command of its containers")
    rootfs.add_argument("--entrypoint", nargs="+", default=[], help="what the command is given to")
    rootfs.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable; repeatable")
    rootfs.add_argument("--user", default="", help="the user of its containers")
    rootfs.add_argument("--workdir", default="", help="their working directory")
    actions.add_parser("list", help="the images that are here")
    for name, what in (("rm", "remove images"), ("inspect", "an image's configuration as JSON")):
        action = actions.add_parser(name, help=what)
        action.add_argument("images", nargs="+", metavar="IMAGE")
    for action in actions.choices.values():
        add_image_store_option(action)


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    from actors.runtime.images import ImageError, LocalImages

    store = LocalImages(options.image_store or default_data_dir() / "images")
    try:
        _ACTIONS[options.action](store, options)
    except ImageError as error:
        raise Failed(str(error)) from None
    return 0


def _load(store: LocalImages, options: argparse.Namespace) -> None:
    from actors.runtime.images import load

    _must_exist(options.file)
    for name in load(store, options.file, options.name):
        print(f"loaded: {name}")


def _import(store: LocalImages, options: argparse.Namespace) -> None:
    from actors.runtime.images import import_rootfs

    _must_exist(options.file)
    if wrong := [e for e in options.env if "=" not in e]:
        raise UsageError(f"--env wants NAME=VALUE, not {wrong[0]!r}")
    config = {
        "Cmd": options.cmd or None,
        "Entrypoint": options.entrypoint or None,
        "User": options.user or None,
        "WorkingDir": options.workdir or None,
        "Env": options.env or None,
    }
    name = import_rootfs(store, options.file, options.name, {k: v for k, v in config.items() if v is not None})
    print(f"imported: {name}")


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"there is no {path}")


def _list(store: LocalImages, options: argparse.Namespace) -> None:
    rows = [("NAME", "ID", "SIZE")]
    rows += [(n, i.id[7:19], f"{i.size_bytes / 1e6:.1f} MB") for i in store.all() for n in i.names]
    widths = [max(len(r[c]) for r in rows) for c in range(3)]
    for row in rows:
        print("   ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _remove(store: LocalImages, options: argparse.Namespace) -> None:
    for image in options.images:
        for name in store.remove(image):
            print(f"removed: {name}")


def _inspect(store: LocalImages, options: argparse.Namespace) -> None:
    import orjson

    found = []
    for image in options.images:
        one = store.find(image)
        if one is None:
            raise Failed(f"no image {image!r} is here")
        found.append({"id": one.id, "digest": one.digest, "names": one.names, "sizeBytes": one.size_bytes,
                      "manifest": one.manifest, "config": one.config})  # fmt: skip
    sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")


_ACTIONS = {"load": _load, "import-rootfs": _import, "list": _list, "rm": _remove, "inspect": _inspect}
