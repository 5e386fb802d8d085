"""Write the reference: `python -m enricher.reference`; with `--check`, see whether it is current.

docs/ and the JSON Schema of pipeline files follow from the code; CI fails where they drift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from enricher import admin_page, alerts_page, outputs_page, pages
from enricher.cli import cli
from enricher.schema import pipeline_schema

ROOT = Path(__file__).parent.parent
WIDTH = 80
"""Columns of a help text."""


def files() -> dict[str, str]:
    """Write every file of the reference; gives their texts by path from the root."""
    return {
        "docs/stages.md": pages.stages_page(),
        "docs/sources.md": pages.sources_page(),
        "docs/sinks.md": pages.sinks_page(),
        "docs/outputs.md": outputs_page.outputs_page(),
        "docs/alerts.md": alerts_page.alerts_page(),
        "docs/pipeline.md": pages.pipeline_page(),
        "docs/expressions.md": pages.expressions_page(),
        "docs/metrics.md": admin_page.metrics_page(),
        "docs/cli.md": cli_page(),
        "pipelines/pipeline.schema.json": schema_text(),
    }


def schema_text() -> str:
    """Write the JSON Schema of pipeline files as it is checked in."""
    return json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n"


def cli_page() -> str:
    """Write docs/cli.md: the help of every command, as `--help` prints it."""
    context = click.Context(
        cli, info_name="enricher", terminal_width=WIDTH, color=False, **cli.context_settings
    )
    sections = [f"## {inner.command_path}\n\n{help_text(inner)}" for inner in commands(context)]
    return pages.page("Command line", [help_text(context), *sections])


def commands(context: click.Context) -> Iterator[click.Context]:
    """Yield every command below a group, with the commands below it in turn."""
    if not isinstance(context.command, click.Group):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is not None and not command.hidden:
            inner = click.Context(command, parent=context, info_name=name)
            yield inner
            yield from commands(inner)


def help_text(context: click.Context) -> str:
    """Give the help of a command as a block of text."""
    lines = (line.rstrip() for line in context.command.get_help(context).splitlines())
    return "\n".join(["```text", *lines, "```"])


def drifted(root: Path = ROOT) -> list[str]:
    """Name the files that are not what the code says."""
    return [
        name
        for name, text in files().items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text
    ]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 and name the files that differ.")
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, help="Where docs/ lies.")
def main(check: bool, root: Path) -> None:
    """Write docs/ and pipelines/pipeline.schema.json from the code."""
    if check:
        names = drifted(root)
        for name in names:
            message = "is not what the code says: run python -m enricher.reference"
            click.echo(f"{name} {message}", err=True)
        raise click.exceptions.Exit(1 if names else 0)
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(name)


if __name__ == "__main__":
    main()
