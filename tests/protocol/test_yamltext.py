"""Manifests as people write them."""

from __future__ import annotations

import yaml

from protocol.yamltext import manifest_loader


def test_a_lone_equals_sign_is_text() -> None:
    text = "enum: [=, '=', '!=']\nmatch: =\n---\na: 1\n"
    first, second = yaml.load_all(text, manifest_loader())
    assert first == {"enum": ["=", "=", "!="], "match": "="}
    assert second == {"a": 1}
