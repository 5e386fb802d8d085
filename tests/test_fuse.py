"""What is written into the plan's loop does what the function does."""

from __future__ import annotations

import copy
import importlib
import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enricher.expression import compile_predicate
from enricher.fuse import MAX_UNROLL, Fuser
from enricher.inline import define

Make = Callable[[], Callable[[dict[str, Any]], None]]
stamp = "global"


def run(statements: str, names: dict[str, Any], event: dict[str, Any]) -> str | None:
    """Run generated statements; give the error's text, if there is one."""
    body = "\n".join(f"        {line}" for line in statements.splitlines())
    source = f"def go(event):\n    for _ in (1,):\n{body}"
    namespace = dict(names)
    exec(compile(source, "<test>", "exec"), namespace)
    try:
        namespace["go"](event)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def check(function: Callable[..., None], *events: dict[str, Any], inlined: bool = True) -> str:
    """Compare what a function does with what is written in its place; give the source."""
    fuser = Fuser()
    statements = fuser.statements(function, ["event"])
    assert ("call_" not in statements) == inlined, statements
    for event in events:
        expected, got = copy.deepcopy(event), copy.deepcopy(event)
        try:
            function(expected)
            error = None
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        assert run(statements, fuser.names, got) == error
        assert got == expected
    return statements


def test_guards_become_branches() -> None:
    """A guard that returns early leaves nothing behind it undone or done."""

    def function(event: dict[str, Any]) -> None:
        value = event.get("a")
        if value is None:
            event["missing"] = True
            return
        if value > 5:
            event["big"] = True
            if value > 50:
                event["huge"] = True
                return
            else:
                event["not huge"] = True
        else:
            event["small"] = True
            return
        event["end"] = value

    events: list[dict[str, Any]] = [{}, {"a": 1}, {"a": 6}, {"a": 60}, {"a": "x"}]
    assert "return" not in check(function, *events)

    def falls_through(event: dict[str, Any]) -> None:
        if event.get("a"):
            event["some"] = True
            if event["a"] > 5:
                return
        event["end"] = True

    check(falls_through, *events, inlined=False)


def test_loop_over_constants_is_unrolled_with_its_breaks() -> None:
    """A break ends the rest of the loop, and no more."""
    levels = ((50, "high"), (10, "medium"), (float("-inf"), "low"))

    def function(event: dict[str, Any]) -> None:
        for at_least, name in levels:
            event["seen"] = name
            if event["a"] >= at_least:
                event["level"] = name
                break
        event["end"] = True

    source = check(function, {"a": 60}, {"a": 50}, {"a": 20}, {"a": 0}, {}, {"a": "x"})
    assert "for " not in source
    assert "break" not in source


def test_loop_within_a_loop() -> None:
    """The inner loop's break leaves the outer one alone, and an event's own list is looped over."""
    groups = (("a", ("x", "y")), ("b", ("z",)))

    def function(event: dict[str, Any]) -> None:
        for name, _ in groups:
            for value in event.get(name, ()):
                if value == 2:
                    break
                event[f"{name}{value}"] = value

    check(function, {}, {"a": [1, 2, 3], "b": [4]}, {"a": 5})


def test_long_or_changing_loops_stay_loops() -> None:
    """Neither a list nor a tuple beyond the limit is unrolled."""
    long = tuple(range(MAX_UNROLL + 1))
    as_list = [1, 2]

    def function(event: dict[str, Any]) -> None:
        for number in long:
            event[str(number)] = number
        for number in as_list:
            event[f"l{number}"] = number

    assert check(function, {}).count("for ") == 2


def test_loop_shapes_that_do_not_fit_are_called() -> None:
    """continue, a loop's variable used after the loop, and one that is assigned to."""
    names = ("a", "b")

    def with_continue(event: dict[str, Any]) -> None:
        for name in names:
            if name in event:
                continue
            event[name] = 1

    def after(event: dict[str, Any]) -> None:
        for name in names:
            event[name] = 1
        event["last"] = name

    def assigned(event: dict[str, Any]) -> None:
        for name in names:
            name = name.upper()
            event[name] = 1

    for function in (with_continue, after, assigned):
        check(function, {}, {"a": 2}, inlined=False)


