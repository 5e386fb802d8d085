"""The shipped Elasticsearch objects ask for what the payments domain needs, and cost no document for one bad value."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent / "templates" / "elasticsearch"
PATHS = sorted(ROOT.glob("*/*.json"))
COMMON = "component_templates/enricher-common.json"
INDEX_TEMPLATES = ("payment-logs", "payment-critical-logs", "application-logs", "fraud-logs")

# Lucene refuses a term of more bytes than this, and the document with it; a character takes at most four bytes.
LONGEST_TERM = 32766

# The types that Elasticsearch 8.19 offers `ignore_malformed` for, of those in use.
CAN_IGNORE_MALFORMED = {
    "boolean",
    "date",
    "double",
    "float",
    "geo_point",
    "integer",
    "ip",
    "long",
    "scaled_float",
}


def load(name: str) -> dict[str, Any]:
    loaded = json.loads((ROOT / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def template(name: str) -> dict[str, Any]:
    found: dict[str, Any] = load(f"index_templates/{name}.json")
    return found


def properties() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(COMMON)["template"]["mappings"]["properties"]
    return found


def fields(value: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield everything that is the mapping of a field, in `properties`, `fields` and dynamic templates alike."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield path, value
        for key, inner in value.items():
            yield from fields(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from fields(inner, f"{path}/{number}")


ALL_FIELDS = [
    pytest.param(field, id=f"{path.stem}{where}")
    for path in PATHS
    for where, field in fields(json.loads(path.read_text(encoding="utf-8")))
]


def test_every_object_has_its_file() -> None:
    assert {str(path.relative_to(ROOT)) for path in PATHS} == {
        COMMON,
        "ilm_policies/payment-logs-policy.json",
        *(f"index_templates/{name}.json" for name in INDEX_TEMPLATES),
    }


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_object_says_whose_it_is_and_which_version(path: Path) -> None:
    """A lifecycle policy takes its version inside `_meta`: Elasticsearch refuses another key and counts its own."""
    body = json.loads(path.read_text(encoding="utf-8"))
    meta = body["policy"]["_meta"] if "policy" in body else body["_meta"]
    version = meta["version"] if "policy" in body else body["version"]

    assert isinstance(version, int)
    assert version >= 1
    assert meta["managed_by"] == "enricher"
    assert meta["description"]


@pytest.mark.parametrize("field", ALL_FIELDS)
def test_no_value_is_too_long_for_a_term(field: dict[str, Any]) -> None:
    if field["type"] in {"keyword", "flattened"}:
        assert field["ignore_above"] * 4 < LONGEST_TERM


@pytest.mark.parametrize("field", ALL_FIELDS)
def test_one_bad_value_never_costs_the_document(field: dict[str, Any]) -> None:
    if field["type"] in CAN_IGNORE_MALFORMED:
        assert field["ignore_malformed"] is True
    else:
        assert field["type"] in {"keyword", "text", "flattened"}


def test_the_shared_settings() -> None:
    assert load(COMMON)["template"]["settings"]["index"] == {
        "number_of_shards": "${ELASTICSEARCH_SHARDS:-3}",
        "number_of_replicas": "${ELASTICSEARCH_REPLICAS:-1}",
        "refresh_interval": "30s",
        "max_result_window": 50000,
        "mapping": {
            "ignore_malformed": True,
            "total_fields": {"limit": 2000, "ignore_dynamic_beyond_limit": True},
        },
    }


def test_unknown_fields_cannot_clash_over_their_shape() -> None:
    """Without subobjects, `error: "text"` and `error: {type: …}` are two fields beside each other."""
    mappings = load(COMMON)["template"]["mappings"]

    assert mappings["subobjects"] is False
    assert mappings["date_detection"] is False
    strings = {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1024}}
    assert {"strings": strings} in mappings["dynamic_templates"]


@pytest.mark.parametrize("name", INDEX_TEMPLATES)
def test_an_index_template_is_built_on_the_shared_part(name: str) -> None:
    body = template(name)

    assert body["index_patterns"] == [f"{name}-*"]
    assert body["composed_of"] == ["enricher-common"]
    # Elastic's own templates go up to 200.
    assert body["priority"] > 200
    assert "data_stream" not in body


@pytest.mark.parametrize("name", INDEX_TEMPLATES)
@pytest.mark.parametrize("suffix", ["2025.01.31", "outofrange"])
def test_every_index_of_a_route_has_one_template(name: str, suffix: str) -> None:
    prefixes = [
        pattern.removesuffix("*")
        for each in INDEX_TEMPLATES
        for pattern in template(each)["index_patterns"]
    ]

    assert [prefix for prefix in prefixes if f"{name}-{suffix}".startswith(prefix)] == [f"{name}-"]


@pytest.mark.parametrize("name", INDEX_TEMPLATES)
def test_a_field_has_one_type_in_all_indices(name: str) -> None:
    own = template(name).get("template", {}).get("mappings", {}).get("properties", {})

    assert not own.keys() & properties().keys()


@pytest.mark.parametrize("name", INDEX_TEMPLATES)
def test_payments_follow_the_lifecycle_policy(name: str) -> None:
    settings = template(name).get("template", {}).get("settings", {})

    if name.startswith("payment-"):
        assert settings == {"index": {"lifecycle": {"name": "payment-logs-policy"}}}
    else:
        assert settings == {}


def test_the_lifecycle_ends_by_deletion_and_never_blocks_a_write() -> None:
    """A late event still goes to the index of its day, and a read-only index would stop the pipeline.

    There is no rollover either: the date is in the index name, not behind an alias.
    """
    phases = load("ilm_policies/payment-logs-policy.json")["policy"]["phases"]

    assert list(phases) == ["hot", "warm", "cold", "delete"]
    assert "delete" in phases["delete"]["actions"]
    actions = {action for phase in phases.values() for action in phase["actions"]}
    assert not actions & {
        "rollover",
        "readonly",
        "forcemerge",
        "shrink",
        "searchable_snapshot",
        "freeze",
    }


@pytest.mark.parametrize(
    "name",
    [
        "service", "version", "environment", "hostname", "request_id", "trace_id", "error.type", "event_type",
        "payment_id", "currency", "payment_method", "upi_vpa", "gateway", "gateway_ref", "status", "error_code",
        "transaction_id", "request_source", "user_tier", "upi_bank", "bank_name", "amount_category", "amount_bucket",
        "time_category", "fraud_indicators", "alert_level", "current_festival", "geo_country", "geo_state", "geo_city",
        "business_region", "geoip.timezone", "tags", "processed_by", "enricher_version", "processing_node", "pipeline",
    ],
)  # fmt: skip
def test_keywords(name: str) -> None:
    assert properties()[name] == {"type": "keyword", "ignore_above": 1024}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("@timestamp", "date"),
        ("timestamp", "date"),
        ("processed_at", "date"),
        ("business_critical", "boolean"),
        ("requires_monitoring", "boolean"),
        ("business_hours", "boolean"),
        ("requires_manual_review", "boolean"),
        ("festival_season", "boolean"),
        ("processing_time_ms", "integer"),
        ("fraud_risk_score", "integer"),
        ("expected_traffic_multiplier", "float"),
        ("user_registration_days", "long"),
        ("user_transaction_count", "long"),
        ("user_lifetime_value", "double"),
        ("ip_address", "ip"),
        ("geoip.location", "geo_point"),
    ],
)
def test_dates_numbers_addresses_and_points(name: str, kind: str) -> None:
    assert properties()[name] == {"type": kind, "ignore_malformed": True}


def test_the_fields_with_a_form_of_their_own() -> None:
    found = properties()

    assert found["level"]["type"] == "keyword"
    assert found["level"]["fields"] == {"text": {"type": "text"}}
    assert found["user_id"] == {
        "type": "keyword",
        "ignore_above": 1024,
        "index": False,
        "doc_values": True,
    }
    assert found["amount"] == {
        "type": "scaled_float",
        "scaling_factor": 100,
        "ignore_malformed": True,
    }
    assert found["message"] == {"type": "text"}
    assert found["error.message"] == {"type": "text"}
    assert found["error.stack_trace"] == {"type": "text", "index": False}
    assert found["user_agent"] == {"type": "text", "index": False}
    assert found["user_data"]["type"] == "flattened"
    assert found["failures"]["type"] == "flattened"
