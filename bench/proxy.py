"""What a change costs a kube-proxy: one endpoint among few Services and among many.

Compares with computing all rules anew, which is what a proxy without partial syncs does.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from actors.network._config import ProxyConfig
from actors.network._ruleset import RuleSet
from bench._report import Comparison, Series, arguments, finish

CONFIG = ProxyConfig(node_name="n", node_ip="192.168.0.2", local_match=("-s", "10.244.0.0/16"))
ENDPOINTS = 10


def _service(number: int) -> dict[str, Any]:
    ip = f"10.{96 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    return {"metadata": {"namespace": "d", "name": f"s{number}"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}}


def _slice(number: int, first: int = 0) -> dict[str, Any]:
    ips = [f"10.244.{number % 250}.{first + i + 1}" for i in range(ENDPOINTS)]
    labels = {"kubernetes.io/service-name": f"s{number}"}
    return {
        "metadata": {"namespace": "d", "name": f"s{number}-1", "labels": labels},
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
    }


def _filled(services: int) -> RuleSet:
    rules = RuleSet(CONFIG)
    for number in range(services):
        rules.set_slice(_slice(number))
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


def main(argv: list[str]) -> int:
    """Run it; see `--help`."""
    options = arguments("proxy", argv)
    sizes = (10, 100, 1000) if options.quick else (10, 100, 1000, 10000)
    rounds = 50 if options.quick else 300
    curve = Series("one endpoint changes", "us", "Services")
    comparisons = []
    for size in sizes:
        rules = _filled(size)
        one = change_us(rules, rounds)
        began = time.perf_counter()
        rules.text()
        whole = (time.perf_counter() - began) * 1e6
        curve.x.append(float(size))
        curve.y.append(one)
        name = f"endpoint change among {size} Services"
        comparisons.append(Comparison(name, "us", one, whole, "all rules anew", lower_is_better=True))
    return finish("proxy", comparisons, options, [curve])
