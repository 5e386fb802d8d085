"""What `make fuzz` found stays mended; and a little of it runs with every test."""

from __future__ import annotations

import pytest

from tests.fuzz import unguided
from tests.fuzz.target import FINDINGS
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_findings(name: str) -> None:
    """The first are sound, the others failed once."""
    target = TARGETS[name]
    for data in [*target.seeds, *target.words, *target.findings(), b""]:
        target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_are_nearly_right(name: str) -> None:
    """Any input at all, the more of them the longer `make fuzz` runs."""
    unguided.run(TARGETS[name], 100)


def test_every_finding_has_its_target() -> None:
    assert {folder.name for folder in FINDINGS.iterdir()} <= set(TARGETS)
