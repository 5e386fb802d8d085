"""docs/security.md names tests that exist, and numbers that are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from enricher import (
    admin,
    budget,
    document,
    expression,
    outputs,
    path,
    plan,
    readings,
    routes,
    tally,
)
from enricher.beats.limits import LIMITS
from enricher.connections import ElasticsearchConnection
from enricher.geoip import places
from enricher.http import inflate
from enricher.pii import scanner
from enricher.sinks import dead_letter_kafka
from enricher.sources.file import File
from enricher.sources.http import Http
from enricher.sources.kafka import Kafka
from enricher.stages import base, extract
from enricher.stages.json import Json
from enricher.stages.lookup import Lookup
from enricher.tail import source as tail
from enricher.waiting import Backoff

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def default(model: Any, name: str) -> Any:
    return model.model_fields[name].default


NUMBERS = {
    f"{default(Json, 'max_bytes') >> 20} MiB (`json.max_bytes`)": "a record",
    f"{default(Json, 'max_depth')} levels (`json.max_depth`": "its depth",
    f"{budget.DEFAULT_BUDGET_MIB} MiB in flight (`--budget-mib`)": "memory",
    f"{budget.MOST_RECORDS:,} records": "records in flight",
    f"{default(Kafka, 'fetch_max_bytes') >> 20} MiB fetched ahead": "a broker's answer",
    f"{default(Kafka, 'max_bytes') >> 20} MiB a delivery": "a delivery",
    f"{routes.Window().past_days} days back, {routes.Window().future_days} day ahead": "the window",
    f"{routes.MAX_INDEX_BYTES} bytes": "an index",
    f"{routes.MAX_ID_BYTES} bytes, always inside a JSON text": "an id",
    f"{outputs.MAX_KEY_BYTES} bytes a key": "a key of an output",
    f"{default(Lookup, 'max_key_bytes')} bytes (`max_key_bytes`)": "a key",
    f"{LIMITS.window:,} events": "a window of Beats",
    f"{LIMITS.frame >> 20} MiB compressed, {LIMITS.inflated >> 20} MiB inflated": "a frame",
    f"{LIMITS.ratio}:1 beyond {LIMITS.ratio_from >> 20} MiB": "a bomb",
    f"{default(Http, 'max_body_bytes') >> 20} MiB sent": "a body",
    f"{default(Http, 'max_inflated_bytes') >> 20} MiB inflated, {default(Http, 'max_inflate_ratio')}:1"
    f" beyond {inflate.FREE >> 20} MiB": "a body, inflated",
    f"{default(Http, 'max_records'):,} a request, {default(Http, 'max_record_bytes') >> 20} MiB": (
        "records of a request"
    ),
    f"{default(Http, 'max_held_bytes') >> 20} MiB held (`max_held_bytes`)": "requests",
    f"{default(Http, 'max_connections')} connections, {default(Http, 'header_s'):.0f} s a head, "
    f"{default(Http, 'body_s'):.0f} s a body": "slow clients",
    f"{default(File, 'max_record_bytes') >> 20} MiB (`max_record_bytes`)": "a line",
    f"{default(File, 'max_open_files')} open at a time (`max_open_files`), {tail.LAGS} on": "files",
    f"{scanner.CANDIDATES:,} candidates an event": "a scan",
    f"{extract.LIMIT:,} to {places.LIMIT:,} short texts": "what is remembered",
    f"{tally.FAMILIES} families of indices, {readings.ERRORS} kinds of error": "labels of metrics",
    f"{plan.MOST_NAMES:,} names and as many shapes": "names of fields",
    f"{default(Lookup, 'cache_mib'):.0f} MiB of answers": "answers",
    f"{base.MAX_REASON} characters of a reason": "a reason",
    f"{Backoff().longest_hint_s:.0f} s |": "a Retry-After",
    f"backoff to {Backoff().cap_s:.0f} s": "a pause",
    f"{default(ElasticsearchConnection, 'timeout_s'):.0f} s (`timeout_s`)": "a request",
    f"{dead_letter_kafka._REASON:,} bytes in a letter": "a letter's reason",
    f"{document.MAX_BYTES >> 20} MiB, {document.MAX_NODES:,} values": "YAML",
    f"thousand | {document.MAX_DEPTH} levels": "YAML's depth",
    f"{expression.MAX_LENGTH:,} characters, depth {expression.MAX_DEPTH}": "a condition",
    f"{path.MAX_DEPTH} levels": "a path",
    f"{admin._BODY:,} bytes of body, {admin._BACKLOG} waiting": "the admin endpoint",
    admin.DEFAULT: "where it listens",
}


def test_many_tests_are_named() -> None:
    """The pattern finds them: it is no test of an empty list."""
    assert len(TESTS) > 40
    assert PAGE.count("::") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", PAGE))


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_named_test_exists(file: str, name: str) -> None:
    """Under its name, in its file."""
    text = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_the_codes(number: str) -> None:
    """As it stands in the code, and so in the page."""
    assert number in PAGE, NUMBERS[number]


def test_a_hint_to_wait_is_bounded() -> None:
    """A server that says a year is not obeyed: it would stall the pipeline."""
    backoff = Backoff(base_s=0.1, cap_s=1.0)
    assert backoff.delay(1, hint_s=365 * 86_400.0) <= backoff.longest_hint_s + 1.0
    assert backoff.delay(1, hint_s=-5.0) <= 1.0
