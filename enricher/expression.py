"""The `when:` language: Python's syntax, an allow-list of its nodes, no surprises.

A missing field is None. `==` and `!=` are Python's. Ordering and `in` on a missing value or on
unlike types are false, never an exception. Parsed once, checked, compiled to one function.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from enricher import path
from enricher.functions import (
    FUNCTIONS,
    calculate,
    comparable,
    contains,
    is_finite,
    is_number,
    negate,
)
from enricher.inline import define
from enricher.model import Event
from enricher.pattern import compile_pattern
from enricher.words import suggest

AT = "ǁ"
"""Stands for `@` while Python parses: one letter, so that columns stay right."""
MAX_LENGTH = 4096
MAX_DEPTH = 50
MAX_SOURCE = 1 << 16
_STRING_OR_AT = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|@(?=[A-Za-z_])""")
_LITERALS = {"true": True, "false": False, "null": None}
_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


class ExpressionError(ValueError):
    """A `when:` that cannot be understood."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        """Characters from the start of the expression to the mistake."""


class _Compiler:
    """Turns one checked tree into the source of a Python expression over `event`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.temporaries = 0
        self.depth = 0

    def bind(self, value: Any) -> str:
        name = f"_c{len(self.names)}"
        self.names[name] = value
        return name

    def visit(self, node: ast.expr) -> str:
        self.depth += 1
        source = self.source_of(node) if self.depth <= MAX_DEPTH else ""
        self.depth -= 1
        if not source or len(source) > MAX_SOURCE:
            raise _error("the expression is too deep", node)
        return source

    def source_of(self, node: ast.expr) -> str:  # noqa: PLR0911 - one return a kind of node
        match node:
            case ast.BoolOp(op=op, values=values):
                word = " and " if isinstance(op, ast.And) else " or "
                return f"({word.join(self.visit(value) for value in values)})"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(not {self.visit(operand)})"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return repr(-value) if is_finite(value) else self.bind(-value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"{self.bind(negate)}({self.visit(operand)})"
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.comparison(left, ops, comparators)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                function, sign = self.bind(calculate), _ARITHMETIC[type(op)]
                return f"{function}({self.visit(left)}, {sign!r}, {self.visit(right)})"
            case ast.Call():
                return self.call(node)
            case ast.Constant(value=value) if value is None or type(value) in (
                str,
                int,
                float,
                bool,
            ):
                return repr(value) if is_finite(value) else self.bind(value)
            case ast.Name(id=name) if name in _LITERALS:
                return repr(_LITERALS[name])
            case ast.List() | ast.Tuple() if not self.is_dotted_key(node):
                return self.bind(self.literals(node))
        return self.field(node)

    def number(self, node: ast.expr) -> str:
        if not self.may_be_number(node):
            raise _error("a number is wanted here, such as min(int(amount / 100), 30)", node)
        return self.visit(node)

    def may_be_number(self, node: ast.expr) -> bool:
        """Say what can be told of an expression without an event."""
        match node:
            case ast.Constant(value=value):
                return is_number(value)
            case ast.Name(id=name):
                return name not in _LITERALS
            case ast.Call(func=ast.Name(id=name)):
                return name not in FUNCTIONS or FUNCTIONS[name].is_numeric
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return False
            case ast.List():
                return self.is_dotted_key(node)
        return True

    def field(self, node: ast.expr) -> str:
        keys = _keys(node)
        if len(keys) > path.MAX_DEPTH:
            raise _error(f"a field has at most {path.MAX_DEPTH} levels", node)
        return path.source_of_get(keys)

    @staticmethod
    def is_dotted_key(node: ast.expr) -> bool:
        return isinstance(node, ast.List) and isinstance(_only_text(node), str)

    def literals(self, node: ast.List | ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.literal(element) for element in node.elts)

    def literal(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, str | int | float):
                return value
            case ast.Name(id=name) if name in _LITERALS:
                return _LITERALS[name]
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise _error("a list may hold texts, numbers, true, false and null only", node)

    def comparison(self, left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr]) -> str:
        parts = []
        for op, right in zip(ops, rights, strict=True):
            parts.append(self.compare(left, op, right))
            left = right
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        if isinstance(op, ast.Is | ast.IsNot):
            raise _error("write == and != instead of is", left)
        if isinstance(op, ast.In | ast.NotIn):
            inside = self.membership(left, right)
            return inside if isinstance(op, ast.In) else f"(not {inside})"
        if isinstance(op, ast.Eq | ast.NotEq):
            sign = "==" if isinstance(op, ast.Eq) else "!="
            is_field = not isinstance(left, ast.Constant | ast.UnaryOp)  # `1 is None` is warned of
            if is_field and self.visit(right) == "None":  # as good for all of JSON, and cheaper
                sign = "is" if isinstance(op, ast.Eq) else "is not"
            return f"({self.visit(left)} {sign} {self.visit(right)})"
        sign, first, second = _ORDER[type(op)], self.visit(left), self.visit(right)
        if isinstance(right, ast.Constant) and is_number(right.value):
            self.temporaries += 1  # the usual case: half the cost of the general one
            value = f"_v{self.temporaries}"
            kind = f"(type({value} := {first}) is int or type({value}) is float)"
            return f"({kind} and {value} {sign} {second})"
        self.temporaries += 2
        one, other = f"_v{self.temporaries - 1}", f"_v{self.temporaries}"
        alike = f"{self.bind(comparable)}({one} := {first}, {other} := {second})"
        return f"({alike} and {one} {sign} {other})"

    def membership(self, needle: ast.expr, container: ast.expr) -> str:
        if isinstance(container, ast.List | ast.Tuple):
            return f"({self.visit(needle)} in {self.bind(self.literals(container))})"
        return f"{self.bind(contains)}({self.visit(container)}, {self.visit(needle)})"

    def call(self, node: ast.Call) -> str:
        name = node.func.id if isinstance(node.func, ast.Name) else "?"
        if name not in FUNCTIONS:
            raise _error(f'unknown function "{name}"{suggest(name, FUNCTIONS)}', node)
        function, least, most, *_ = FUNCTIONS[name]
        if not least <= len(node.args) <= most or node.keywords:
            count = f"{least}" if least == most else f"{least} to {most}"
            raise _error(f"{name}() takes {count} argument{'s' * (most > 1)}", node)
        if name == "matches":
            return self.pattern(node)
        arguments = ", ".join(self.visit(argument) for argument in node.args)
        return f"{self.bind(function)}({arguments})"

    def pattern(self, node: ast.Call) -> str:
        text = node.args[1]
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            raise _error("the pattern of matches() must be a text", node)
        if "\b" in text.value:
            raise _error('"\\b" is a backspace here: write r"\\b" for the edge of a word', text)
        try:
            found = compile_pattern(text.value)
        except ValueError as error:
            raise _error(str(error), text) from None
        value = self.bind(lambda value: type(value) is str and found(value) is not None)
        return f"{value}({self.visit(node.args[0])})"


