"""`enricher schema`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write it there."
)
def command(output: Path | None) -> None:
    """Print the JSON Schema of pipeline files.

    An editor that knows it completes fields and marks mistakes as you type. In a pipeline file,
    the first line names it: `# yaml-language-server: $schema=pipeline.schema.json`.

    \b
    Examples:
      enricher schema
      enricher schema --output pipelines/pipeline.schema.json
    """
    import json

    from enricher.model import UserError
    from enricher.schema import pipeline_schema

    text = json.dumps(pipeline_schema(), indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from None
