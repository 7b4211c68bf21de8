"""What a change costs a kube-proxy: one endpoint among few Services and among many.

Compares with computing all rules anew, which is what a proxy without partial syncs does. As root on Linux
it also measures what the kernel's programs take to write the change, in a network namespace of its own;
there the peer is writing everything.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import time
from typing import Any

from actors.network._config import ProxyConfig
from actors.network._ruleset import RuleSet
from actors.network.nftables import rules_for
from bench._report import Comparison, Series, arguments, finish

MODES = ("iptables", "nftables")
ENDPOINTS = 10
KERNEL_ENDPOINTS, KERNEL_ROUNDS = 2, 9
PROGRAMS = {"iptables": ("iptables-restore", "--noflush"), "nftables": ("nft", "-f", "-")}


def _config(mode: str) -> ProxyConfig:
    return ProxyConfig(node_name="n", node_ip="192.168.0.2", local_match=("-s", "10.244.0.0/16"), mode=mode)


def _service(number: int) -> dict[str, Any]:
    ip = f"10.{96 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    return {"metadata": {"namespace": "d", "name": f"s{number}"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}}


def _slice(number: int, first: int = 0, count: int = ENDPOINTS) -> dict[str, Any]:
    ips = [f"10.244.{number % 250}.{first + i + 1}" for i in range(count)]
    labels = {"kubernetes.io/service-name": f"s{number}"}
    return {
        "metadata": {"namespace": "d", "name": f"s{number}-1", "labels": labels},
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
    }


def _filled(services: int, mode: str, endpoints: int = ENDPOINTS) -> RuleSet:
    rules = rules_for(_config(mode))
    for number in range(services):
        rules.set_slice(_slice(number, 0, endpoints))
        rules.set_service(_service(number))
    return rules


def change_us(rules: RuleSet, rounds: int) -> float:
    """The median time in microseconds that one endpoint change takes, text included."""
    taken = []
    for i in range(rounds):
        changed = _slice(0, 1 + i % 100)
        began = time.perf_counter()
        rules.set_slice(changed).restore_text()
        taken.append((time.perf_counter() - began) * 1e6)
    return statistics.median(taken)


def why_no_kernel(mode: str) -> str:
    """What keeps this machine from writing rules; empty if nothing does."""
    if not os.path.exists("/proc/self/ns/net") or os.geteuid() != 0 or shutil.which("unshare") is None:
        return "needs Linux and root"
    program = PROGRAMS[mode][0]
    return "" if shutil.which(program) else f"{program} is not installed"


def kernel_ms(services: int, mode: str) -> tuple[float, float]:
    """CPU milliseconds, of the program and of the kernel on its behalf, to write one endpoint's change and
    to write all rules. (Other programs on the machine do not count.)"""
    rules = _filled(services, mode, KERNEL_ENDPOINTS)
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 3600"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()  # the namespace is there
        command = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", *PROGRAMS[mode]]
        whole = _write_ms(command, rules.restore_text())
        changes = [
            _write_ms(command, rules.set_slice(_slice(0, 1 + i, KERNEL_ENDPOINTS)).restore_text())
            for i in range(KERNEL_ROUNDS)
        ]
        return statistics.median(changes), whole
    finally:
        holder.kill()
        holder.wait()


def _write_ms(command: list[str], text: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3


def main(argv: list[str]) -> int:
    """Run it; see `--help`."""
    options = arguments("proxy", argv)
    sizes = (10, 100, 1000) if options.quick else (10, 100, 1000, 10000)
    rounds = 50 if options.quick else 300
    curves, comparisons = [], []
    for mode in MODES:
        curve = Series(f"one endpoint changes, {mode}", "us", "Services")
        for size in sizes:
            rules = _filled(size, mode)
            one = change_us(rules, rounds)
            began = time.perf_counter()
            rules.text()
            whole = (time.perf_counter() - began) * 1e6
            curve.x.append(float(size))
            curve.y.append(one)
            name = f"{mode}: endpoint change among {size} Services"
            comparisons.append(Comparison(name, "us", one, whole, "all rules anew", lower_is_better=True))
        curves.append(curve)
    for mode in MODES:
        if reason := why_no_kernel(mode):
            print(f"{mode} in the kernel: {reason}")
            continue
        for size in (10, 500) if options.quick else (10, 500, 5000):
            one, whole = kernel_ms(size, mode)
            name = f"{mode} in the kernel: the same among {size}"
            comparisons.append(Comparison(name, "ms CPU", one, whole, "all rules", lower_is_better=True))
    return finish("proxy", comparisons, options, curves)
