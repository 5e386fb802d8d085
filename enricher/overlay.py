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
from typing import Any, NamedTuple

from enricher.fragments import Texts, Unfit, fragment, rows, unfit
from enricher.fuse import Fuser

READERS = ("note_failure", "dumps")
"""Functions that may be given the event itself: its own fields are all that they touch."""


class CannotOverlay(Exception):  # noqa: N818 - an answer, not an error
    """Raised where the stages do not allow it at all."""


class Site(NamedTuple):
    """One place that writes: `event.update(…)`, `event[…] = …` or `event.pop(…)`."""

    keys: frozenset[str]
    """What it may write."""
    arms: tuple[tuple[int, int], ...]
    """The branches it stands in: (number of the `if`, which arm)."""
    is_update: bool


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
        survey = _Survey(self, writes)
        for part in body:
            survey.visit(part)

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
            if not _exclusive(one.arms, other.arms):
                late |= one.keys & other.keys
        self.late = frozenset(late) & self.added
        for key in sorted(self.late | self.read & self.added):
            self._locals[key] = f"w{self.number()}_{key if key.isidentifier() else ''}"

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
        parts = ["dumps(event)[:-1]", *self.pieces]
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


def _exclusive(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    arms = dict(one)
    return any(number in arms and arms[number] != arm for number, arm in other)


def _item(node: ast.AST) -> str | None:
    """Give the field of `event["…"]`."""
    match node:
        case ast.Subscript(value=ast.Name(id="event"), slice=ast.Constant(value=str() as key)):
            return key
    return None


def _tested(node: ast.Compare) -> str | None:
    """Give the field of `"…" in event`."""
    match node:
        case ast.Compare(left=ast.Constant(value=str() as key), comparators=[ast.Name(id="event")]):
            return key
    return None


def _method(node: ast.AST) -> tuple[str, list[ast.expr]]:
    """Give method and arguments of `event.method(…)`; of all else an empty name."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="event"), attr=name), args=arguments):
            return name, arguments
    return "", []


def _text(node: ast.expr) -> str:
    """Give the constant text that a field is named by. Raises CannotOverlay for another."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise CannotOverlay


class _Survey(ast.NodeVisitor):
    """Collects the sites and the reads of one step."""

    def __init__(self, overlay: Overlay, writes: frozenset[str]) -> None:
        self.overlay = overlay
        self.writes = writes
        self.arms: list[tuple[int, int]] = []
        self.in_loop = False

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        number = self.overlay.number()
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
        if (key := _item(node.targets[0])) is not None:
            self._add(frozenset([key]), is_update=False)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if (key := _tested(node)) is not None:
            self.overlay.read.add(key)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name, arguments = _method(node)
        if name == "get":
            self.overlay.read.add(_text(arguments[0]))
        elif name == "pop":
            key = frozenset([_text(arguments[0])])
            if self.in_loop or any(key <= site.keys for site in self.overlay.sites):
                self._add(key, is_update=False)  # else there is nothing that could go
        elif name == "update":
            table = self.overlay.table(arguments[0])
            self._add(table.keys() if table else self.writes, is_update=True)
        self.generic_visit(node)

    def _add(self, keys: frozenset[str], *, is_update: bool) -> None:
        if is_update and self.in_loop:
            raise CannotOverlay
        self.overlay.sites.append(Site(keys, tuple(self.arms), is_update))


class _Rewrite(ast.NodeTransformer):
    """Replaces what one step does to the event."""

    def __init__(self, overlay: Overlay, writes: frozenset[str]) -> None:
        self.overlay = overlay
        self.writes = writes
        self.begun = overlay.begun

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        key = _item(node.targets[0])
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
        name, arguments = _method(node.value)
        if name == "update":
            return self._update(arguments[0])
        if name == "pop" and (key := _text(arguments[0])) in self.overlay.added:
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
        if table.chooser is None:
            made = row(table.values)
        elif type(table.values) is dict:
            made = {key: row(values) for key, values in table.values.items()}
        else:
            made = [row(values) for values in table.values]
        names = [piece, *(str(self.overlay.local(key)) for key in wanted)]
        target = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
        source: ast.expr = ast.Name(self.overlay.fuser.bind(made, "rows"), ast.Load())
        if table.chooser is not None:
            source = ast.Subscript(source, self.visit(table.chooser), ast.Load())
        return [ast.Assign([target], source)]

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        key = _tested(node)
        if key is None:
            return self.generic_visit(node)
        if name := self.overlay.local(key):
            sign = "is not" if isinstance(node.ops[0], ast.In) else "is"
            return ast.parse(f"{name} {sign} None", mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name, arguments = _method(node)
        if name == "get" and (local := self.overlay.local(_text(arguments[0]))):
            return ast.Name(local, ast.Load()) if len(arguments) == 1 else _UNFIT
        if name == "pop" and _text(arguments[0]) in self.overlay.added:
            return _UNFIT
        is_reader = isinstance(node.func, ast.Name) and node.func.id in READERS
        if name in ("get", "pop") or is_reader:
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        key = _item(node)
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
