"""What a pipeline file may say of alerts, and what its author is told of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from enricher.build import build_alerts, unsent
from enricher.config import PipelineConfig, load
from enricher.model import ConfigError

PIPELINE = """\
name: p
stages: [json: {}]
routes: [console: {}]
alerts:
  - name: A
    when: level == "ERROR"
    summary: s
    alertmanager:
"""


def config(folder: Path, target: str, head: str = "") -> PipelineConfig:
    """Load the pipeline with this target, indented as it has to be."""
    text = head + PIPELINE + "".join(f"      {line}\n" for line in target.splitlines())
    (folder / "p.yaml").write_text(text)
    return load(folder / "p.yaml", {})


def problem(folder: Path, target: str) -> str:
    """Give the one mistake, without the folder."""
    with pytest.raises(ConfigError) as caught:
        config(folder, target)
    (found,) = caught.value.problems
    return str(found).removeprefix(f"{folder}/")


@pytest.mark.parametrize("name", ["9a", "a-b", "a.b", "", "ä", "a b"])
def test_a_label_has_a_name_that_alertmanager_takes(tmp_path: Path, name: str) -> None:
    """The line is the label's; an annotation's name follows the same rule."""
    told = problem(tmp_path, f'labels: {{service: a,\n         "{name}": x}}')
    assert told == (
        f"p.yaml:10:16: alerts[0].alertmanager.labels.{name}: "
        f'"{name}" is no label: letters, digits and _ only, no digit first'
    )
    assert "is no label" in problem(tmp_path, f'annotations: {{"{name}": x}}')


def test_reserved_names(tmp_path: Path) -> None:
    assert "a label does not begin with __" in problem(tmp_path, "labels: {__name: x}")


@pytest.mark.parametrize(
    "text",
    ["{user_id}", "{id}", "{user.id}", "{app.userId}", "{ip_address}", "x-{amount}", "{message}"]
    + ["{@timestamp}", "{@timestamp:%Y}", "{timestamp}", "{error.stack_trace}", "{_id}"],
)
def test_a_label_of_many_values_is_refused(tmp_path: Path, text: str) -> None:
    """With the line, and the two ways out."""
    field = text.removeprefix("x-").strip("{}").removesuffix(":%Y")
    assert problem(tmp_path, f'labels:\n  who: "{text}"') == (
        f"p.yaml:10:9: alerts[0].alertmanager.labels.who: {{{field}}} has too many values for a "
        "label, each would be an alert of its own: put it under annotations, or list "
        f"{field} under low_cardinality"
    )
    config(tmp_path, f'labels: {{who: "{text}"}}\nlow_cardinality: ["{field}"]')
    config(tmp_path, f'annotations: {{who: "{text}"}}')


def test_a_label_of_the_time_of_processing_has_one_way_out(tmp_path: Path) -> None:
    told = problem(tmp_path, 'labels: {when: "{$now}"}')
    assert told.endswith("{$now} has too many values for a label, each would be an alert of its own: put it under annotations")  # fmt: skip


def test_labels_of_few_values(tmp_path: Path) -> None:
    config(
        tmp_path,
        "labels: {a: '{service}', b: '{error.type}', c: '{payment_method}', d: '{$hostname}', "
        "e: '{error_code}', f: x, g: '{paid}', h: '{grid}'}",
    )


@pytest.mark.parametrize("url", ["localhost/{id}", "javascript:x", "{url}", "http://a b/{id}", "ftp://x"])  # fmt: skip
def test_a_generator_url_is_a_url(tmp_path: Path, url: str) -> None:
    told = problem(tmp_path, f'generator_url: "{url}"')
    assert told.startswith("p.yaml:9:7: alerts[0].alertmanager.generator_url: ")
    assert told.endswith("a URL begins with http:// or https:// and has no blanks: write %20")


@pytest.mark.parametrize(
    "field", ["repeat_after_s: 0", "group_wait_s: -1", "max_per_hour: 0", "ttl_s: 0", "ttls: 5"]
)
def test_limits_are_checked(tmp_path: Path, field: str) -> None:
    (tmp_path / "p.yaml").write_text(
        PIPELINE.replace("    alertmanager:\n", f"    {field}\n    alertmanager: {{}}\n")
    )
    with pytest.raises(ConfigError, match=r"p\.yaml:8:5: alerts\[0\]\."):
        load(tmp_path / "p.yaml", {})


@pytest.mark.parametrize(
    "urls", ["localhost:9093", "http://", "http://user:s3cr/t@am:9093", "ftp://am", "http://a b"]
)
def test_a_url_of_alertmanager_is_one(tmp_path: Path, urls: str) -> None:
    """What is wrong with it is not repeated: it may hold a password."""
    head = f'connections: {{alertmanager: {{urls: "http://ok:9093, {urls}"}}}}\n'
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, "{}", head)
    assert "p.yaml:1:30: connections.alertmanager.urls: a URL is wanted" in str(caught.value)
    assert "s3cr" not in str(caught.value)


def test_secrets_of_a_connection_are_not_shown(tmp_path: Path) -> None:
    head = 'connections: {alertmanager: {urls: "http://u:s3cret@am:9093", token: s3cret}}\n'
    found = config(tmp_path, "{}", head).pipeline.connections
    assert "s3cret" not in repr(found)
    assert found.alertmanager is not None
    (options,) = found.alertmanager.client_options()
    assert options["base_url"] == "http://am:9093"
    assert options["headers"] == {"authorization": "Bearer s3cret"}


@pytest.mark.parametrize("line", ["", 'connections: {alertmanager: {urls: ""}}\n', "connections: {alertmanager: {}}\n"])  # fmt: skip
def test_an_empty_connection_is_none(tmp_path: Path, line: str) -> None:
    found = config(tmp_path, "{}", line)
    assert unsent(found) == ["A by alertmanager: give connections.alertmanager.urls"]
    assert build_alerts(found)[0].terms == {}


def test_the_variable_that_is_to_be_set_is_named(tmp_path: Path) -> None:
    head = 'connections: {alertmanager: {urls: "${AM_URL:-}"}}\n'
    assert unsent(config(tmp_path, "{}", head)) == ["A by alertmanager: set AM_URL"]
    (tmp_path / "p.yaml").write_text(head + PIPELINE + "      {}\n")
    assert unsent(load(tmp_path / "p.yaml", {"AM_URL": "http://am:9093"})) == []
