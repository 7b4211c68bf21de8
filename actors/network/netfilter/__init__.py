"""A simulated netfilter: the kernel's tables as data, and packets that walk through them.

`Tables` reads the very text that `iptables-restore` reads; `Walker` sends packets through it and
says which rules each one met. Nothing here knows Services, pods or the API.
"""

from actors.network.netfilter._packet import Outcome, Packet, Step
from actors.network.netfilter._rule import Rule, UnsupportedRule
from actors.network.netfilter._tables import RestoreError, Tables
from actors.network.netfilter._walk import Walker

__all__ = ["Outcome", "Packet", "RestoreError", "Rule", "Step", "Tables", "UnsupportedRule", "Walker"]