def _only_text(node: ast.List) -> str | None:
    if len(node.elts) == 1 and isinstance(node.elts[0], ast.Constant):
        value = node.elts[0].value
        return value if isinstance(value, str) else None
    return None


def _keys(node: ast.expr) -> tuple[str, ...]:
    match node:
        case ast.Name(id=name):
            return (name.replace(AT, "@"),)
        case ast.Attribute(value=value, attr=name):
            return (*_keys(value), name.replace(AT, "@"))
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
            return (*_keys(value), key)
        case ast.List() if (text := _only_text(node)) is not None:
            return (text,)
    raise _error("only comparisons, and/or/not, in, literals, fields and functions may stand", node)


def _error(message: str, node: ast.expr) -> ExpressionError:
    return ExpressionError(message, node.col_offset)


def _parse(text: str) -> tuple[ast.expr, str]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression is at most {MAX_LENGTH} characters")
    text = text.replace("\n", " ")
    source = _STRING_OR_AT.sub(lambda found: AT if found[0] == "@" else found[0], text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" is right in a pattern, and kept as it is
            return ast.parse(source, mode="eval").body, source
    except SyntaxError as error:
        hint = " (write == to compare)" if re.search(r"[^=!<>]=[^=]", text) else ""
        message = f"bad expression: {(error.msg or 'invalid syntax').replace(AT, '@')}{hint}"
        # Of a few mistakes Python counts bytes, which may lead behind the end.
        offset = min(max((error.offset or 1) - 1, 0), len(text))
        raise ExpressionError(message, offset) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("bad expression: too deep, or a NUL character") from None


def compile_predicate(text: str) -> Callable[[Event], Any]:
    """Compile a `when:` text to a function of the event; its result counts by its truth.

    Raises ExpressionError with the offset of the mistake.
    """
    return _compile(text)


def compile_number(text: str) -> Callable[[Event], Any]:
    """Compile arithmetic to a function of the event: a number, or None where there is none.

    The function may give what is no number where the text is a mere field.

    Raises ExpressionError with the offset of the mistake.
    """
    return _compile(text, _Compiler.number)


def _compile(
    text: str, visit: Callable[[_Compiler, ast.expr], str] | None = None
) -> Callable[[Event], Any]:
    tree, parsed = _parse(text.strip())
    compiler = _Compiler()
    try:
        source = (visit or _Compiler.visit)(compiler, tree)
    except ExpressionError as error:
        before = parsed.encode()[: error.offset].decode(errors="ignore")
        raise ExpressionError(str(error), len(before)) from None
    except RecursionError:  # a field within fields within fields
        raise ExpressionError("the expression is too deep") from None
    return define(("event",), source, compiler.names)


def _check(text: str) -> str:
    compile_predicate(text)
    return text


def _check_number(value: Any) -> int | float | str:
    if isinstance(value, str):
        compile_number(value)
    elif not is_number(value):
        raise ValueError("a number is wanted, or arithmetic such as min(int(amount / 100), 30)")
    return value  # type: ignore[no-any-return]


Arithmetic = Annotated[
    int | float | str,
    PlainValidator(_check_number),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
    Field(description="A number, or how it is worked out: `min(int(amount / 100), 30)`."),
]
Predicate = Annotated[
    str,
    AfterValidator(_check),
    Field(description='A condition, such as `level in ["ERROR"] and amount > 100`.'),
]
