"""Read a field once an event where many stages ask for it.

Works on the generated loop: a field that nothing in the loop writes is read into a local at the
top, and a comparison of such locals with constants that stands twice is made once.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable


def hoist(body: list[ast.stmt], written: Iterable[str]) -> list[ast.stmt]:
    """Rewrite the body of a loop over `event`; gives the statements to put before it.

    Args:
        body: changed in place.
        written: fields that the body may write or remove.
    """
    taken = set(written)
    reads = Counter(field for part in body for field in fields_read(part))
    locals_by_field = {
        field: f"field_{number}"
        for number, (field, uses) in enumerate(reads.items())
        if uses > 1 and field not in taken
    }
    _rewrite(body, _Fields(locals_by_field))
    before = [
        ast.parse(f"{name} = event.get({field!r})").body[0]
        for field, name in locals_by_field.items()
    ]
    known = set(locals_by_field.values())
    tests = Counter(text for part in body for text in _tests(part, known))
    locals_by_test = {
        text: f"test_{number}" for number, (text, uses) in enumerate(tests.items()) if uses > 1
    }
    _rewrite(body, _Tests(locals_by_test))
    return before + [ast.parse(f"{name} = {text}").body[0] for text, name in locals_by_test.items()]


def _rewrite(body: list[ast.stmt], transformer: ast.NodeTransformer) -> None:
    body[:] = [transformer.visit(part) for part in body]


def _field_of(node: ast.AST) -> str | None:
    """Give the field that `event.get('…')` reads."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="event"), attr="get"),
            args=[ast.Constant(value=str() as field)],
        ):
            return field
    return None


def fields_read(tree: ast.AST) -> list[str]:
    """Give every field that is read by `event.get('…')`, as often as it is."""
    return [field for node in ast.walk(tree) if (field := _field_of(node)) is not None]


class _Fields(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        field = _field_of(node)
        if field in self.names:
            return ast.Name(self.names[field], ast.Load())
        return self.generic_visit(node)


def _test_of(node: ast.AST, known: set[str]) -> str | None:
    """Give the text of a comparison between a local of ours and a constant."""
    match node:
        case ast.Compare(left=ast.Name(id=name), comparators=[ast.Constant()]) if name in known:
            return ast.unparse(node)
    return None


def _tests(tree: ast.AST, known: set[str]) -> list[str]:
    return [text for node in ast.walk(tree) if (text := _test_of(node, known)) is not None]


class _Tests(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        name = self.names.get(ast.unparse(node))
        return ast.Name(name, ast.Load()) if name else self.generic_visit(node)