def test_loop_with_else_is_kept() -> None:
    """A loop's else branch runs as it does in the function."""
    names = ("a", "b")

    def function(event: dict[str, Any]) -> None:
        for name in names:
            if name in event:
                break
        else:
            event["none"] = True

    check(function, {}, {"b": 1})


def test_exceptions_are_caught_where_the_function_catches_them() -> None:
    """try, except … as, else and finally keep their meaning."""

    def function(event: dict[str, Any]) -> None:
        try:
            event["n"] = int(event["a"])
        except (ValueError, TypeError) as error:
            event["error"] = type(error).__name__
        else:
            event["fine"] = True
        finally:
            event["always"] = True

    check(function, {"a": "5"}, {"a": "x"}, {"a": None}, {})


def test_return_within_try_is_called() -> None:
    """No jump is written out of a try."""

    def function(event: dict[str, Any]) -> None:
        try:
            if event["a"]:
                return
        finally:
            event["always"] = True
        event["end"] = True

    check(function, {"a": 1}, {"a": 0}, {}, inlined=False)


@pytest.mark.parametrize("target", [None, "copy"])
@pytest.mark.parametrize("strict", [True, False])
def test_constants_are_decided(target: str | None, strict: bool) -> None:
    """A test on what was known at compile time leaves no trace."""

    def function(event: dict[str, Any]) -> None:
        if target is not None and event.get("a"):
            event[target] = event["a"]
        if target is None:
            event["none"] = True
        if strict:
            event["strict"] = 1 if target is not None else 2
        else:
            event["loose"] = True
        event["cap"] = target is not None and event.get("a") == 1

    source = check(function, {}, {"a": 1})
    assert "None" not in source
    assert ("strict" in source) == strict
    assert ("loose" in source) == (not strict)


def test_constants_of_any_kind_are_bound() -> None:
    """Infinities, tables and objects keep their identity."""
    table = {"a": [1]}
    least, nan = float("-inf"), float("nan")

    def function(event: dict[str, Any]) -> None:
        event["table"] = table
        event["order"] = event["a"] > least
        event["nan"] = nan != nan

    fuser = Fuser()
    event: dict[str, Any] = {"a": 1}
    run(fuser.statements(function, ["event"]), fuser.names, event)
    assert event["table"] is table
    assert event["order"] is event["nan"] is True


def test_small_functions_are_written_out() -> None:
    """What `define` built is put in place of its call, its own names renamed."""
    get = define(("event",), "_t if type(_t := event.get('a')) is int else limit", {"limit": 7})
    put = define(("event", "value"), "event['b'] = value", is_statement=True)
    twice = define(("value",), "value + value")

    def function(event: dict[str, Any]) -> None:
        value = get(event)
        _t = 100
        put(event, value)
        put(event, get(event) + _t)
        event["c"] = twice(value)
        event["d"] = twice(len(event))  # an argument used twice must be worked out once

    source = check(function, {}, {"a": 5}, {"a": "x"})
    assert source.count("twice") == 0
    assert "limit" not in source


def test_names_do_not_meet() -> None:
    """Locals of two functions, of the loop and of Python keep apart."""
    stamp = 5

    def first(event: dict[str, Any]) -> None:
        value, id, number = event.get("a"), 1, 2
        event["first"] = [value, id, number, stamp]

    def second(event: dict[str, Any]) -> None:
        value = event.get("b")
        event["second"] = [value, id(event) == id(event)]

    fuser = Fuser()
    source = "\n".join(fuser.statements(function, ["event"]) for function in (first, second))
    event: dict[str, Any] = {"a": 1, "b": 2}
    assert run(source, fuser.names, event) is None
    assert event == {"a": 1, "b": 2, "first": [1, 1, 2, 5], "second": [2, True]}


def test_local_hides_a_global_of_its_name() -> None:
    """An attribute, a global and a local of one name are told apart."""

    class Box:
        stamp = "attribute"

    box = Box()

    def function(event: dict[str, Any]) -> None:
        event["attribute"] = box.stamp
        stamp = event.get("a")
        if stamp is None:
            event["none"] = True
        event["local"] = stamp

    check(function, {}, {"a": 1})


