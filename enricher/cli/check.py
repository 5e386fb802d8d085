"""`enricher check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enricher.model import UserError

if TYPE_CHECKING:
    from enricher.config import PipelineConfig


@click.command()
@click.argument("pipelines", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--allow-missing-env", is_flag=True, help="Let variables be missing (CI without secrets)."
)
@click.option("--connections", type=click.Path(path_type=Path), help="Stand-in for `connections:`.")
def command(pipelines: tuple[Path, ...], allow_missing_env: bool, connections: Path | None) -> None:
    """Check pipeline files: every mistake with its line, in one pass.

    Takes the same way as the daemon's start, so what passes here starts there. No network.

    \b
    Examples:
      enricher check pipelines/*.yaml
      enricher check --allow-missing-env pipelines/payments.yaml
    """
    from enricher.build import build
    from enricher.config import load, load_connections

    failed = False
    replacement = load_connections(connections) if connections else None
    for pipeline in pipelines:
        try:
            config = load(pipeline, connections=replacement, allow_missing_env=allow_missing_env)
            build(config)
            if not allow_missing_env:
                check_files(config)
        except UserError as error:
            click.echo(str(error), err=True)
            failed = True
        else:
            stages, routes = len(config.stages), len(config.pipeline.routes)
            tests = len(config.pipeline.tests)
            click.echo(f"{pipeline}: ok, {stages} stages, {routes} routes, {tests} tests")
    if failed:
        raise click.exceptions.Exit(2)


def check_files(config: PipelineConfig) -> None:
    """Open the files that are named beside the stages', as a start does. Raises UserError."""
    connections = config.pipeline.connections
    for connection in (connections.kafka, connections.elasticsearch):
        if connection is not None:
            try:
                connection.client_options()
            except UserError as error:
                raise UserError(f"{config.file}: {error}") from None
    for source in config.sources:
        try:
            source.check_files(config.folder)
        except UserError as error:
            raise UserError(f"{config.file}: source {source.name} {error}") from None
    if config.pipeline.templates is not None and connections.elasticsearch is not None:
        from enricher.sinks.templates import load

        load(config.folder / config.pipeline.templates, os.environ)
