"""Part of a pod's worker: the images of its containers.

Owns pull policies, the back-off between failed pulls, and what waiting containers show for it.
"""

from __future__ import annotations

from actors.kubelet._messages import ImageBackOff
from actors.kubelet._plan import Member
from actors.kubelet._tallies import container_type
from actors.kubelet._worker_base import WorkerBase
from protocol.cri import CriError, Image, ImageStatus, PullImage

__all__ = ["Pulling"]

IMAGE_BACKOFF_KEY = "image:"
IMAGE_BACKOFF_SHOWN_S = 5.0
"""After so long a failed pull reads ImagePullBackOff, as at the next look of a real kubelet."""
REFUSALS = {
    "RegistryUnavailable": "registry is unavailable",
    "SignatureValidationFailed": "signature validation failed",
}
CONFIG_RETRY_S = (1.0, 2.0, 4.0, 8.0, 10.0)


class Pulling(WorkerBase):
    """See the module."""

    def wake_in(self, seconds: float) -> None:
        """Plan again in so many seconds (defined by the worker)."""
        raise NotImplementedError

    def _hold(self, member: Member) -> None:
        tries = int(member.hold_until and 1) + self.sync_failures
        self.sync_failures += 1
        member.hold_until = self.clock.now() + CONFIG_RETRY_S[min(tries, len(CONFIG_RETRY_S) - 1)]
        self.wake_in(member.hold_until - self.clock.now())

    def _wait(self, member: Member, reason: str, message: str) -> None:
        member.waiting = (reason, message)
        self.node.tallies.start_errors[container_type(member.kind), reason] += 1

    async def _ensure_image(
        self, member: Member, now: float, image: str, policy: str, of_volume: bool = False
    ) -> Image | None:
        """The image, pulled if the policy says so; None when the container has to wait. Of a volume's image
        events tell as of the pod's."""
        runtime, about = self.node.runtime, None if of_volume else member
        try:
            present = await self.ask(runtime, ImageStatus(image))
        except CriError as error:
            reason = error.reason or "ImageInspectError"
            text = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {error.message}'
            self._wait(member, reason, text)
            self.record("Warning", "InspectFailed", text, about)
            self.record("Warning", "Failed", f"Error: {reason}", member)
            self._hold(member)
            return None
        if present is not None and policy != "Always":
            text = f'Container image "{image}" already present on machine and can be accessed by the pod'
            self.record("Normal", "Pulled", text, about)
            return present  # type: ignore[no-any-return]
        if policy == "Never":
            text = f'Container image "{image}" is not present with pull policy of Never'
            self._wait(member, "ErrImageNeverPull", text)
            self.record("Warning", "ErrImageNeverPull", text, about)
            self.record("Warning", "Failed", "Error: ErrImageNeverPull", member)
            self._hold(member)
            return None
        return await self._pull(member, image, about)

    async def _pull(self, member: Member, image: str, about: Member | None) -> Image | None:
        runtime, key = self.node.runtime, IMAGE_BACKOFF_KEY + image
        self.record("Normal", "Pulling", f'Pulling image "{image}"', about)
        try:
            answer = await self.ask(runtime, PullImage(image))
            present: Image | None = await self.ask(runtime, ImageStatus(image))
        except CriError as error:
            reason = error.reason or "ErrImagePull"
            text = f"rpc error: code = {error.code} desc = {error.message}"
            self.record("Warning", "Failed", f'Failed to pull image "{image}": {text}', about)
            if reason in REFUSALS:
                text = f"image pull failed for {image} because the {REFUSALS[reason]}: {error.message}"
            self.record("Warning", "Failed", f"Error: {reason}", member)
            self._wait(member, reason, text)
            at = self.clock.now()
            self.backoff.advance(key, at)
            member.hold_until = at + self.backoff.current_s(key)
            self.wake_in(member.hold_until - at)
            self.after(IMAGE_BACKOFF_SHOWN_S, ImageBackOff(member.name, member.hold_until, text, image, about is None))
            return None
        seconds = f"{answer.seconds:.3g}s" if answer.seconds >= 1 else f"{answer.seconds * 1000:.0f}ms"
        text = f'Successfully pulled image "{image}" in {seconds} ({seconds} including waiting). Image size: {answer.size_bytes} bytes.'
        self.record("Normal", "Pulled", text, about)
        return present
