"""Inputs that reach further, by atheris: `python -m tests.fuzz.guided TARGET SECONDS FOLDER`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris

LONGEST = 4096
SLOW_S = 10
MIB = 1024


def main(name: str, seconds: str, folder: str) -> None:
    """Fuzz one target; what it reaches is kept in the folder, what fails in `failed-…` there."""
    with atheris.instrument_imports(include=["enricher"]):
        from tests.fuzz.targets import TARGETS
    warnings.simplefilter("error")
    target = TARGETS[name]
    corpus = Path(folder, "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*target.seeds, *target.findings()]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = Path(folder, "words")
    words.write_text(
        "".join(
            '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'
            for word in target.words
            if len(word) < 60
        )
    )
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOW_S}",
        f"-rss_limit_mb={MIB}",
        f"-artifact_prefix={folder}/failed-",
        f"-dict={words}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
