"""`enricher generate`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from enricher.generator import GeneratedRecord, HostileRecord

TOPICS = ("payment-logs", "order-logs", "user-logs", "fraud-logs")


@click.command()
@click.option(
    "-n", "count", type=click.IntRange(1), default=1000, show_default=True, help="How many."
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events.")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Spread over.")
@click.option("--hostile", is_flag=True, help="Broken and malicious records instead.")
@click.option("--fraud", "share", type=click.FloatRange(0, 1), metavar="SHARE",
              help="Payments instead, this part of them fraud, such as 0.01.")  # fmt: skip
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False),
              help="With --fraud: write a line for each payment that is fraud.")  # fmt: skip
@click.option(
    "--topic",
    type=click.Choice(TOPICS),
    metavar="TOPIC",
    help="Only this one, such as payment-logs.",
)
@click.option("--users", is_flag=True, help="The users that Redis would know, for --lookups.")
def command(
    count: int,
    seed: int,
    days: int,
    hostile: bool,
    share: float | None,
    labels: Path | None,
    topic: str | None,
    users: bool,
) -> None:
    """Generate realistic payment, order, user and fraud events as JSON lines.

    \b
    With --fraud, payments of the level BUSINESS with episodes of fraud among them:
      burst               stolen cards tried with small amounts, dozens in minutes
      takeover            at night, a new device, place and method, large amounts
      impossible_travel   one account, two far-apart places, within minutes
      mule                a wallet of a few days that passes large amounts on

    \b
    Examples:
      enricher generate -n 10000 > events.ndjson
      enricher generate --users > users.ndjson
      enricher generate --hostile -n 500 | enricher dry-run pipelines/payments.yaml
      enricher generate --fraud 0.01 -n 100000 --labels labels.ndjson > history.ndjson
    """
    from enricher import generator

    if hostile and share is not None:
        raise click.UsageError("choose one of --hostile and --fraud")
    if labels and share is None:
        raise click.UsageError("--labels says which payments of --fraud are fraud: give that too")
    if users:
        sys.stdout.buffer.writelines(user_lines(seed))
        return
    records: Iterable[GeneratedRecord | HostileRecord]
    if share is not None:
        records = fraud_records(count, share, seed, days, labels)
    elif hostile:
        records = generator.hostile(count, seed)
    else:
        records = generator.generate(count, seed, days=days)
    write(records, topic)


def write(records: Iterable[GeneratedRecord | HostileRecord], topic: str | None) -> None:
    """Write the values as lines, of one topic or of all."""
    records = iter(records)
    for batch in iter(lambda: list(itertools.islice(records, 1000)), []):
        values = [record.value for record in batch if topic in (None, record.topic)]
        lines = b"".join([value.replace(b"\n", b" ") + b"\n" for value in values])
        sys.stdout.buffer.write(lines)


def fraud_records(
    count: int, share: float, seed: int, days: int, labels: Path | None
) -> Iterator[GeneratedRecord]:
    """Yield payments, and write a label for each that is fraud."""
    import os

    import orjson

    from enricher import generator
    from enricher.model import UserError

    try:
        file = (labels or Path(os.devnull)).open("wb")
    except OSError as error:
        raise UserError(f"labels {labels} cannot be written: {error.strerror}") from None
    with file:
        for record, payment_id, episode in generator.generate_fraud(count, share, seed, days=days):
            if episode:
                label = {"payment_id": payment_id, "fraud": True, "episode": episode}
                file.write(orjson.dumps(label, option=orjson.OPT_APPEND_NEWLINE))
            yield record


def user_lines(seed: int) -> Iterator[bytes]:
    """Yield one `{"key": …, "value": …}` line for all that Redis knows of a user."""
    import orjson

    from enricher import generator

    for key, value in itertools.chain(generator.users(seed), generator.accounts(seed)):
        try:
            parsed: object = orjson.loads(value)
        except orjson.JSONDecodeError:
            parsed = value.decode(errors="replace")
        yield orjson.dumps({"key": key, "value": parsed}) + b"\n"
