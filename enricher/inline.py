"""Functions that carry their own source, so that a plan can write it in place of a call.

A call costs more than most of what a log pipeline does to one field. `define()` builds a small
function from an expression; `fuse.py` reads `inline` back and puts the expression where the
call stood. Called as it is, the function does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Inline(NamedTuple):
    """The source behind a function: an expression or one statement over its parameters."""

    parameters: tuple[str, ...]
    source: str
    names: Mapping[str, Any]
    """What the source refers to beside its parameters."""
    is_statement: bool = False


def define(
    parameters: tuple[str, ...],
    source: str,
    names: Mapping[str, Any] | None = None,
    *,
    is_statement: bool = False,
) -> Callable[..., Any]:
    """Build a function from trusted source (ours, never an event's), and keep the source."""
    inline = Inline(parameters, source, names or {}, is_statement)
    body = source if is_statement else f"return {source}"
    namespace: dict[str, Any] = dict(inline.names)
    exec(f"def function({', '.join(parameters)}):\n    {body}", namespace)  # noqa: S102 - built from checked syntax trees and repr()
    function: Callable[..., Any] = namespace["function"]
    function.__dict__["inline"] = inline
    return function


def inline_of(function: object) -> Inline | None:
    """Give the source behind a function that `define()` built."""
    inline = getattr(function, "__dict__", {}).get("inline")
    return inline if isinstance(inline, Inline) else None
