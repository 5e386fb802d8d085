"""Write a stage's function into the plan's loop, in place of calling it.

A stage is written as a plain closure. Here its source is read back, its locals get names of
their own, what it closed over becomes a constant, a loop over a constant tuple is unrolled, a
test on a constant is decided, and the small functions of `inline.py` are written out. What does
not fit is called: the result is the same, and a property test holds the two together.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import textwrap
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any

from enricher.fold import loaded, stored
from enricher.functions import is_finite
from enricher.inline import Inline, inline_of
from enricher.jumps import CannotInline, without_jumps

MAX_UNROLL = 32
"""Elements of a tuple that a loop is unrolled over; a longer one stays a loop."""
MAX_DEPTH = 100
"""Levels of an expression's tree that is written out; each takes three of Python's thousand."""
_FORBIDDEN = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Global, ast.Nonlocal,
    ast.Yield, ast.YieldFrom, ast.Await, ast.With, ast.Import, ast.ImportFrom, ast.Delete,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Match,
)  # fmt: skip
_SIMPLE = (str, int, float, bool, type(None))


class Fuser:
    """Collects the constants of one generated function."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        """What the generated source refers to."""
        self._numbers = itertools.count()
        self._bound: dict[int, str] = {}

    def bind(self, value: Any, hint: str = "c") -> str:
        """Give the name by which the generated source reaches a value."""
        if id(value) not in self._bound:
            self._bound[id(value)] = f"{hint}_{next(self._numbers)}"
            self.names[self._bound[id(value)]] = value
        return self._bound[id(value)]

    def statements(self, function: Callable[..., Any], arguments: Sequence[str]) -> str:
        """Write the statements that do what `function(*arguments)` does."""
        try:
            return ast.unparse(ast.fix_missing_locations(self._inlined(function, arguments)))
        except (CannotInline, OSError, TypeError, ValueError, SyntaxError):
            return f"{self.bind(function, 'call')}({', '.join(arguments)})"

    def expression(self, function: Callable[..., Any], arguments: Sequence[str]) -> str:
        """Write the expression that gives what `function(*arguments)` gives."""
        inline = inline_of(function)
        names: list[ast.expr] = [ast.Name(argument, ast.Load()) for argument in arguments]
        if inline is not None and not inline.is_statement:
            try:
                return ast.unparse(self.expand(inline, names))
            except CannotInline:
                pass
        return f"{self.bind(function, 'call')}({', '.join(arguments)})"

    def expand(self, inline: Inline, arguments: Sequence[ast.expr]) -> ast.AST:
        """Put arguments and constants into the source of a small function."""
        tree = ast.parse(inline.source, mode="exec").body[0]
        if _is_deep(tree):
            raise CannotInline
        prefix = f"t{next(self._numbers)}"
        by_name = dict(zip(inline.parameters, arguments, strict=True))
        for name, argument in by_name.items():
            uses = sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree))
            if uses > 1 and not isinstance(argument, ast.Name | ast.Constant):
                raise CannotInline
        scope = _Scope(self, prefix, dict(inline.names), by_name)
        expanded = scope.visit(tree)
        return expanded if inline.is_statement else expanded.value  # type: ignore[no-any-return]

    def _inlined(self, function: Callable[..., Any], arguments: Sequence[str]) -> ast.Module:
        inline = inline_of(function)
        if inline is not None:
            names: list[ast.expr] = [ast.Name(argument, ast.Load()) for argument in arguments]
            tree = self.expand(inline, names)
            body = tree if isinstance(tree, ast.stmt) else ast.Expr(tree)  # type: ignore[arg-type]
            return ast.Module([body], [])
        if not isinstance(function, FunctionType):
            raise CannotInline
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
            raise CannotInline
        if not _is_current(function, tree):
            raise CannotInline
        parameters = [argument.arg for argument in tree.args.args]
        kinds = tree.args
        others = kinds.vararg or kinds.kwarg or kinds.kwonlyargs or kinds.posonlyargs
        if len(parameters) != len(arguments) or others:
            raise CannotInline
        if any(isinstance(node, _FORBIDDEN) for part in tree.body for node in ast.walk(part)):
            raise CannotInline
        statements = [part for part in tree.body if not _is_docstring(part)]
        by_name: dict[str, ast.expr] = {
            parameter: ast.Name(argument, ast.Load())
            for parameter, argument in zip(parameters, arguments, strict=True)
        }
        scope = _Scope(self, f"v{next(self._numbers)}", _environment(function), by_name)
        scope.inside = frozenset(function.__code__.co_varnames)
        done = without_jumps(scope.block(statements), ast.Return) or [ast.Pass()]
        unknown = loaded(done) - stored(done)
        if any(name.startswith(f"{scope.prefix}_") for name in unknown):
            raise CannotInline  # such as a loop's variable that is used after the loop
        return ast.Module(done, [])


def _is_deep(tree: ast.AST) -> bool:
    """Say whether a syntax tree is too deep for the visitors that work on the whole loop."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True


def _is_current(function: FunctionType, tree: ast.FunctionDef) -> bool:
    """Say whether a source is the function's: its file may be another by now, as in an upgrade."""
    outer = ast.parse(f"def outer({', '.join(function.__code__.co_freevars)}):\n    pass")
    outer.body[0].body = [tree]  # type: ignore[attr-defined]
    made = next(filter(_is_code, compile(outer, "<source>", "exec").co_consts))
    return any(
        _words(inner) == _words(function.__code__) for inner in filter(_is_code, made.co_consts)
    )


