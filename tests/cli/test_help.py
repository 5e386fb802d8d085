"""Every command explains itself, with examples, and `--help` is quick."""

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from enricher.cli import COMMANDS, cli

HEAVY = ("pydantic", "aiokafka", "elasticsearch", "redis", "rich", "maxminddb", "orjson", "yaml")


UNSAID = {"bench": {"output"}}
"""Options without a help text, by command; to be emptied, never to grow."""


def every_command() -> list[list[str]]:
    """Give the words of every command, and of those below it."""
    found = []
    for name in COMMANDS:
        found.append([name])
        command = importlib.import_module(f"enricher.cli.{name.replace('-', '_')}").command
        if isinstance(command, click.Group):
            found += [[name, inner] for inner in command.commands]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_examples(words: list[str]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="enricher")
    assert result.exit_code == 0
    assert f"Usage: enricher {' '.join(words)}" in result.stdout
    _, _, examples = result.stdout.partition("Examples:\n")
    assert f"enricher {' '.join(words)}" in examples


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_option_says_what_it_does(words: list[str]) -> None:
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    without = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert set(without) <= UNSAID.get(" ".join(words), set())


def test_the_list_of_commands_is_shown() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


def test_a_misspelt_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["chekc"])
    assert result.exit_code == 2
    assert 'did you mean "check"?' in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Start-up is felt at every keypress of completion."""
    script = (
        "import sys, click; from enricher.cli import cli\n"
        f"cli.main({arguments!r}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
