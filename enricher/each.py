"""Do with a whole batch what a function does with one event, in one generated loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from enricher.fuse import Fuser
from enricher.model import Failure


def each(
    function: Callable[..., None], zipped: Sequence[str], shared: Sequence[str] = ()
) -> Callable[..., dict[int, str]]:
    """Build the function of a batch, which gives the reasons of those that failed.

    Args:
        function: takes the place in the batch, what is `zipped` and what is `shared`, in this
            order. It is written into the loop, as far as its shape allows. May raise `Failure`.
        zipped: names of what the batch has a list of.
        shared: names of what is the same for all of it.
    """
    fuser = Fuser()
    items, lists = ", ".join(zipped), ", ".join(f"all_{name}" for name in zipped)
    body = fuser.statements(function, ["number", *zipped, *shared]).splitlines()
    lines = [
        f"def batch({', '.join([lists, *shared])}):",
        "    failures = {}",
        f"    for number, ({items},) in enumerate(zip({lists}, strict=True)):",
        "        try:",
        *(f"            {line}" for line in body),
        "        except Failure as failure:",
        "            failures[number] = str(failure)",
        "    return failures",
    ]
    names = fuser.names | {"Failure": Failure}
    exec("\n".join(lines), names)  # noqa: S102 - generated from our own sources and checked expressions
    batch: Callable[..., dict[int, str]] = names["batch"]
    return batch
