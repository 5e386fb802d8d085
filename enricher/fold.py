"""What is known of statements when they are generated: names, and branches never taken."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence


def loaded(body: Sequence[ast.AST]) -> set[str]:
    """Give the names that statements read."""
    nodes = (node for part in body for node in ast.walk(part))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def stored(body: Sequence[ast.AST]) -> set[str]:
    """Give the names that statements set."""
    nodes = [node for part in body for node in ast.walk(part)]
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return stored | {n.name for n in nodes if isinstance(n, ast.ExceptHandler) and n.name}


def fold(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Rewrite statements without the branches that are never taken."""
    folder = _Fold()
    done: list[ast.stmt] = []
    for part in body:
        changed = folder.visit(part)
        done += changed if isinstance(changed, list) else [changed]
    return [part for part in done if not is_idle(part)]


def is_idle(part: ast.stmt) -> bool:
    """Say whether a statement does nothing."""
    if isinstance(part, ast.Try):
        return all(map(is_idle, part.body))
    return isinstance(part, ast.Pass)


class _Fold(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Compare(
                left=ast.Constant(value=left),
                ops=[ast.Is() | ast.IsNot() as sign],
                comparators=[ast.Constant(value=None)],
            ):
                return ast.Constant((left is None) == isinstance(sign, ast.Is))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        decides = isinstance(node.op, ast.Or)
        """The truth of an operand that makes those after it irrelevant."""
        kept: list[ast.expr] = []
        for operand in node.values:
            kept.append(operand)
            if isinstance(operand, ast.Constant):
                if bool(operand.value) is decides:
                    break
                if operand is not node.values[-1]:
                    kept.pop()
        return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        test = self.visit(node.test)
        body, orelse = fold(node.body), fold(node.orelse)
        if isinstance(test, ast.Constant):
            return body if test.value else orelse
        if not body and not orelse:
            return ast.Pass()  # tests have no effects
        return ast.If(test, body or [ast.Pass()], orelse)

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        return ast.Try(fold(node.body) or [ast.Pass()], node.handlers, node.orelse, node.finalbody)
