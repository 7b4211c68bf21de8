"""Container runtimes behind the verbs of `protocol.cri`."""

from actors.runtime._container import Machine
from actors.runtime._guise import GUISES
from actors.runtime._images import ImageStore
from actors.runtime._simulated import SimulatedRuntime, simulated_machine

__all__ = ["GUISES", "ImageStore", "Machine", "SimulatedRuntime", "simulated_machine"]
