"""`enricher dlq replay`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from enricher.cli.dlq_selection import Opened, counted, find, safe, selecting

if TYPE_CHECKING:
    from enricher.dead_letters.queue import Entry
    from enricher.dead_letters.replay import FailedAgain
    from enricher.lookups import Lookups
    from enricher.plan import Plan
    from enricher.runtime import Runtime


@click.command()
@selecting
@click.option("--dry-run", is_flag=True, help="Show what would come of them; write nothing.")
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text",
              help="`json`: one object; with --dry-run one line a letter.")  # fmt: skip
def replay(opened: Opened, dry_run: bool, output: str) -> None:
    """Run dead letters through the pipeline as it is now.

    The records are the original bytes under the original ids, timestamps, streams, offsets and
    keys, so a document that is there already is not written twice. What settles is removed.
    What fails again stays as it is; what was cut for its size, or masked, cannot be replayed and
    stays too: exit code 1 for both. Outputs are written again, under their own keys; alerts are
    not sent. Killed at any point, the next replay
    finishes the work.

    --dry-run cannot know what a server would refuse.

    \b
    Examples:
      enricher dlq replay pipelines/payments.yaml --dry-run
      enricher dlq replay pipelines/payments.yaml --stage json --limit 10
      enricher dlq replay pipelines/payments.yaml --dead-letters backup.ndjson
    """
    from enricher.build import build
    from enricher.lookups import open_lookups
    from enricher.state import open_states

    lookups = open_lookups(opened.config.pipeline.connections.redis)
    plan = build(opened.config, lookups, None if dry_run else open_states(lookups))
    entries = find(opened).entries
    if dry_run:
        done = asyncio.run(show_outcomes(opened, plan, lookups, entries, output))
    else:
        done = replay_all(opened, plan, lookups, entries, output)
    if not done:
        raise click.exceptions.Exit(1)


async def show_outcomes(
    opened: Opened, plan: Plan, lookups: Lookups, entries: list[Entry], output: str
) -> bool:
    """Print what the plan makes of each letter. Returns whether each would settle."""
    import orjson

    from enricher.cli.outcomes import as_dict, plain, pretty
    from enricher.dead_letters.replay import gather
    from enricher.model import DeadLetter

    whole = [entry for entry in entries if entry.is_whole]
    failed = 0
    async for letters in gather(opened.queue, whole):
        for outcome in await plan.process([letter.dead.record for letter in letters]):
            failed += type(outcome) is DeadLetter
            if output == "json":
                line = {"record": outcome.record.id, **as_dict(outcome)}
                click.echo(safe(orjson.dumps(line)))
            else:
                click.echo(f"{plain(outcome.record.id)}\n{pretty(outcome)}", nl=False)
    await opened.queue.close()
    await lookups.close()
    cut, masked = unfit(entries)
    text = f"{len(whole) - failed} would settle, {failed} would fail again, {cut} cut, "
    text += f"{masked} masked"
    click.echo(f"{counted(len(entries))}: {text}; nothing was written", err=True)
    return not failed and len(whole) == len(entries)


def unfit(entries: list[Entry]) -> tuple[int, int]:
    """Count the letters that were cut, and those of the others that were masked."""
    cut = sum(entry.is_cut for entry in entries)
    return cut, sum(not entry.is_whole for entry in entries) - cut


def replay_all(
    opened: Opened, plan: Plan, lookups: Lookups, entries: list[Entry], output: str
) -> bool:
    """Replay, and print what became of the letters. Returns whether each was settled."""
    import orjson

    from enricher.budget import DEFAULT_BUDGET_MIB, Budget
    from enricher.cli import service
    from enricher.cli.run import progress_bar
    from enricher.dead_letters.replay import FailedAgain, LetterSource
    from enricher.runtime import Runtime
    from enricher.sinks import Setting, build_output_sinks, build_sinks

    pipeline, folder = opened.config.pipeline, opened.config.pipeline.templates
    setting = Setting(pipeline.connections, folder and opened.config.folder / folder)
    failed = FailedAgain()
    runtime = Runtime(
        plan=plan,
        sources=[LetterSource(opened.queue, entries, failed)],
        sinks=build_sinks({route.sink for route in pipeline.routes}, setting),
        output_sinks=build_output_sinks({output.sink for output in pipeline.outputs}, setting),
        dead_letters=failed,
        budget=Budget(DEFAULT_BUDGET_MIB << 20),
        lookups=lookups,
    )
    if entries:
        with progress_bar(runtime) as update:
            service.run_to_end(runtime, update)
    result = figures(opened, runtime, entries, failed)
    click.echo(safe(orjson.dumps(result)) if output == "json" else as_text(opened, result))
    return bool(result["settled"] == result["dead_letters"] and not result["newer"])


def figures(
    opened: Opened, runtime: Runtime, entries: list[Entry], failed: FailedAgain
) -> dict[str, Any]:
    """Give the numbers of a replay: the stable form that programs read."""
    tally = runtime.tally
    cut, masked = unfit(entries)
    settled = sum(tally.documents.values()) + sum(tally.dropped.values())
    again = tally.records - settled
    return {
        "dead_letters": len(entries),
        "settled": settled,
        "documents": dict(sorted(tally.documents.items())),
        "dropped": dict(sorted(tally.dropped.items())),
        "failed_again": again,
        "failures": [
            {"count": count, "stage": stage, "error": error, "reason": reason}
            for (stage, error, reason), count in failed.counts.most_common()
        ],
        "cut": cut,
        "masked": masked,
        "newer": opened.queue.kept,
        "not_reached": len(entries) - cut - masked - settled - again,
    }


def as_text(opened: Opened, result: dict[str, Any]) -> str:
    """Write the numbers for people."""
    from enricher.cli.outcomes import plain

    name = opened.config.pipeline.name
    lines = [
        f"{counted(result['dead_letters'])} of {name} in {opened.queue.name}",
        f"{result['settled']:>8,}  settled and removed",
    ]
    for what in ("documents", "dropped"):
        lines += [f"{count:>14,}  {plain(key)}" for key, count in result[what].items()]
    if result["failed_again"]:
        lines.append(f"{result['failed_again']:>8,}  failed again and stay")
    lines += [
        f"{one['count']:>14,}  " + plain(f"{one['stage']}: {one['error']}: {one['reason']}")
        for one in result["failures"]
    ]
    for key, text in (
        ("cut", "were cut for their size: they cannot be replayed, and stay"),
        (
            "masked",
            "were masked: they cannot be replayed, and stay; read their records again",
        ),
        ("newer", "of the settled ones were written anew meanwhile, and stay: replay them again"),
        ("not_reached", "were not reached, and stay"),
    ):
        if result[key]:
            lines.append(f"{result[key]:>8,}  {text}")
    return "\n".join(lines)
