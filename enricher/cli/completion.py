"""`enricher completion`."""

from __future__ import annotations

import os
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def command(shell: str | None) -> None:
    """Print the completion script of a shell: that of $SHELL where none is named.

    \b
    To install it:
      bash: put  eval "$(enricher completion bash)"  into ~/.bashrc
      zsh:  put  eval "$(enricher completion zsh)"  into ~/.zshrc, after compinit
      fish: enricher completion fish > ~/.config/fish/completions/enricher.fish

    \b
    Examples:
      enricher completion
      eval "$(enricher completion bash)"
    """
    from click.shell_completion import get_completion_class

    from enricher.cli import cli
    from enricher.model import UserError

    name = shell or Path(os.environ.get("SHELL", "")).name
    completion = get_completion_class(name) if name in SHELLS else None
    if completion is None:
        raise UserError(f"$SHELL names no known shell: write one of {', '.join(SHELLS)}")
    script = completion(cli, {}, "enricher", "_ENRICHER_COMPLETE")
    # Not source(): for bash, it starts the bash at hand to ask for its version.
    click.echo(script.source_template % script.source_vars())
