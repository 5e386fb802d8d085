"""Call a function of your own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import orjson
from pydantic import Field

from enricher.model import Event
from enricher.stages.base import Context, EventFunction, Example, Stage


class Python(Stage):
    """Call `module:function` with the event; the way out where no stage fits.

    Off unless the pipeline says `allow_python: true`. The module is looked for beside the
    pipeline file first. The function gets a copy it may change, and raises to fail. Its module
    is imported at start; it must not use the network there.
    """

    kind: ClassVar[str] = "python"
    drops: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a function from the standard library",
            "python: {function: 'operator:truth'}",
            {"a": 1},
            {"a": 1},
        ),
    )
    function: str = Field(pattern=r"^[\w.]+:\w+$", description="`module:function`.")

    def compile(self, context: Context) -> EventFunction:
        """Import the function. Raises ValueError that says what to do."""
        if not context.allow_python:
            raise ValueError("python stages are off: write `allow_python: true` in the pipeline")
        function = load(self.function, str(context.folder))
        loads, dumps = orjson.loads, orjson.dumps

        def python(event: Event) -> None:
            copy = loads(dumps(event))
            function(copy)
            changed = loads(dumps(copy))  # what is no JSON is the failure of this stage
            event.clear()
            event.update(changed)

        return python


def load(name: str, folder: str) -> Callable[[Event], Any]:
    """Import `module:function`. Raises ValueError."""
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # noqa: BLE001 - whatever the user's module does
        raise ValueError(f"{name} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise ValueError(f"{name} is no function")  # noqa: TRY004 - a mistake in the file
    return function  # type: ignore[no-any-return]
