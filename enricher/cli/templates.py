"""`enricher templates`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from enricher.config import PipelineConfig


@click.group()
def command() -> None:
    """Show or install the Elasticsearch templates of a pipeline.

    \b
    Examples:
      enricher templates show pipelines/payments.yaml
      enricher templates install pipelines/payments.yaml
    """


@command.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--name", help="Only this one.")
def show(pipeline: Path, name: str | None) -> None:
    """Print the templates as they would be installed, variables put in.

    \b
    Examples:
      enricher templates show pipelines/payments.yaml
      ELASTICSEARCH_REPLICAS=0 enricher templates show pipelines/payments.yaml --name payment-logs
    """
    import orjson

    from enricher.model import UserError
    from enricher.sinks.templates import load
    from enricher.words import suggest

    templates = load(folder_of(_load(pipeline)), os.environ)
    names = [template.name for template in templates]
    if name is not None and name not in names:
        there_are = ", ".join(dict.fromkeys(names))
        raise UserError(f'no template "{name}"{suggest(name, names)}; there are: {there_are}')
    for template in templates:
        if name in (None, template.name):
            click.echo(f"# {template.kind} {template.name} version {template.version}", err=True)
            click.echo(orjson.dumps(template.body, option=orjson.OPT_INDENT_2))


@command.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--connections", type=click.Path(path_type=Path), help="Stand-in for `connections:`.")
def install(pipeline: Path, connections: Path | None) -> None:
    """Install the templates; a newer version on the server is never overwritten.

    The daemon does the same when it starts.

    \b
    Examples:
      enricher templates install pipelines/payments.yaml
      ELASTICSEARCH_REPLICAS=0 enricher templates install pipelines/payments.yaml
    """
    from enricher.model import Unavailable, UserError
    from enricher.sinks.elasticsearch_client import ElasticsearchClient
    from enricher.sinks.templates import Installed, Refused
    from enricher.sinks.templates import install as install_all

    config = _load(pipeline, connections)
    connection = config.pipeline.connections.elasticsearch
    if connection is None or connection.hosts is None:
        raise UserError(f"{pipeline}: connections.elasticsearch.hosts is missing")

    async def install_them() -> list[Installed]:
        client = ElasticsearchClient(connection)
        try:
            return await install_all(client, folder_of(config), os.environ)
        except (Unavailable, Refused) as error:
            raise UserError(str(error).replace("; retrying", "")) from None  # once is all here
        finally:
            await client.close()

    for done in asyncio.run(install_them()):
        click.echo(f"{done.kind} {done.name} version {done.version}: {done.outcome}")


def _load(pipeline: Path, connections: Path | None = None) -> PipelineConfig:
    from enricher.config import load, load_connections

    return load(pipeline, connections=load_connections(connections) if connections else None)


def folder_of(config: PipelineConfig) -> Path:
    """Give the folder of templates that a pipeline names. Raises UserError where it names none."""
    from enricher.model import UserError

    if config.pipeline.templates is None:
        raise UserError(f"{config.file}: name the folder of templates: `templates: ../templates`")
    return config.folder / config.pipeline.templates
