"""A file that others write is read as it was at one moment, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from enricher import steady


def test_a_file_at_rest(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("text")
    with steady.opened(file) as content:
        assert content.read() == b"text"
    assert content.closed


def test_a_file_that_is_written_meanwhile(tmp_path: Path) -> None:
    """Longer, or of the same length: the error says what to do instead."""
    file = tmp_path / "f"
    for new in ("longer text", "xxxx"):
        file.write_text("text")
        os.utime(file, (1, 1))
        with pytest.raises(OSError, match="rename that over it"), steady.opened(file) as content:
            content.read(1)
            file.write_text(new)


def test_a_file_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    """The old one is read to its end."""
    file, new = tmp_path / "f", tmp_path / "new"
    file.write_text("old")
    new.write_text("new")
    with steady.opened(file) as content:
        first = content.read(1)
        new.rename(file)
        assert first + content.read() == b"old"


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe without a writer is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"), steady.opened(tmp_path / "pipe"):
        pass
    with pytest.raises(IsADirectoryError), steady.opened(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), steady.opened(tmp_path / "away"):
        pass
