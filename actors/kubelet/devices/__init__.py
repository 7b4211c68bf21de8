"""Devices and cores that containers have for themselves: what there is, who has what, and the plugins behind."""

from actors.kubelet.devices._book import AllocationError, DeviceBook, Granted
from actors.kubelet.devices._cpus import CpuBook, cpu_list, parse_cpu_list

__all__ = ["AllocationError", "CpuBook", "DeviceBook", "Granted", "cpu_list", "parse_cpu_list"]
