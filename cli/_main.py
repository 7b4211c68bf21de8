"""Parsing, dispatch to the verbs, and how every failure ends: one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from cli._errors import Failed, UsageError

__all__ = ["main"]

# verb -> (module, what it does). A verb's module offers `configure(parser)` and `run(options)`.
VERBS: dict[str, tuple[str, str]] = {
    "up": ("up", "run a cluster in the foreground"),
    "demo": ("demo", "a cluster, a sample application, failures, and an account of what happens"),
    "apiserver": ("apiserver", "run an API server alone, without controllers"),
    "etcd": ("etcd", "run an etcd server"),
    "controllers": ("components", "run the controller manager against any API server"),
    "scheduler": ("components", "run the scheduler against any API server"),
    "kubelet": ("components", "join a node to any API server"),
    "proxy": ("components", "run a node's kube-proxy against any API server"),
    "kubectl": ("kubectl", "kubectl with this cluster's kubeconfig"),
    "trace": ("trace", "the causal tree of messages that a manifest sets off"),
    "dashboard": ("dashboard.verb", "a simulated cluster in the browser, whose time one owns"),
    "top": ("top", "a live view of the actors: messages, mailboxes, restarts"),
    "replay": ("replay", "step through a recording of a cluster, and see it as of then"),
    "snapshot": ("snapshot", "every object of a running cluster in a file, for `up --import`"),
    "chaos": ("chaos", "break a running cluster: kill, pause, cut, api-error, ..."),
    "simulate": ("simulate", "play a scenario in virtual time, under one seed or many"),
    "iptables": ("iptables", "the iptables rules of a node"),
    "packet": ("packet", "the chains and rules that a packet meets"),
    "cgroups": ("cgroups", "the cgroup values of a pod"),
    "processes": ("processes", "the process tree of a pod on its node"),
    "image": ("image", "the local image store: load, import-rootfs, list, rm, inspect"),
    "explain-schedule": ("explain", "why the scheduler puts a pod where it does"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubekka",
        description="A whole Kubernetes in one Python process, made of Pykka actors.",
        epilog="Start with `kubekka up`, or watch `kubekka demo`.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, (_, about) in VERBS.items():
        verbs.add_parser(name, help=about, add_help=False)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the whole usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _verb_parser(verb: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"kubekka {verb}", description=VERBS[verb][1].capitalize() + ".")
    parser.add_argument(
        "--log-format",
        choices=("console", "json"),
        default="console",
        help="how logs are written to stderr (%(default)s)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="error",
        help="what is logged (%(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own by default); answers the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in VERBS:
        return _without_verb(arguments)
    verb, rest = arguments[0], arguments[1:]
    try:
        with _interrupt_ends_at_once():
            module = importlib.import_module(f"cli.{VERBS[verb][0]}")
        parser = _verb_parser(verb)
        module.configure(parser, verb)
        if getattr(module, "PASSES_ARGUMENTS_ON", False):
            options, passed_on = parser.parse_known_args(rest)
            options.arguments = passed_on
        else:
            options = (parser.parse_intermixed_args if getattr(module, "INTERMIXED", False) else parser.parse_args)(rest)
        options.verb = verb
        from actors.kernel import configure_logging

        configure_logging(options.log_format, options.log_level)
        result: int = module.run(options)
        return result
    except SystemExit as end:  # argparse has said what is wrong
        return end.code if isinstance(end.code, int) else 2
    except UsageError as error:
        return _complain(verb, error, 2)
    except Failed as error:
        return _complain(verb, error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 1


@contextmanager
def _interrupt_ends_at_once() -> Iterator[None]:
    """While modules are loaded Ctrl-C ends the process, without a word: an exception in the middle
    of a compiled module's start can do worse."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _complain(verb: str, error: Exception, status: int) -> int:
    print(f"kubekka {verb}: {error}", file=sys.stderr)
    return status


def _without_verb(arguments: list[str]) -> int:
    parser = _parser()
    if arguments == ["--version"]:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"kubekka {version('kubekka')}")
        except PackageNotFoundError:  # run from a checkout
            print("kubekka (not installed)")
        return 0
    if arguments and arguments[0] in ("-h", "--help"):
        parser.print_help()
        return 0
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    known = ", ".join(VERBS)
    print(f"kubekka: unknown verb {arguments[0]!r}; there are: {known}", file=sys.stderr)
    return 2
