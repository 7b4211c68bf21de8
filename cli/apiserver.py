"""`kubekka apiserver`: an API server alone, without controllers."""

from __future__ import annotations

import argparse

from cli._apioptions import add_api_options, api_settings
from cli._serve import (
    Interruption,
    add_serving_options,
    kubernetes_minor,
    prepare_paths,
    start_problems,
    store_settings,
)


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `apiserver`."""
    add_serving_options(parser)
    add_api_options(parser)


def run(options: argparse.Namespace) -> int:
    """Serve the API until Ctrl-C."""
    minor = kubernetes_minor(options.kubernetes_version)
    data_dir, kubeconfig = prepare_paths(options)
    from cluster import ApiServerProcess, ClusterConfig

    config = ClusterConfig(
        nodes=0,
        minor=minor,
        host=options.host,
        port=options.port,
        data_dir=data_dir,
        **store_settings(options),
        apiserver=api_settings(options),
    )
    server = ApiServerProcess(config)
    try:
        with start_problems(options), Interruption() as interruption:
            server.start()
            server.system.on_failed = interruption.fail
            server.write_kubeconfig(kubeconfig)
            print(f"ready: {server.url} kubeconfig: {kubeconfig}", flush=True)
            interruption.wait()
    finally:
        server.stop()
    return 0
