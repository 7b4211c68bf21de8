"""Addresses of one range, given out and taken back.

Owns who has which address, also over restarts when it has a folder: one file per address, named like
it, with the container's id, as the plugin `host-local` keeps them. Must never touch an interface.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from protocol.cni import CniError

__all__ = ["AddressPool"]

EXHAUSTED = 100


class AddressPool:
    """The range's first address is the gateway's; network and broadcast address are nobody's.
    Addresses are given in turn, so that one that was freed rests as long as it can."""

    def __init__(self, cidr: str, folder: Path | None = None) -> None:
        self.network = ipaddress.ip_network(cidr)
        if self.network.num_addresses < 4:
            raise CniError(7, f"{cidr} is too small for a gateway and a pod")
        self.folder = folder
        self.owners: dict[str, str] = {}  # address -> container id and interface
        self.gateway = str(self.network[1])
        self._last = 1
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._read(folder)

    @property
    def bits(self) -> int:
        """The length of the range's prefix."""
        return self.network.prefixlen

    def _read(self, folder: Path) -> None:
        for file in folder.iterdir():
            with contextlib.suppress(ValueError, OSError):
                if ipaddress.ip_address(file.name) in self.network:
                    self.owners[file.name] = file.read_text().strip()
        with contextlib.suppress(ValueError, OSError):
            last = ipaddress.ip_address((folder / "last_reserved_ip.0").read_text().strip())
            if last in self.network:
                self._last = int(last) - int(self.network.network_address)

    def allocate(self, owner: str) -> str:
        """An address for `owner`; the one that it has, if it has one. Raises CniError when none is
        left."""
        for address, known in self.owners.items():
            if known == owner:
                return address
        usable = self.network.num_addresses - (2 if self.network.version == 4 else 1)  # 1 .. usable
        for step in range(1, usable + 1):
            offset = (self._last + step - 1) % usable + 1
            address = str(self.network[offset])
            if address != self.gateway and address not in self.owners:
                self._take(address, owner, offset)
                return address
        raise CniError(EXHAUSTED, f"no IP addresses available in range set: {self.network[1]}-{self.network[-2]}")

    def _take(self, address: str, owner: str, offset: int) -> None:
        self.owners[address], self._last = owner, offset
        if self.folder is not None:
            (self.folder / address).write_text(owner)
            (self.folder / "last_reserved_ip.0").write_text(address)

    def of(self, owner: str) -> str:
        """The address of `owner`, empty if it has none."""
        return next((a for a, known in self.owners.items() if known == owner), "")

    def free(self, owner: str) -> str:
        """Take back what `owner` has; -> that address, empty if it had none."""
        address = self.of(owner)
        if address:
            del self.owners[address]
            if self.folder is not None:
                (self.folder / address).unlink(missing_ok=True)
        return address

    def keep_only(self, owners: Iterable[str]) -> list[str]:
        """Free what belongs to nobody of `owners`; -> whose it was."""
        wanted = set(owners)
        gone = sorted({o for o in self.owners.values() if o not in wanted})
        for owner in gone:
            self.free(owner)
        return gone