def _shapes() -> dict[str, Callable[..., Any]]:
    def returns_value(event: dict[str, Any]) -> Any:
        event["a"] = 1
        return event

    def comprehension(event: dict[str, Any]) -> None:
        event["a"] = [key for key in event]

    def closure(event: dict[str, Any]) -> None:
        event["a"] = (lambda: len(event))()

    def context(event: dict[str, Any]) -> None:
        with pytest.raises(KeyError):
            event["missing"]
        event["a"] = 1

    def match(event: dict[str, Any]) -> None:
        match event.get("x"):
            case int() as number:
                event["a"] = number
            case other:
                event["a"] = [other]

    def variadic(event: dict[str, Any], *rest: object, key: int = 1) -> None:
        event["a"] = [rest, key]

    def default(event: dict[str, Any], other: int = 5) -> None:
        event["a"] = other

    def rebinds(event: dict[str, Any]) -> None:
        event["a"] = 1
        event = {}
        event["b"] = 2

    def deletes(event: dict[str, Any]) -> None:
        event["b"] = 1
        del event["b"]

    class Callable_:
        def __call__(self, event: dict[str, Any]) -> None:
            event["a"] = "called"

    namespace: dict[str, Any] = {}
    exec("def without_source(event):\n    event['a'] = 1", namespace)
    return {
        **{name: value for name, value in locals().items() if callable(value)},
        "lambda": lambda event: event.update(a=1),
        "object": Callable_(),
        "builtin": dict.clear,
        "method": Callable_().__call__,
        "without_source": namespace["without_source"],
    }


@pytest.mark.parametrize("name", sorted(set(_shapes()) - {"Callable_"}))
def test_other_shapes_are_called(name: str) -> None:
    """Whatever does not fit is called, with the same result."""
    check(_shapes()[name], {"x": 5}, {"x": "y"}, inlined=False)


def test_augmented_and_annotated_assignments() -> None:
    """Locals may be annotated, added to, and assigned within an expression."""

    def function(event: dict[str, Any]) -> None:
        """Say what it does."""
        points: int = 0
        later: int
        points += event.get("a", 1)
        if (later := points * 2) > 4:
            points -= 1
        event["points"] = [points, later, f"{points}!"]

    assert "Say what" not in check(function, {}, {"a": 5}, {"a": "x"})


def test_while_loops_are_kept() -> None:
    """A loop that depends on the event is written as it is."""

    def function(event: dict[str, Any]) -> None:
        left = event.get("a", 3)
        while True:
            left -= 1
            if left < 0:
                break
            event[str(left)] = left

    check(function, {}, {"a": 1})


def test_expression_is_written_out_or_called() -> None:
    """A condition that carries its source is written, any other function called."""
    fuser = Fuser()
    assert fuser.expression(define(("event",), "event.get('a')"), ["event"]) == "event.get('a')"
    assert fuser.expression(lambda event: 1, ["event"]).startswith("call_")
    statement = define(("e",), "e.clear()", is_statement=True)
    assert fuser.expression(statement, ["event"]).startswith("call_")


def test_conditions_that_are_too_deep_or_too_long_are_called() -> None:
    """Neither Python's depth nor its longest number ends a plan that was checked."""
    field = ".".join("abcdefghijklmnop")
    deep = f"{'(' * 40}{field}{' < 1)' * 40}"
    huge = f"a == 0x{'f' * 4000}"
    for text, written in ((deep, False), (huge, True), ("a < 1", True)):
        fuser = Fuser()
        source = fuser.expression(compile_predicate(text), ["event"])
        assert source.startswith("call_") is not written
        assert not eval(source, {**fuser.names, "event": {"a": 2}})


def test_source_that_was_changed_since_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade in place a file is no longer what runs: the function is called."""
    file = tmp_path / "stage_of_old_x.py"
    file.write_text(
        "def make(n):\n    def stage(event):\n        event['n'] = n\n    return stage\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("stage_of_old_x").make(5)
    check(function, {})
    for text in ("event['n'] = n + 1", "event['m'] = n", "event['n'] = 5", "pass; n"):
        file.write_text(f"def make(n):\n    def stage(event):\n        {text}\n    return stage\n")
        linecache.clearcache()
        check(function, {}, inlined=False)
    file.unlink()
    linecache.clearcache()
    check(function, {}, inlined=False)
