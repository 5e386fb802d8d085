"""`enricher stages`."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

    from enricher.fields import Row
    from enricher.stages.base import Example, Stage


@click.command()
@click.argument("name", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="`json`: the same as data, for programs.",
)
def command(name: str | None, form: str) -> None:
    """Show the reference of stages: all in a line each, or one with its fields and examples.

    \b
    Examples:
      enricher stages
      enricher stages bucket
      enricher stages bucket --format json
    """
    from enricher import fields
    from enricher.model import UserError
    from enricher.stages import STAGES
    from enricher.words import suggest

    if name is not None and name not in STAGES:
        known = suggest(name, STAGES) or f"; there are {', '.join(STAGES)}"
        raise UserError(f'no stage "{name}"{known}')
    if form == "json":
        every = [{"name": kind, "summary": fields.summary(one)} for kind, one in STAGES.items()]
        data = every if name is None else as_data(STAGES[name])
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif name is None:
        indent = max(map(len, STAGES)) + 2
        for kind, one in STAGES.items():
            click.echo(f"{kind:<{indent}}{fields.summary(one)}")
    elif sys.stdout.isatty():
        show(STAGES[name])
    else:
        click.echo(as_text(STAGES[name]))


def show(stage: type[Stage]) -> None:
    """Print the reference of a stage on a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    from enricher.pages import field_table, stage_text
    from enricher.stages.base import Stage as Shared

    shared = f"Every stage takes:\n\n{field_table(Shared)}"
    Console().print(Markdown(f"# {stage.kind}\n\n{stage_text(stage)}\n\n{shared}"))


def as_data(stage: type[Stage]) -> dict[str, Any]:
    """Give the reference of a stage as data."""
    from enricher import fields

    return {
        "name": stage.kind,
        "summary": fields.summary(stage),
        "description": fields.description(stage),
        "fields": [row._asdict() for row in fields.rows(stage)],
        "models": {
            model.__name__: [row._asdict() for row in fields.rows(model)]
            for model in fields.nested(stage)
        },
        "examples": [
            {
                "title": example.title,
                "yaml": example.yaml,
                "lookups": {key: json.loads(text) for key, text in example.lookups.items()},
                "files": dict(example.files),
                "given": example.given,
                "expect": example.expect,
            }
            for example in stage.examples
        ],
    }


def as_text(stage: type[Stage]) -> str:
    """Write the reference of a stage as plain text."""
    from enricher import fields

    paragraphs = [fields.summary(stage), *fields.description(stage).split("\n\n")]
    parts = [f"{stage.kind}\n{'=' * len(stage.kind)}"]
    parts += [textwrap.fill(text, _width()) for text in paragraphs if text]
    parts += [_fields_text(model) for model in (stage, *fields.nested(stage))]
    parts += [_example_text(example) for example in stage.examples]
    return "\n\n".join(parts)


def _fields_text(model: type[BaseModel]) -> str:
    from enricher import fields

    formatter = click.HelpFormatter(width=_width())
    with formatter.section("Fields" if hasattr(model, "kind") else model.__name__):
        formatter.write_dl([(row.name, _row_text(row)) for row in fields.rows(model)])
    return formatter.getvalue().rstrip()


def _row_text(row: Row) -> str:
    default = row.default if row.default in ("", "required") else f"default {row.default}"
    return "; ".join(filter(None, (row.type, default, row.description)))


def _example_text(example: Example) -> str:
    from enricher.pages import as_item, as_json

    stored = {key: json.loads(text) for key, text in example.lookups.items()}
    files = example.files.items()
    blocks = [as_item(example.yaml)]
    blocks += [f"stored: {as_json(stored)}"] if stored else []
    blocks += [f"{name}:\n{textwrap.indent(text.rstrip(), '  ')}" for name, text in files]
    blocks += [f"given:  {as_json(example.given)}", f"result: {as_json(example.expect)}"]
    return f"Example: {example.title}\n\n{textwrap.indent(chr(10).join(blocks), '  ')}"


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 100)
