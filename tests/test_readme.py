"""README tells the truth: its commands exist, its pipeline works, its error is the real one."""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from enricher.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_there_are_two_set_up_commands() -> None:
    """`make run` and `make test` come first, and the Makefile has them."""
    first = blocks()[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make run", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_pipeline_checks_and_its_test_passes(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    file = tmp_path / "orders.yaml"
    file.write_text(text)
    assert CliRunner().invoke(cli, ["check", str(file)], env={}).exit_code == 0
    result = CliRunner().invoke(cli, ["test", str(file)])
    assert result.exit_code == 0
    assert "1 passed" in result.stdout


def test_the_error_is_what_is_printed(tmp_path: Path) -> None:
    """The line that README shows is the one that `check` prints, but for the place."""
    [text] = blocks("yaml")
    file = tmp_path / "orders.yaml"
    file.write_text(text.replace("table:", "tabel:"))
    result = CliRunner().invoke(cli, ["check", str(file)])
    assert result.exit_code == 2
    shown = next(line for line in README.splitlines() if line.startswith("pipelines/orders.yaml:"))
    printed = next(line for line in result.stderr.splitlines() if "unknown field" in line)
    assert printed.split(": ", 1)[1] == shown.split(": ", 1)[1]
    assert printed.split(":")[1:3] == shown.split(":")[1:3]


def test_every_command_that_it_shows_exists() -> None:
    for line in "".join(blocks()).splitlines():
        for call in re.findall(r"enricher ([a-z-]+) ", line):
            assert call in COMMANDS, shlex.quote(line)
