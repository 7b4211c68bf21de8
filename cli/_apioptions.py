"""Options of the API server under kube-apiserver's names: who may come in, who may do what, admission.

Owns their meaning as `ApiServerConfig` settings; `up` and `apiserver` share them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cli._errors import UsageError
from cli._serve import add_audit_options, audit_settings

__all__ = ["add_api_options", "api_settings"]

_OIDC = (
    ("issuer-url", "URL", "trust tokens of this OpenID issuer"),
    ("client-id", "ID", "the audience that they must name"),
    ("username-claim", "CLAIM", "the claim that is the user's name (sub)"),
    ("username-prefix", "TEXT", "put before the name; - for nothing (by default the issuer's URL and #)"),
    ("groups-claim", "CLAIM", "the claim that lists the user's groups"),
    ("groups-prefix", "TEXT", "put before their names"),
    ("ca-file", "FILE", "authority that the issuer's certificate is verified with"),
    ("signing-algs", "NAMES", "comma-separated algorithms of signatures (RS256)"),
)


def add_api_options(parser: argparse.ArgumentParser) -> None:
    """All of them, with those of the audit log and of requests' limits."""
    add_audit_options(parser)
    who = parser.add_argument_group("who may come in and what they may do")
    who.add_argument(
        "--anonymous-auth", choices=("true", "false"), default="true", help="take requests without credentials (%(default)s)"
    )
    who.add_argument(
        "--authentication-config", type=Path, metavar="FILE",
        help="AuthenticationConfiguration: other issuers of tokens, and which paths are for anybody",
    )  # fmt: skip
    for name, shown, text in _OIDC:
        who.add_argument(f"--oidc-{name}", metavar=shown, default="", help=text)
    who.add_argument(
        "--oidc-required-claim", metavar="CLAIM=VALUE", action="append", default=[], help="a claim that tokens must have"
    )
    who.add_argument(
        "--authorization-mode", metavar="MODES", default="Node,RBAC",
        help="comma-separated: Node, RBAC, AlwaysAllow, AlwaysDeny (%(default)s)",
    )  # fmt: skip
    for name, text in (("enable", "to the default ones"), ("disable", "off, default ones too")):
        who.add_argument(f"--{name}-admission-plugins", metavar="NAMES", default="", help=f"comma-separated plugins: {text}")
    who.add_argument(
        "--admission-control-config-file", type=Path, metavar="FILE", help="AdmissionConfiguration: what plugins are told"
    )


def api_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The API server's settings that follow from them.

    Raises: UsageError for what contradicts itself or cannot be read.
    """
    settings = audit_settings(options)
    modes = tuple(mode.strip() for mode in options.authorization_mode.split(",") if mode.strip())
    known = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")
    if not modes or set(modes) - set(known):
        raise UsageError(f"--authorization-mode: {options.authorization_mode!r} is none of {', '.join(known)}")
    if modes != ("Node", "RBAC"):
        settings["authorization"] = ",".join(modes)
    if options.anonymous_auth == "false":
        settings["anonymous"] = False
    try:
        settings |= _authentication(options)
        settings |= _admission(options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return settings


def _document(path: Path, kind: str) -> dict[str, Any]:
    from cli._files import load_objects

    found = load_objects(path)[0]
    if found.get("kind") != kind:
        raise UsageError(f"{path} is no {kind}")
    return found


def _authentication(options: argparse.Namespace) -> dict[str, Any]:
    if options.authentication_config is not None:
        if options.oidc_issuer_url or options.anonymous_auth == "false":
            raise UsageError("--authentication-config says it all: it goes without --oidc-* and --anonymous-auth")
        from actors.apiserver._jwt import anonymous_of, issuers_of

        document = _document(options.authentication_config, "AuthenticationConfiguration")
        anonymous, paths = anonymous_of(document)
        issuers = tuple(issuers_of(document, "https://kubernetes.default.svc"))
        return {"jwt": issuers, "anonymous": anonymous, "anonymous_paths": paths}
    if not options.oidc_issuer_url:
        given = next((name for name, *_ in _OIDC if getattr(options, f"oidc_{name.replace('-', '_')}")), "")
        if given:
            raise UsageError(f"--oidc-{given} needs --oidc-issuer-url")
        return {}
    if not options.oidc_client_id:
        raise UsageError("--oidc-issuer-url and --oidc-client-id must be specified together")
    from actors.apiserver._jwt import from_options

    try:
        authority = Path(options.oidc_ca_file).read_text() if options.oidc_ca_file else ""
    except OSError as error:
        raise UsageError(f"cannot read {options.oidc_ca_file}: {error.strerror or error}") from None
    pairs = (entry.partition("=") for entry in options.oidc_required_claim)
    algorithms = tuple((options.oidc_signing_algs or "RS256").split(","))
    made = from_options(
        options.oidc_issuer_url, options.oidc_client_id, options.oidc_username_claim or "sub",
        options.oidc_username_prefix, options.oidc_groups_claim, options.oidc_groups_prefix, authority,
        {claim: value for claim, _, value in pairs}, algorithms,
    )  # fmt: skip
    return {"jwt": (made,)}


def _admission(options: argparse.Namespace) -> dict[str, Any]:
    def names(text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())

    enabled, disabled = names(options.enable_admission_plugins), names(options.disable_admission_plugins)
    told: dict[str, Any] = {}
    file = options.admission_control_config_file
    if file is not None:
        for entry in _document(file, "AdmissionConfiguration").get("plugins") or ():
            configuration = entry.get("configuration")
            if configuration is None and entry.get("path"):
                from cli._files import load_objects

                configuration = load_objects(file.parent / entry["path"])[0]
            told[str(entry.get("name"))] = configuration or {}
    if not (enabled or disabled or told):
        return {}
    from actors.apiserver.admission import chosen_plugins

    chosen_plugins(told, enabled, disabled)  # says what is wrong with them
    return {"enable_admission": enabled, "disable_admission": disabled, "admission_configuration": told}
