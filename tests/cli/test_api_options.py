"""Options of the API server: what they mean, and which are refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from cli._apioptions import add_api_options, api_settings
from cli._errors import UsageError


def settings(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_api_options(parser)
    return api_settings(parser.parse_args(arguments))


def write(path: Path, **document: Any) -> str:
    path.write_text(json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", **document}))
    return str(path)


def test_nothing_said_leaves_everything_as_it_is() -> None:
    assert set(settings()) == {"max_requests_inflight", "max_mutating_requests_inflight"}


def test_admission_plugins_are_named_and_told(tmp_path: Path) -> None:
    told = {"name": "PodSecurity", "configuration": {"defaults": {"enforce": "baseline"}}}
    file = write(tmp_path / "a.json", kind="AdmissionConfiguration", plugins=[told])
    found = settings(
        "--enable-admission-plugins", "NodeRestriction,AlwaysPullImages", "--disable-admission-plugins", "LimitRanger",
        "--admission-control-config-file", file,
    )  # fmt: skip
    assert found["enable_admission"] == ("NodeRestriction", "AlwaysPullImages")
    assert found["disable_admission"] == ("LimitRanger",)
    assert found["admission_configuration"]["PodSecurity"]["defaults"] == {"enforce": "baseline"}


def test_issuers_and_anonymous_paths_come_from_one_file(tmp_path: Path) -> None:
    jwt = {"issuer": {"url": "https://id", "audiences": ["k"]}, "claimMappings": {"username": {"claim": "sub", "prefix": ""}}}
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
    file = write(tmp_path / "a.json", kind="AuthenticationConfiguration", jwt=[jwt], anonymous=anonymous)
    found = settings("--authentication-config", file)
    assert [entry.issuer for entry in found["jwt"]] == ["https://id"]
    assert (found["anonymous"], found["anonymous_paths"]) == (True, ("/livez",))


def test_an_issuer_can_be_named_by_options() -> None:
    (found,) = settings("--oidc-issuer-url", "https://id", "--oidc-client-id", "k")["jwt"]
    assert (found.issuer, found.audiences, found.algorithms) == ("https://id", ("k",), ("RS256",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--authorization-mode", "Sometimes"), "none of Node, RBAC"),
        (("--enable-admission-plugins", "Nonsense"), 'unknown admission plugin "Nonsense"'),
        (("--oidc-issuer-url", "https://id"), "must be specified together"),
        (("--oidc-username-claim", "sub"), "needs --oidc-issuer-url"),
        (("--oidc-issuer-url", "http://id", "--oidc-client-id", "k"), "URL scheme must be https"),
        (("--authentication-config", "/nonexistent"), "cannot read"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings(*arguments)
