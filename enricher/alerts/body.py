"""Bodies of mails, from files: what stands between two marks is written for each match.

    {$count} alerts of {$alert}, {$first} to {$last}
    {$each}
    {summary}: ₹{amount}, {user_id}
    {$end}
    {$more}

A mark is a line of its own. Outside of the marks, a field is one of the first match.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from enricher.alerts.digest import Digest
from enricher.alerts.text import KNOWN, Style, View, compile_text
from enricher.model import ConfigError, Problem
from enricher.template import parse

MOST_CHARACTERS = 100_000
"""Of the matches in one body; the first is told whatever its length, as its file bounds that."""
EACH, END = "{$each}", "{$end}"


def read_body(file: Path, style: Style, pipeline: str) -> Callable[[Digest], str]:
    """Build the function that writes a body. Raises ConfigError with every mistake in the file."""
    lines = _read(file).splitlines(keepends=True)
    problems = []
    marks: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        mark = line.strip()
        try:
            if mark in (EACH, END):
                _note(marks, mark, number)
            else:
                parse(line, KNOWN)
        except ValueError as error:
            problems.append(Problem(str(error), str(file), number, 1))
    if not problems and len(marks) < 2:
        text = (
            f'a line "{EACH}" and a line "{END}" must stand around what is written for each match'
        )
        problems.append(Problem(text, str(file), len(lines) or 1, 1))
    if problems:
        raise ConfigError(problems)
    first, last = marks[EACH], marks[END]
    parts = (lines[: first - 1], lines[first : last - 1], lines[last:])
    head, each, foot = (compile_text("".join(part), style) for part in parts)

    def write(digest: Digest) -> str:
        told: list[str] = []
        room = MOST_CHARACTERS
        for match in digest.shown:
            text = each(View(digest, match, digest.unseen, pipeline))
            room -= len(text)
            if told and room < 0:
                break
            told.append(text)
        about = View(digest, digest.shown[0], digest.count - len(told), pipeline)
        return head(about) + "".join(told) + foot(about)

    return write


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        text = "is not UTF-8"
    raise ConfigError([Problem(text, str(file))])


def _note(marks: dict[str, int], mark: str, number: int) -> None:
    if mark in marks:
        raise ValueError(f'"{mark}" stands in line {marks[mark]} already')
    if mark == END and EACH not in marks:
        raise ValueError(f'"{END}" stands before "{EACH}"')
    marks[mark] = number
