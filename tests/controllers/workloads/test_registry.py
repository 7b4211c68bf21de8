"""What `--controllers` chooses."""

from __future__ import annotations

import pytest

from actors.controllers._registry import ABSENT, ALIASES, CONTROLLERS, load, selected


def names(text: str) -> list[str]:
    return [entry.name for entry in selected(text)]


def test_a_star_is_all_that_are_on_by_default() -> None:
    assert names("*") == [entry.name for entry in CONTROLLERS if entry.on]


def test_one_can_be_taken_out_and_one_put_in() -> None:
    assert "job-controller" not in names("*,-job-controller")
    assert "token-cleaner-controller" in names("*,token-cleaner-controller")
    assert names("deployment-controller") == ["deployment-controller"]


def test_the_old_names_mean_the_same() -> None:
    assert names("deployment,-job") == ["deployment-controller"]
    assert set(ALIASES.values()) <= {entry.name for entry in CONTROLLERS} | set(ABSENT)


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match='"nonsense" is not in the list of known controllers'):
        selected("*,-nonsense")


def test_what_is_not_here_may_be_left_out_but_not_asked_for() -> None:
    assert names("*,-route,-cloud-node-lifecycle") == names("*")
    with pytest.raises(ValueError, match='"node-route-controller" is not implemented'):
        selected("*,route")


@pytest.mark.parametrize("entry", CONTROLLERS, ids=lambda e: e.name)
def test_every_entry_loads_to_something_that_can_be_made(entry: object) -> None:
    assert callable(load(entry))  # type: ignore[arg-type]
