"""Rewrite what one step does to an event: added fields become locals and pieces of JSON."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from enricher.fragments import Rows, Unfit, fragment
from enricher.survey import CannotOverlay, Table, item_of, method_of, tested_of, text_of

if TYPE_CHECKING:
    from enricher.overlay import Overlay

READERS = ("note_failure", "dumps")
"""Functions that may be given the event itself: its own fields are all that they touch."""


class RowSite(NamedTuple):
    """One place where a row of a cache is taken apart."""

    rows: Rows
    piece: str
    target: ast.List
    """The locals that it is taken apart into: what later steps read."""
    inputs: list[str]

    def keep(self, used: Collection[str]) -> None:
        """Keep no more in a row than what is used."""
        if self.rows.derive is None:
            kept = [place for place, name in enumerate(self.inputs) if name in used]
            self.rows.wanted = [self.rows.wanted[place] for place in kept]
            self.target.elts[:] = [self.target.elts[place] for place in kept]


def rewrite(body: Iterable[ast.stmt], overlay: Overlay, writes: frozenset[str]) -> list[ast.stmt]:
    """Rewrite the statements of one step, which may write these fields."""
    rewriter = _Rewrite(overlay, writes)
    done: list[ast.stmt] = []
    for part in body:
        changed = rewriter.visit(part)
        done += changed if isinstance(changed, list) else [changed]
    return done


class _Rewrite(ast.NodeTransformer):
    """Replaces what one step does to the event."""

    def __init__(self, overlay: Overlay, writes: frozenset[str]) -> None:
        self.overlay = overlay
        self.writes = writes
        self.begun = overlay.begun

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        key = item_of(node.targets[0])
        name = self.overlay.local(key)
        if key is None:
            return self.generic_visit(node)
        if name is None:
            return ast.Assign(node.targets, self.visit(node.value))
        self.begun.add(key)
        done: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], self.visit(node.value))]
        if not isinstance(node.value, ast.Constant) or node.value.value is None:
            done += ast.parse(f"if {name} is None: raise Unfit").body
        return done

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        name, arguments = method_of(node.value)
        if name == "update":
            return self._update(arguments[0])
        if name == "pop" and (key := text_of(arguments[0])) in self.overlay.added:
            local = self.overlay.local(key) if key in self.begun else None
            return ast.parse(f"{local} = None" if local else "pass").body
        return self.generic_visit(node)

    def _update(self, values: ast.expr) -> ast.stmt | list[ast.stmt]:
        overlay = self.overlay
        table = overlay.table(values)
        keys = table.keys() if table else self.writes
        if keys.isdisjoint(overlay.added):
            return ast.Expr(ast.Call(_UPDATE, [self.visit(values)], []))
        piece = overlay.piece()
        wanted = sorted(key for key in keys if overlay.local(key))
        if table and table.is_even(self.begun.intersection(wanted)):
            self.begun |= keys
            return self._from_table(table, piece, wanted)
        rows = Rows(overlay.late, wanted)
        owner, maker = overlay.fuser.bind(rows, "rows"), overlay.fuser.bind(rows.make, "make")
        new = f"new_{piece}"
        names = [str(overlay.local(key)) for key in wanted]
        lines = [
            f"if type({new}) is not Shared or {new}.owner is not {owner}: {maker}({new})",
            f"{piece} = {new}.piece",
            f"[{', '.join(names)}] = {new}.row",
        ]
        done: list[Any] = ast.parse("\n".join(lines)).body
        # What an earlier step wrote stays where this one brings nothing.
        kept = [name for key, name in zip(wanted, names, strict=True) if key in self.begun]
        if not kept:
            overlay.row_sites.append(RowSite(rows, piece, done[-1].targets[0], names))
        before = ast.parse("\n".join(f"kept_{name} = {name}" for name in kept)).body
        after = [f"if {name} is None: {name} = kept_{name}" for name in kept]
        self.begun |= keys
        first = ast.Assign([ast.Name(new, ast.Store())], self.visit(values))
        return [first, *before, *done, *ast.parse("\n".join(after)).body]

    def _from_table(self, table: Table, piece: str, wanted: Sequence[str]) -> list[ast.stmt]:
        """Make the pieces of JSON of a constant table now, and take one by its index."""

        def row(values: Mapping[str, Any]) -> tuple[Any, ...]:
            return (fragment(values, self.overlay.late), *(values.get(key) for key in wanted))

        made: Any
        try:
            if table.chooser is None:
                made = row(table.values)
            elif type(table.values) is dict:
                made = {key: row(values) for key, values in table.values.items()}
            else:
                made = [row(values) for values in table.values]
        except Unfit:  # a constant that no event can be written with
            raise CannotOverlay from None
        names = [piece, *(str(self.overlay.local(key)) for key in wanted)]
        target = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
        source: ast.expr = ast.Name(self.overlay.fuser.bind(made, "rows"), ast.Load())
        if table.chooser is not None:
            source = ast.Subscript(source, self.visit(table.chooser), ast.Load())
        return [ast.Assign([target], source)]

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        key = tested_of(node)
        if key is None:
            return self.generic_visit(node)
        if name := self.overlay.local(key):
            name = name if key in self.begun else "None"
            sign = "is not" if isinstance(node.ops[0], ast.In) else "is"
            return ast.parse(f"{name} {sign} None", mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name, arguments = method_of(node)
        if name == "get" and (local := self.overlay.local(text_of(arguments[0]))):
            if len(arguments) > 1:
                return _UNFIT
            begun = text_of(arguments[0]) in self.begun
            return ast.Name(local, ast.Load()) if begun else ast.Constant(None)
        if name == "pop" and text_of(arguments[0]) in self.overlay.added:
            return _UNFIT
        is_reader = isinstance(node.func, ast.Name) and node.func.id in READERS
        if name in ("get", "pop") or is_reader:
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        if isinstance(node.func, ast.Name) and not (node.args or node.keywords):
            return self._once_a_batch(node)
        return self.generic_visit(node)

    def _once_a_batch(self, node: ast.Call) -> ast.expr:
        """Call what knows nothing of an event, such as `{$now}`'s clock, when a batch begins."""
        name = f"batch_{node.func.id}"  # type: ignore[attr-defined]
        self.overlay.batch[name] = ast.unparse(node)
        return ast.Name(name, ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        key = item_of(node)
        if key is None:
            return self.generic_visit(node)
        if key in self.overlay.added:
            raise CannotOverlay
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        # The event as a whole: who knows what is done with it.
        return _UNFIT if node.id == "event" else node


_UPDATE = ast.Attribute(ast.Name("event", ast.Load()), "update", ast.Load())
_UNFIT = ast.Call(ast.Name("unfit", ast.Load()), [], [])
