"""Wrong types in a strategic merge patch read as the converter says them."""

from __future__ import annotations

import pytest

from actors.apiserver.patch._restore import restore_words


@pytest.mark.parametrize(
    ("decoder", "converter"),
    [
        ("json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32", "unrecognized type: int32"),
        ("json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string", "unrecognized type: string"),
        ("json: cannot unmarshal string into Go struct field X.labels of type map[string]string", "cannot restore map from string"),
        ("json: cannot unmarshal object into Go struct field X.containers of type []v1.Container", "cannot restore slice from map"),
        ("json: cannot unmarshal string into Go struct field X.spec of type v1.PodSpec", "cannot restore struct from: string"),
        ("json: cannot unmarshal number 1.5 into Go struct field X.replicas of type int32", "unrecognized type: int32"),
        ("quantities must match the regular expression", "quantities must match the regular expression"),
    ],
)
def test_a_wrong_type_reads_as_the_converter_says_it(decoder: str, converter: str) -> None:
    assert restore_words(decoder) == converter
