"""Do with a whole batch what a function does with one event, in one generated loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from enricher.fuse import Fuser
from enricher.model import Failure


def each(
    function: Callable[..., None],
    zipped: Sequence[str],
    shared: Sequence[str] = (),
    *,
    numbered: bool = False,
) -> Callable[..., dict[int, str]]:
    """Build the function of a batch, which gives the reasons of those that failed.

    Its loop is generated for the first batch, so that `check` is quick.

    Args:
        function: takes what is `zipped`, then what is `shared`. It is written into the loop, as far
            as its shape allows. May raise `Failure`.
        zipped: names of what the batch has a list of.
        shared: names of what is the same for all of it.
        numbered: whether the function takes, as its last, the place in the batch.
    """
    arguments = [*zipped, *shared, *(["number"] if numbered else [])]
    made: Callable[..., dict[int, str]] | None = None

    def batch(*lists: Any) -> dict[int, str]:
        nonlocal made
        if made is None:
            made = _generate(function, arguments, zipped, shared)
        return made(*lists)

    return batch


def _generate(
    function: Callable[..., None],
    arguments: Sequence[str],
    zipped: Sequence[str],
    shared: Sequence[str],
) -> Callable[..., dict[int, str]]:
    fuser = Fuser()
    items, lists = ", ".join(zipped), ", ".join(f"all_{name}" for name in zipped)
    lines = [
        f"def batch({', '.join([lists, *shared])}):",
        "    failures = {}",
        f"    for number, ({items},) in enumerate(zip({lists}, strict=True)):",
        "        try:",
        *(f"            {line}" for line in fuser.statements(function, arguments).splitlines()),
        "        except Failure as failure:",
        "            failures[number] = str(failure)",
        "    return failures",
    ]
    names = fuser.names | {"Failure": Failure}
    exec("\n".join(lines), names)  # noqa: S102 - generated from our own sources and checked expressions
    batch: Callable[..., dict[int, str]] = names["batch"]
    return batch
