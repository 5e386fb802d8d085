"""The pipeline file is broken while events come in: the old plan serves on, and nothing is lost."""

from __future__ import annotations

import random
import signal

from . import results
from .daemon import Daemon
from .scale import SCALE
from .test_killed import producing
from .world import World

REFUSED = "not reloaded"
BROKEN = (
    "",
    "\0",
    "name: [payments",
    "name: payments\nsources: []\nstages: []\nroutes: []\n",
    'name: "payments"\nstages:\n  - no_such_stage: {}\n',
)


def test_a_broken_file_changes_nothing(world: World) -> None:
    """Again and again under load, by SIGHUP and by the change alone; a sound file is taken in the end."""
    dice = random.Random(SCALE.seed)
    sound = world.pipeline.read_text()
    broken = (*BROKEN, sound[: len(sound) // 2], sound.replace('"when"', '"whem"', 1))
    daemon = world.start()
    for turn in range(SCALE.reloads):
        with producing(world, SCALE.reload_events, 1):
            world.until_more()
            change(world, daemon, dice.choice(broken), REFUSED, hang_up=turn % 2 == 1)
        world.until_indexed(len(world.ledger))  # it goes on
    change(world, daemon, sound, '"reloaded"', hang_up=True)
    world.until_settled()
    assert daemon.stop() == 0, world.logs
    verdict = world.verdict()
    assert verdict.clean, f"{verdict}\n{world.logs}"
    results.note(f"bad reload, {SCALE.reloads} times", verdict, refused=SCALE.reloads)


def change(world: World, daemon: Daemon, text: str, said: str, *, hang_up: bool) -> None:
    """Change the file, and wait until the log says once more what came of it."""
    before = daemon.log.read_text().count(said)
    world.pipeline.write_text(text)
    if hang_up:
        daemon.signal(signal.SIGHUP)
    world.until(lambda: daemon.log.read_text().count(said) > before, 30, said)
