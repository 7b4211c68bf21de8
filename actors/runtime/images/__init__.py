"""The images of this machine: content addressed blobs, names, and layers unpacked for overlayfs.

Owns what lies below the store's directory. It pulls nothing from anywhere: images come from files.
"""

from __future__ import annotations

from actors.runtime.images._archive import import_rootfs, load
from actors.runtime.images._blobs import ImageError
from actors.runtime.images._export import export
from actors.runtime.images._store import LocalImage, LocalImages

__all__ = ["ImageError", "LocalImage", "LocalImages", "export", "import_rootfs", "load"]