def _is_code(value: object) -> bool:
    return isinstance(value, CodeType)


def _words(code: CodeType) -> tuple[object, ...]:
    return code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _environment(function: FunctionType) -> dict[str, Any]:
    """Give the values of every name that the function takes from outside."""
    outside = inspect.getclosurevars(function)
    inside = function.__code__.co_varnames
    names = {**outside.globals, **outside.nonlocals}
    return {name: value for name, value in names.items() if name not in inside}


class _Scope(ast.NodeTransformer):
    """Renames one function's names, and decides what is constant."""

    def __init__(
        self,
        fuser: Fuser,
        prefix: str,
        environment: dict[str, Any],
        arguments: dict[str, ast.expr],
    ) -> None:
        self.fuser = fuser
        self.prefix = prefix
        self.environment = environment
        self.arguments = arguments
        self.inside: frozenset[str] = frozenset()
        """The function's own names: one may be called as a builtin is."""

    def block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for part in body:
            done = self.visit(part)
            statements.extend(done if isinstance(done, list) else [done])
        return statements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.arguments:
            if not isinstance(node.ctx, ast.Load):
                raise CannotInline
            return self.arguments[node.id]
        if node.id in self.environment and isinstance(node.ctx, ast.Load):
            value = self.environment[node.id]
            if type(value) in _SIMPLE and is_finite(value):
                return ast.Constant(value)
            return self._bound(value)
        if hasattr(builtins, node.id) and node.id not in self.inside:
            return node
        return ast.Name(f"{self.prefix}_{node.id}", node.ctx)

    def _bound(self, value: Any) -> ast.expr:
        return ast.Name(self.fuser.bind(value), ast.Load())

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        name = f"{self.prefix}_{node.name}" if node.name else None
        kind = self.visit(node.type) if node.type else None
        return ast.ExceptHandler(kind, name, self.block(node.body) or [ast.Pass()])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.Pass()
        return ast.Assign([self.visit(node.target)], self.visit(node.value))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        inline = self._inline_of(node)
        arguments = [self.visit(argument) for argument in node.args]
        if inline is not None and not inline.is_statement:
            try:
                return self.fuser.expand(inline, arguments)
            except CannotInline:
                pass
        keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
        return ast.Call(self.visit(node.func), arguments, keywords)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        inline = self._inline_of(node.value) if isinstance(node.value, ast.Call) else None
        if inline is not None and inline.is_statement and isinstance(node.value, ast.Call):
            arguments = [self.visit(argument) for argument in node.value.args]
            return self.fuser.expand(inline, arguments)
        return ast.Expr(self.visit(node.value))

    def _inline_of(self, node: ast.Call) -> Inline | None:
        if isinstance(node.func, ast.Name) and not node.keywords:
            return inline_of(self.environment.get(node.func.id))
        return None

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        decided = self.decide(node.test)
        if decided is not None:
            return self.block(node.body if decided else node.orelse)
        body, orelse = self.block(node.body), self.block(node.orelse)
        return ast.If(self.visit(node.test), body or [ast.Pass()], orelse)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        decided = self.decide(node.test)
        if decided is not None:
            return self.visit(node.body if decided else node.orelse)  # type: ignore[no-any-return]
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        decided = self.decide(node)  # `5 is not None` would be a warning of the compiler's
        return self.generic_visit(node) if decided is None else ast.Constant(decided)

    def decide(self, test: ast.expr) -> bool | None:
        """Give the truth of a test on constants; None where it depends on the event."""
        match test:
            case ast.Name(id=name) if type(self.environment.get(name, self)) in (bool, type(None)):
                return bool(self.environment[name])
            case ast.Compare(
                left=ast.Name(id=name), ops=[op], comparators=[ast.Constant(value=None)]
            ) if name in self.environment:
                is_none = self.environment[name] is None
                return is_none if isinstance(op, ast.Is) else not is_none
            case ast.BoolOp(op=ast.And(), values=values):
                truths = [self.decide(value) for value in values]
                return False if False in truths else None
        return None

    def visit_For(self, node: ast.For) -> ast.stmt | list[ast.stmt]:
        elements = self.environment.get(node.iter.id) if isinstance(node.iter, ast.Name) else None
        if type(elements) is not tuple or len(elements) > MAX_UNROLL or node.orelse:
            return self.generic_visit(node)  # type: ignore[return-value]
        if any(isinstance(inner, ast.Continue) for inner in ast.walk(node)):
            raise CannotInline
        if not stored([node.target]).isdisjoint(stored(node.body)):
            raise CannotInline
        unrolled: list[ast.stmt] = []
        for element in elements:
            scope = _Scope(
                self.fuser,
                self.prefix,
                {**self.environment, **_unpack(node.target, element)},
                self.arguments,
            )
            scope.inside = self.inside
            unrolled.extend(scope.block(ast.parse(ast.unparse(node)).body[0].body))  # type: ignore[attr-defined]
        return without_jumps(unrolled, ast.Break)


def _unpack(target: ast.expr, element: Any) -> dict[str, Any]:
    match target:
        case ast.Name(id=name):
            return {name: element}
        case ast.Tuple(elts=names) if all(isinstance(name, ast.Name) for name in names):
            return {name.id: value for name, value in zip(names, element, strict=True)}  # type: ignore[attr-defined]
    raise CannotInline
