"""`enricher test`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from enricher.inline_tests import Result


@click.command()
@click.argument("pipelines", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text",
              help="`json`: one line a test, for programs.")  # fmt: skip
@click.option("-k", "name", default="", help="Run the tests whose name contains this text.")
@click.option("--allow-missing-env", is_flag=True,
              help="Let variables be missing (CI without secrets).")  # fmt: skip
def command(pipelines: tuple[Path, ...], output: str, name: str, allow_missing_env: bool) -> None:
    """Run the tests that stand in pipeline files, under `tests:`.

    The same plan as the daemon's. No network: look-ups answer from the test alone. Exit code 1
    where a test fails, 2 where a pipeline is bad.

    \b
    Examples:
      enricher test pipelines/payments.yaml
      enricher test pipelines/*.yaml -k festival
      enricher test pipelines/payments.yaml --format json | jq 'select(.passed | not)'
    """
    from enricher.config import load
    from enricher.inline_tests import run_tests

    failed = False
    for pipeline in pipelines:
        config = load(pipeline, connections={}, allow_missing_env=allow_missing_env)
        results = asyncio.run(run_tests(config, lambda test: name.lower() in test.lower()))
        failed = failed or not all(result.passed for result in results)
        if output == "json":
            for result in results:
                click.echo(as_json(pipeline, result))
        elif not config.pipeline.tests:
            click.echo(f"{pipeline}: no tests (write some under `tests:`)")
        else:
            report(pipeline, results)
    if failed:
        raise click.exceptions.Exit(1)


def report(pipeline: Path, results: Sequence[Result]) -> None:
    """Print a line for each test and, below one that failed, what was otherwise."""
    for result in results:
        if result.passed:
            click.echo(f"{click.style('ok', fg='green')}      {result.name}")
            continue
        click.echo(f"{click.style('FAILED', fg='red', bold=True)}  {result.name}")
        click.echo(f"        {result.place}")
        for difference in result.differences:
            click.echo(f"        {difference.path}")
            click.secho(f"        - {as_text(difference.expected)}", fg="red")
            click.secho(f"        + {as_text(difference.got)}", fg="green")
    passed = sum(result.passed for result in results)
    failures = f", {len(results) - passed} failed" if passed < len(results) else ""
    click.echo(f"{pipeline}: {passed} passed{failures}")


def as_text(value: object) -> str:
    """Write a value as JSON, and one that is absent as `(absent)`."""
    import orjson

    return orjson.dumps(value, default=repr).decode() if not is_absent(value) else repr(value)


def is_absent(value: object) -> bool:
    """Say whether this stands for a field that is not there."""
    from enricher.inline_tests import ABSENT

    return value is ABSENT


def as_json(pipeline: Path, result: Result) -> str:
    """Write one test's result as one line; an absent value has no key."""
    import orjson

    differences = [
        {"path": difference.path}
        | {
            key: value
            for key, value in (("expected", difference.expected), ("got", difference.got))
            if not is_absent(value)
        }
        for difference in result.differences
    ]
    return orjson.dumps(
        {
            "pipeline": str(pipeline),
            "test": result.name,
            "place": result.place,
            "passed": result.passed,
            "differences": differences,
        }
    ).decode()
