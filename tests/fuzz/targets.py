"""Every parser of what others write, with its properties."""

from __future__ import annotations

from tests.fuzz import authors, senders, stores
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for target in (*senders.TARGETS, *authors.TARGETS, *stores.TARGETS)
}
