"""What these tests stand on."""

import pytest


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at files without the pauses that a daemon makes."""
    monkeypatch.setattr("enricher.tail.source.LOOK_S", 0.01)
    monkeypatch.setattr("enricher.tail.source._SAVE_S", 0.01)
