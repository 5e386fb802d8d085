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
from collections.abc import Iterable, Sequence
from itertools import combinations, count

from enricher.derive import Derived, Part, Places, take_out
from enricher.fold import fold, loaded, stored
from enricher.fragments import Texts, Unfit, unfit
from enricher.fuse import Fuser
from enricher.hoist import fields_read
from enricher.model import Shared
from enricher.rewrite import RowSite, rewrite
from enricher.survey import (
    Site,
    Table,
    exclusive,
    survey,
)


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
        self.row_sites: list[RowSite] = []
        self.batch: dict[str, str] = {}
        """Locals that are set when a batch begins, and the expressions that they stand for."""
        self.outputs: frozenset[str] = frozenset()
        """Locals that were derived when the batch began."""
        self.begun: set[str] = set()
        """Fields that the steps rewritten so far may have written."""
        self._locals: dict[str, str] = {}
        self._numbers = count()
        fuser.names.update(Unfit=Unfit, unfit=unfit, Shared=Shared)

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

    def rewrite(self, body: Sequence[ast.stmt], writes: frozenset[str]) -> Part:
        """Rewrite the statements of a step, or of the ending."""
        if any(isinstance(node, ast.For) for part in body for node in ast.walk(part)):
            self.begun |= writes  # a later round may read what an earlier one wrote
        return fold(rewrite(body, self, writes))

    def derive(self, parts: list[Part], written: frozenset[str]) -> list[str]:
        """Take what an event does not change out of the loop; gives what a batch begins with.

        Args:
            parts: the steps and the ending, rewritten; changed in place.
            written: fields that the steps may write.
        """
        lines = [f"{name} = {source}" for name, source in self.batch.items()]
        if made := self._take_out(parts, -1, list(self.batch), None):
            self.outputs = frozenset(made.outputs)
            call = f"{self.fuser.bind(made.derive)}({', '.join(self.batch)})"
            lines.append(f"({', '.join([self.piece(), *made.outputs])},) = {call}")
        for at, part in enumerate(parts):
            names = stored(part)
            sites = [one for one in self.row_sites if one.piece in names]
            if len(sites) == 1 and sites[0].inputs:
                self._derive_rows(parts, at, sites[0], written)
        used = set[str]().union(*map(loaded, parts), (self._locals[key] for key in self.late))
        for site in self.row_sites:
            site.keep(used)
        return lines

    def _derive_rows(
        self, parts: list[Part], at: int, site: RowSite, written: frozenset[str]
    ) -> None:
        guard = None
        match parts[at]:
            case [ast.If(test=test)] if written.isdisjoint(fields_read(test)):
                guard = None if loaded([test]) & self.places().locals else ast.unparse(test)
        if made := self._take_out(parts, at, site.inputs, guard):
            site.rows.derive = made.derive
            site.target.elts[:] = [ast.Name(name, ast.Store()) for name in made.outputs]

    def _take_out(
        self, parts: list[Part], at: int, inputs: Sequence[str], guard: str | None
    ) -> Derived | None:
        made = take_out(parts, at, inputs, self.places(), guard)
        if made:
            self.late -= made.fields
            self.pieces = [piece for piece in self.pieces if piece not in made.pieces]
        return made

    def places(self) -> Places:
        """Say where fields are."""
        late = {key: self._locals[key] for key in sorted(self.late)}
        every = frozenset(self._locals.values())
        return Places(self.fuser.names, every, frozenset(self.pieces), late)

    def local(self, key: str | None) -> str | None:
        """Give the local that holds a field; None where there is none."""
        return self._locals.get(key or "")

    def piece(self) -> str:
        """Name one more piece of JSON."""
        self.pieces.append(f"piece_{self.number()}")
        return self.pieces[-1]

    def preset(self, parts: Iterable[Part]) -> list[str]:
        """Write the statements that begin an event anew."""
        used = set[str]().union(*(loaded(part) | stored(part) for part in parts))
        used |= {self._locals[key] for key in self.late}
        fields = [n for n in self._locals.values() if n in used and n not in self.outputs]
        pieces = [piece for piece in self.pieces if piece in used]
        lines = [f"{' = '.join(fields)} = None"] if fields else []
        return lines + ([f"{' = '.join(pieces)} = b''"] if pieces else [])

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
