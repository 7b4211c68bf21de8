"""Image references, and the images that a simulated node has.

Owns names, digests, sizes and which pulls fail. It knows no time: how long a pull takes is a
number in its answer.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from protocol.cri import CriError, Image

__all__ = ["PAUSE_IMAGE", "ImageStore", "digest_of", "normal_reference"]

PAUSE_IMAGE = "registry.k8s.io/pause:3.10.1"
REFERENCE = re.compile(
    r"(?:(?P<domain>[A-Za-z0-9.-]+(?::\d+)?)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?\Z"
)


@lru_cache(maxsize=1024)
def normal_reference(image: str) -> str:
    """`nginx` as `docker.io/library/nginx:latest`; raises CriError InvalidImageName.

    https://github.com/distribution/reference describes the grammar.
    """
    match = REFERENCE.match(image)
    if match is None:
        text = "invalid reference format"
        if re.search(r"[A-Z]", image.partition("@")[0]):
            path = image.partition("@")[0]
            head, colon, tail = path.rpartition(":")
            path = head if colon and "/" not in tail else path
            first, slash, rest = path.partition("/")
            if slash and ("." in first or ":" in first or first == "localhost"):
                path = rest
            text += f": repository name ({path if '/' in path else 'library/' + path}) must be lowercase"
        raise CriError("InvalidArgument", text, "InvalidImageName")
    domain, path = match.group("domain"), match.group("path")
    if domain and not ("." in domain or ":" in domain or domain == "localhost"):
        domain, path = None, f"{domain}/{path}"
    if domain in (None, "index.docker.io"):
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    digest = match.group("digest")
    name = f"{domain}/{path}"
    if digest:
        return f"{name}@{digest}"
    return f"{name}:{match.group('tag') or 'latest'}"


@lru_cache(maxsize=4096)
def digest_of(reference: str) -> str:
    """The digest that this reference always has in the simulation."""
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


class ImageStore:
    """The images on one node; `bytes_per_s` 0 pulls in no time."""

    def __init__(self, bytes_per_s: float = 0.0, latency_s: float = 0.0) -> None:
        self.bytes_per_s = bytes_per_s
        self.latency_s = latency_s
        self.images: dict[str, Image] = {}

    def status(self, image: str) -> Image | None:
        """The image if it is here; raises CriError InvalidImageName."""
        return self.images.get(normal_reference(image))

    def pull_seconds(self, image: str) -> float:
        """How long a pull takes, found or not."""
        if not self.bytes_per_s:
            return self.latency_s
        return self.latency_s + _size_of(normal_reference(image)) / self.bytes_per_s

    def pull(self, image: str) -> Image:
        """Put the image in the store, or raise the registry's refusal as CriError ErrImagePull."""
        reference = normal_reference(image)
        if reference.endswith(":broken"):
            raise CriError(
                "NotFound",
                f'failed to pull and unpack image "{reference}": failed to resolve reference '
                f'"{reference}": {reference}: not found',
                "ErrImagePull",
            )
        known = self.images.get(reference)
        if known is None:
            known = self.images[reference] = _image(reference)
        return known

    def remove(self, image: str) -> None:
        """Forget an image, named by reference or id."""
        for reference, entry in list(self.images.items()):
            if image in (entry.id, reference) or normal_reference(image) == reference:
                del self.images[reference]


def _size_of(reference: str) -> int:
    """Between 2 and 200 MB, always the same for a name."""
    return 2_000_000 + int(digest_of(reference)[7:15], 16) % 198_000_000


@lru_cache(maxsize=4096)
def _image(reference: str) -> Image:
    digest = digest_of(reference)
    name = reference.split("@")[0]
    repository = name.rsplit(":", 1)[0] if ":" in name.rsplit("/", 1)[-1] else name
    tags = () if "@" in reference else (reference,)
    size = 320_000 if reference == PAUSE_IMAGE else _size_of(reference)
    return Image(digest_of(f"config of {reference}"), tags, (f"{repository}@{digest}",), size, reference == PAUSE_IMAGE)
