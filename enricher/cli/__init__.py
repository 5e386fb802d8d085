"""The command line. Each command is one small file, imported when it is called."""

from __future__ import annotations

import importlib
import io
import os
import sys

import click

from enricher import __version__
from enricher.model import UserError

# pydantic looks through every installed package for plugins; we use none, and start sooner.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

COMMANDS = {
    "run": "Run a pipeline: as a daemon, or locally over files to their end.",
    "dry-run": "Show what a pipeline makes of a file. No network, nothing written.",
    "check": "Check pipeline files: every mistake with its line.",
    "test": "Run the tests that stand in pipeline files.",
    "backtest": "Run history through the rules: hits, scores, precision, what would change.",
    "stages": "Show the reference of stages, with examples.",
    "schema": "Print the JSON Schema of pipeline files, for editors.",
    "generate": "Generate realistic events as JSON lines.",
    "templates": "Show or install the Elasticsearch templates.",
    "dlq": "Look into the dead letters of a pipeline, replay or purge them.",
    "bench": "Measure what a pipeline costs, stage by stage.",
    "completion": "Print the completion script of your shell.",
}
"""Name and one line of help: `--help` must not import every command."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Give every name, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"enricher.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Help where the name is misspelt."""
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            from enricher.words import suggest

            raise click.UsageError(f'no command "{args[0]}"{suggest(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; whoever reads our output may leave before its end."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # as `head` does
            _close_stdout()
            raise click.exceptions.Exit(0) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="enricher")
def cli() -> None:
    """Enrich logs from Kafka into Elasticsearch: nothing lost, nothing twice.

    \b
    Examples:
      enricher generate -n 1000 > events.ndjson
      enricher dry-run pipelines/payments.yaml events.ndjson
      enricher run pipelines/payments.yaml events.ndjson --local
      enricher run pipelines/payments.yaml

    Exit code 0: done. 1: done, and the answer is no (a test failed). 2: it could not be done.
    """


def main() -> None:
    """Run the command line; a user's mistake is printed, never traced."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except UserError as error:
        click.echo(str(error), err=True)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _close_stdout() -> None:
    """Let what is still to be flushed go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
