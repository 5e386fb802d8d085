"""Where a step writes to an event, and what it reads of it: read off its generated statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple


class CannotOverlay(Exception):  # noqa: N818 - an answer, not an error
    """Raised where the stages do not allow it at all."""


class Site(NamedTuple):
    """One place that writes: `event.update(…)`, `event[…] = …` or `event.pop(…)`."""

    keys: frozenset[str]
    """What it may write."""
    arms: tuple[tuple[int, int], ...]
    """The branches it stands in: (number of the `if`, which arm)."""
    is_update: bool


def exclusive(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    """Say whether two places never both run."""
    arms = dict(one)
    return any(number in arms and arms[number] != arm for number, arm in other)


class Table(NamedTuple):
    """Constant fields, or several of them and what chooses one."""

    values: Any
    chooser: ast.expr | None

    def rows(self) -> list[Any]:
        """Give every choice."""
        if self.chooser is None:
            return [self.values]
        return list(self.values.values() if type(self.values) is dict else self.values)

    def is_constant(self) -> bool:
        """Say whether it is made of fields. Raises CannotOverlay for one that is null."""
        rows = self.rows()
        if not rows or any(type(row) is not dict for row in rows):
            return False
        if any(None in row.values() for row in rows):
            raise CannotOverlay  # a local that is None stands for a field that is absent
        return True

    def keys(self) -> frozenset[str]:
        """Give the fields of all choices."""
        return frozenset[str]().union(*self.rows())

    def is_even(self, keys: Iterable[str]) -> bool:
        """Say whether every choice has these fields."""
        wanted = set(keys)
        return all(wanted <= row.keys() for row in self.rows())


def item_of(node: ast.AST) -> str | None:
    """Give the field of `event["…"]`."""
    match node:
        case ast.Subscript(value=ast.Name(id="event"), slice=ast.Constant(value=str() as key)):
            return key
    return None


def tested_of(node: ast.Compare) -> str | None:
    """Give the field of `"…" in event`."""
    match node:
        case ast.Compare(left=ast.Constant(value=str() as key), comparators=[ast.Name(id="event")]):
            return key
    return None


def method_of(node: ast.AST) -> tuple[str, list[ast.expr]]:
    """Give method and arguments of `event.method(…)`; of all else an empty name."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="event"), attr=name), args=arguments):
            return name, arguments
    return "", []


def text_of(node: ast.expr) -> str:
    """Give the constant text that a field is named by. Raises CannotOverlay for another."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise CannotOverlay


_NUMBERS = count()
"""Tells one `if` from another."""


def survey(
    body: Iterable[ast.stmt],
    table: Callable[[ast.expr], Table | None],
    writes: frozenset[str],
    before: Sequence[Site],
) -> tuple[list[Site], set[str]]:
    """Give the places where a step writes and the fields that it reads. Raises CannotOverlay.

    Args:
        body: its statements.
        table: gives the constants that an update chooses from.
        writes: what it may write.
        before: where the steps before it write.
    """
    visitor = _Survey(table, writes, before)
    for part in body:
        visitor.visit(part)
    return visitor.sites, visitor.read


class _Survey(ast.NodeVisitor):
    def __init__(
        self,
        table: Callable[[ast.expr], Table | None],
        writes: frozenset[str],
        before: Sequence[Site],
    ) -> None:
        self.before = before
        self.sites: list[Site] = []
        self.read: set[str] = set()
        self.table = table
        self.writes = writes
        self.arms: list[tuple[int, int]] = []
        self.in_loop = False

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        number = next(_NUMBERS)
        for arm, body in enumerate((node.body, node.orelse)):
            self.arms.append((number, arm))
            for part in body:
                self.visit(part)
            self.arms.pop()

    def visit_For(self, node: ast.For) -> None:
        outer, self.in_loop = self.in_loop, True
        self.generic_visit(node)
        self.in_loop = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        if (key := item_of(node.targets[0])) is not None:
            self._add(frozenset([key]), is_update=False)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if (key := tested_of(node)) is not None:
            self.read.add(key)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name, arguments = method_of(node)
        if name == "get":
            self.read.add(text_of(arguments[0]))
        elif name == "pop":
            key = frozenset([text_of(arguments[0])])
            if self.in_loop or any(key <= site.keys for site in (*self.before, *self.sites)):
                self._add(key, is_update=False)  # else there is nothing that could go
        elif name == "update":
            table = self.table(arguments[0])
            self._add(table.keys() if table else self.writes, is_update=True)
        self.generic_visit(node)

    def _add(self, keys: frozenset[str], *, is_update: bool) -> None:
        if is_update and self.in_loop:
            raise CannotOverlay
        self.sites.append(Site(keys, tuple(self.arms), is_update))
