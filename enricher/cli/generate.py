"""`enricher generate`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import click

TOPICS = ("payment-logs", "order-logs", "user-logs", "fraud-logs")


@click.command()
@click.option(
    "-n", "count", type=click.IntRange(1), default=1000, show_default=True, help="How many."
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Spread over.")
@click.option("--hostile", is_flag=True, help="Broken and malicious records instead.")
@click.option(
    "--topic",
    type=click.Choice(TOPICS),
    metavar="TOPIC",
    help="Only this one, such as payment-logs.",
)
@click.option("--users", is_flag=True, help="The users that Redis would know, for --lookups.")
def command(
    count: int, seed: int, days: int, hostile: bool, topic: str | None, users: bool
) -> None:
    """Generate realistic payment, order, user and fraud events as JSON lines.

    \b
    Examples:
      enricher generate -n 10000 > events.ndjson
      enricher generate --users > users.ndjson
      enricher generate --hostile -n 500 | enricher dry-run pipelines/payments.yaml
    """
    from enricher import generator

    out = sys.stdout.buffer
    if users:
        for line in user_lines(seed):
            out.write(line)
        return
    records: Iterator[object] = (
        generator.hostile(count, seed) if hostile else generator.generate(count, seed, days=days)
    )
    for batch in iter(lambda: list(itertools.islice(records, 1000)), []):
        values = [r.value for r in batch if topic in (None, r.topic)]  # type: ignore[attr-defined]
        out.write(b"".join([value.replace(b"\n", b" ") + b"\n" for value in values]))


def user_lines(seed: int) -> Iterator[bytes]:
    """Yield one `{"key": …, "value": …}` line a user."""
    import orjson

    from enricher import generator

    for key, value in generator.users(seed):
        try:
            parsed: object = orjson.loads(value)
        except orjson.JSONDecodeError:
            parsed = value.decode(errors="replace")
        yield orjson.dumps({"key": key, "value": parsed}) + b"\n"
