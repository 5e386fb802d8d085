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

    What may be a mistake is a warning, and no failure.

    Takes the same way as the daemon's start, so what passes here starts there. No network.

    \b
    Examples:
      enricher check pipelines/*.yaml
      enricher check --allow-missing-env pipelines/payments.yaml
    """
    from enricher.advice import advice
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
            for problem in advice(config):
                click.echo(f"warning: {problem}", err=True)
    if failed:
        raise click.exceptions.Exit(2)


def check_files(config: PipelineConfig) -> None:
    """Open what connections, sources and alerts name, as a start does. Raises UserError."""
    from enricher.build import build_alerts
    from enricher.lookups import open_lookups

    connections = config.pipeline.connections
    try:
        for connection in (connections.kafka, connections.elasticsearch, connections.alertmanager):
            if connection is not None:
                connection.client_options()
        redis = connections.redis
        if redis is not None and (redis.file or redis.ca_file or redis.certificate_file):
            open_lookups(redis)
    except UserError as error:
        raise UserError(f"{config.file}: {error}") from None
    for source in config.sources:
        try:
            source.check_files(config.folder)
        except UserError as error:
            raise UserError(f"{config.file}: source {source.name} {error}") from None
    build_alerts(config)
    if config.pipeline.templates is not None and connections.elasticsearch is not None:
        from enricher.sinks.templates import load

        load(config.folder / config.pipeline.templates, os.environ)
