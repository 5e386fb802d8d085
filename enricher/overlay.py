"""Write what a pipeline adds to an event straight into its document.

Most stages add fields that the event did not have. Here those fields become locals of one
generated loop, and pieces of JSON that are put behind the event's own: nothing is added to the
dict, and what comes out of a table or a cache is written as JSON once, not once an event.

That is a bet on an event: that it brings none of the added fields itself and needs nothing that
can only be done to the whole of it. One that does not fit is decoded again and takes the plain
loops; a property test holds the two ways to the same documents.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, count
from typing import Any

from enricher.fragments import Texts, Unfit, fragment, rows, unfit
from enricher.fuse import Fuser
from enricher.survey import (
    CannotOverlay,
    Site,
    Table,
    exclusive,
    item_of,
    method_of,
    survey,
    tested_of,
    text_of,
)

READERS = ("note_failure", "dumps")
"""Functions that may be given the event itself: its own fields are all that they touch."""


class Overlay:
    """Rewrites statements on `event` so that added fields are locals.

    Args:
        fuser: knows the constants that the statements refer to.
        added: top-level fields that are to be locals.
    """

    def __init__(self, fuser: Fuser, added: frozenset[str]) -> None:
        self.fuser = fuser
        self.added = added
        self.sites: list[Site] = []
        self.read: set[str] = set()
        self.late: frozenset[str] = frozenset()
        """Fields that are written at the end, from their locals. What is written in one place
        only, and there as a part of something larger, is in a piece of JSON instead."""
        self.pieces: list[str] = []
        self.begun: set[str] = set()
        """Fields that the steps rewritten so far may have written."""
        self._locals: dict[str, str] = {}
        self._numbers = count()
        fuser.names.update(Unfit=Unfit, unfit=unfit)

    def survey(self, body: Iterable[ast.stmt], writes: frozenset[str]) -> None:
        """Note where a step writes and what it reads. Raises CannotOverlay."""
        sites, read = survey(body, self.table, writes, self.sites)
        self.sites += sites
        self.read |= read

    def settle(self) -> None:
        """Decide, after every step was surveyed, where each field goes."""
        while stays := [
            site.keys
            for site in self.sites
            if site.is_update and not (site.keys <= self.added or site.keys.isdisjoint(self.added))
        ]:  # what is written together goes to one place
            self.added = self.added.difference(*stays)
        late = {key for site in self.sites if not site.is_update for key in site.keys}
        for one, other in combinations(self.sites, 2):
            if not exclusive(one.arms, other.arms):
                late |= one.keys & other.keys
        self.late = frozenset(late) & self.added
        for key in sorted(self.late | self.read & self.added):
            # Python's parser takes `µ` for another letter, and a tree that was built does not.
            suffix = key if key.isascii() and key.isidentifier() else ""
            self._locals[key] = f"w{self.number()}_{suffix}"

    def rewrite(self, body: Iterable[ast.stmt], writes: frozenset[str]) -> list[ast.stmt]:
        """Rewrite the statements of a step, or of the ending."""
        rewriter = _Rewrite(self, writes)
        done: list[ast.stmt] = []
        for part in body:
            changed = rewriter.visit(part)
            done += changed if isinstance(changed, list) else [changed]
        return done

    def local(self, key: str | None) -> str | None:
        """Give the local that holds a field; None where there is none."""
        return self._locals.get(key or "")

    def piece(self) -> str:
        """Name one more piece of JSON."""
        self.pieces.append(f"piece_{self.number()}")
        return self.pieces[-1]

    def preset(self) -> list[str]:
        """Write the statements that begin an event anew."""
        lines = [f"{' = '.join(self._locals.values())} = None"] if self._locals else []
        return lines + ([f"{' = '.join(self.pieces)} = b''"] if self.pieces else [])

    def body(self, repeating: frozenset[str]) -> str:
        """Write the expression of the document; the texts of some fields are few."""
        # What was renamed or removed may have been all that there was: `{,` is no JSON.
        parts = ["dumps(event)[:-1] if event else unfit()", *self.pieces]
        for key in sorted(self.late):
            name, texts = self._locals[key], Texts(key)
            written = f"{texts.prefix!r} + dumps({name})"
            if key in repeating:
                held = self.fuser.bind(texts, "texts")
                written = f"({held}[{name}] if type({name}) is str else {written})"
            parts.append(f"{written} if {name} is not None else b''")
        return f"join(({', '.join(parts)}, b'}}'))"

    def table(self, node: ast.expr) -> Table | None:
        """Give the constants that an update chooses from; None where they come at run time."""
        chooser = node.slice if isinstance(node, ast.Subscript) else None
        source = node.value if isinstance(node, ast.Subscript) else node
        values = self.fuser.names.get(source.id) if isinstance(source, ast.Name) else None
        table = Table(values, chooser) if type(values) in (dict, list, tuple) else None
        return table if table and table.is_constant() else None

    def number(self) -> int:
        """Give a number that nothing else has."""
        return next(self._numbers)


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
            local = self.overlay.local(key)
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
        known, make = rows(overlay.late, wanted)
        held, maker = overlay.fuser.bind(known, "rows"), overlay.fuser.bind(make, "make_row")
        new, row = f"new_{piece}", f"row_{piece}"
        names = [str(overlay.local(key)) for key in wanted]
        lines = [
            f"{row} = {held}.get(id({new}))",
            f"if {row} is None or {row}[0] is not {new}:",
            f"    {row} = {maker}({new})",
            f"{', '.join([new, piece, *names])} = {row}",
        ]
        # What an earlier step wrote stays where this one brings nothing.
        kept = [name for key, name in zip(wanted, names, strict=True) if key in self.begun]
        lines[:0] = [f"kept_{name} = {name}" for name in kept]
        lines += [f"if {name} is None: {name} = kept_{name}" for name in kept]
        self.begun |= keys
        first = ast.Assign([ast.Name(new, ast.Store())], self.visit(values))
        return [first, *ast.parse("\n".join(lines)).body]

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
            sign = "is not" if isinstance(node.ops[0], ast.In) else "is"
            return ast.parse(f"{name} {sign} None", mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name, arguments = method_of(node)
        if name == "get" and (local := self.overlay.local(text_of(arguments[0]))):
            return ast.Name(local, ast.Load()) if len(arguments) == 1 else _UNFIT
        if name == "pop" and text_of(arguments[0]) in self.overlay.added:
            return _UNFIT
        is_reader = isinstance(node.func, ast.Name) and node.func.id in READERS
        if name in ("get", "pop") or is_reader:
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        return self.generic_visit(node)

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
