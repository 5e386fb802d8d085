"""Branches in place of jumps: a function's early return cannot stand in another's loop."""

from __future__ import annotations

import ast
from collections.abc import Sequence


class CannotInline(Exception):  # noqa: N818 - not an error: the function is called instead
    """Raised where a function's shape does not fit."""


def without_jumps(body: Sequence[ast.stmt], jump: type[ast.stmt]) -> list[ast.stmt]:
    """Write guards (`if …: return`) as branches, so that no jump is left.

    Raises CannotInline where a jump stands in a loop, a try, or gives a value.
    """
    done: list[ast.stmt] = []
    for number, part in enumerate(body):
        if isinstance(part, jump):
            if getattr(part, "value", None) is not None:
                raise CannotInline
            return done
        if not _has_jump(part, jump):
            done.append(part)
            continue
        if not isinstance(part, ast.If):
            raise CannotInline
        rest = body[number + 1 :]
        if _always_jumps(part.body, jump):
            taken, other = [*part.body], [*part.orelse, *rest]
        elif _always_jumps(part.orelse, jump):
            taken, other = [*part.body, *rest], [*part.orelse]
        else:
            raise CannotInline
        branch = without_jumps(taken, jump) or [ast.Pass()]
        done.append(ast.If(part.test, branch, without_jumps(other, jump)))
        return done
    return done


def _has_jump(node: ast.AST, jump: type[ast.stmt]) -> bool:
    if isinstance(node, jump):
        return True
    if jump is ast.Break and isinstance(node, ast.For | ast.While):
        return False
    return any(_has_jump(child, jump) for child in ast.iter_child_nodes(node))


def _always_jumps(body: Sequence[ast.stmt], jump: type[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], jump)
