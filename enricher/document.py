"""YAML as people mean it: 1.2's booleans, no duplicate keys, bounded aliases, and line numbers.

`NO` is a country, `1:30` is a text, a key written twice is a mistake. Variables are put in
after the text is parsed, inside single texts only: a value can never add structure.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from enricher.model import Problem

Path_ = tuple[str | int, ...]
MAX_NODES = 200_000
"""Values in one file, aliases counted each time: a few lines cannot grow into gigabytes."""
MAX_BYTES = 8 << 20
MAX_DEPTH = 100
"""Of nested values."""
_TOO_MUCH = "too many or too deep values"
MISSING = "missing-"
"""Begins what stands in for a missing variable where that is allowed; its name follows."""
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Mark(NamedTuple):
    """Where a value stands in its file, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A parsed file: the value, and where each part of it stands."""

    file: str
    value: Any = field(default=None, repr=False)
    """Variables are put in, so secrets may be in it."""
    marks: dict[Path_, Mark] = field(default_factory=dict)
    """By path; a key of a mapping has the mark of the key, and `(path, "=")` that of its text,
    where that stands in the file as it is (on one line, without escapes)."""
    problems: list[Problem] = field(default_factory=list)
    missing: set[Path_] = field(default_factory=set)
    """Texts with a variable that is not set: what else is wrong with them follows from that."""
    variables: dict[Path_, str] = field(default_factory=dict)
    """The first variable of a text, by the path of the text."""

    def problem(self, path: Path_, message: str, offset: int = 0) -> Problem:
        """Make a problem at a path, or at the nearest parent that has a place."""
        where: Path_ = path
        while where and where not in self.marks:
            where = where[:-1]
        value_mark = self.marks.get((*where, "="))
        mark = self.marks.get(where, Mark(1, 1))
        if offset and value_mark:
            mark = Mark(value_mark.line, value_mark.column + offset)
        return Problem(message, self.file, mark.line, mark.column, show(path))

    def gap(self, path: Path_) -> Path_ | None:
        """Give the path of the text with a missing variable that a place lies in, if any."""
        return next(
            (path[:end] for end in range(len(path) + 1) if path[:end] in self.missing), None
        )


def show(path: Path_) -> str:
    """Write a path as people read it: `stages[3].translate`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, file: str) -> Document:
    """Parse YAML; mistakes are gathered in `problems`."""
    document = Document(file)
    if len(text) > MAX_BYTES:
        document.problems.append(Problem(f"larger than {MAX_BYTES} bytes", file, 1, 1))
        return document
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        if root is not None:
            document.value = _Reader(document).read(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = " ".join(filter(None, (error.context, error.problem)))
        document.problems.append(Problem(f"bad YAML: {reason}", file, line, column))
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deep"
        document.problems.append(Problem(f"bad YAML: {reason}", file, 1, 1))
    return document


def _check_depth(text: str) -> None:
    """Raise MarkedYAMLError for values nested too deep: composing them would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem=_TOO_MUCH, problem_mark=mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Turns YAML nodes into values, and keeps where each one stands."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def read(self, node: yaml.Node, path: Path_) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_MUCH, problem_mark=node.start_mark)
        mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        self.document.marks.setdefault(path, mark)
        if isinstance(node, yaml.ScalarNode):
            quoted = node.style in ("'", '"')
            width = node.end_mark.column - node.start_mark.column
            if node.end_mark.line == node.start_mark.line and width == len(node.value) + 2 * quoted:
                self.document.marks[(*path, "=")] = Mark(mark.line, mark.column + quoted)
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, n)) for n, item in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = Mark(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(mark, path, "a key must be a text")
                continue
            key = key_node.value
            if key in values:
                self.complain(mark, path, f'duplicate key "{key}"')
            self.document.marks[(*path, key)] = mark
            values[key] = self.read(value_node, (*path, key))
        return values

    def complain(self, mark: Mark, path: Path_, message: str) -> None:
        problem = Problem(message, self.document.file, mark.line, mark.column, show(path))
        self.document.problems.append(problem)


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.tag not in ("tag:yaml.org,2002:str", *_IMPLICIT):
        raise yaml.MarkedYAMLError(problem=f"unknown tag {node.tag}", problem_mark=node.start_mark)
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 400:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


_IMPLICIT = tuple(
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "timestamp", "merge", "value")
)  # fmt: skip


def substitute(
    document: Document, environment: Mapping[str, str], *, allow_missing: bool = False
) -> None:
    """Put variables into every text of the document but those under `tests`."""
    if isinstance(document.value, dict):
        for key, value in document.value.items():
            if key != "tests":
                resolve = _resolver(document, environment, allow_missing=allow_missing)
                document.value[key] = _walk(value, (key,), resolve)


def _walk(value: Any, path: Path_, resolve: Callable[[str, Path_], str]) -> Any:
    if isinstance(value, str):
        return resolve(value, path) if "${" in value else value
    if isinstance(value, list):
        return [_walk(item, (*path, n), resolve) for n, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _walk(item, (*path, key), resolve) for key, item in value.items()}
    return value


def _resolver(
    document: Document, environment: Mapping[str, str], *, allow_missing: bool
) -> Callable[[str, Path_], str]:
    def resolve(text: str, path: Path_) -> str:
        def put_in(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            document.variables.setdefault(path, found[1].partition(":-")[0])
            try:
                return lookup(found[1], environment)
            except LookupError as error:
                document.missing.add(path)
                if not allow_missing:
                    document.problems.append(document.problem(path, str(error.args[0])))
                return f"{MISSING}{found[1]}"

        return _VARIABLE.sub(put_in, text)

    return resolve


def lookup(inside: str, environment: Mapping[str, str]) -> str:
    """Give what `${…}` stands for. Raises LookupError that names what is missing."""
    if inside.startswith("file:"):
        file = Path(inside[5:])
        try:
            return file.read_text("utf-8").rstrip("\n")
        except (OSError, ValueError) as error:  # NUL in a path is a ValueError
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise LookupError(f"the secret file {file} cannot be read: {reason}") from None
    found = _NAME.fullmatch(inside)
    if not found:
        raise LookupError(f'"${{{inside}}}" is no variable: write ${{NAME}} or ${{NAME:-default}}')
    name, default = found.groups()
    value = environment.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise LookupError(f"the variable {name} is not set: set it, or write ${{{name}:-default}}")
    return value


def read_file(file: Path) -> Document:
    """Read and parse a file; what hinders it is a problem, too."""
    try:
        return parse(file.read_text("utf-8-sig"), str(file))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return Document(str(file), problems=[Problem(f"cannot be read: {reason}", str(file))])
    except UnicodeDecodeError:
        return Document(str(file), problems=[Problem("is not UTF-8", str(file))])
