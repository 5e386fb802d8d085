"""The reference as Markdown, written from the models: stages, sources, sinks, pipeline files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from enricher import fields
from enricher.config import Pipeline
from enricher.connections import Connections
from enricher.expression import compile_predicate
from enricher.functions import FUNCTIONS
from enricher.routes import Route, Window
from enricher.sources import SOURCES
from enricher.stages import STAGES
from enricher.stages.base import Example, Stage
from enricher.template import BUILTINS, lenient_renderer, renderer

NOTICE = "<!-- Written by `python -m enricher.reference` from the code; do not edit. -->"
_ELSEWHERE = ("connections", "routes", "window", "dead_letters")
"""Blocks of a pipeline file that the page of sinks describes."""
_EVENT: dict[str, Any] = {
    "level": "ERROR",
    "amount": 120,
    "service": "payment-service",
    "user": {"id": "u1", "tier": None},
    "a.b": 1,
    "items": ["book", "pen"],
    "@timestamp": "2025-10-20T23:15:00+05:30",
}
_EXPRESSIONS = (
    'level in ["ERROR", "CRITICAL"] and amount > 100',
    'level == "ERROR" and not user.tier',
    '"payment" in service',
    '"book" in items',
    'amount * 2 >= 240 or missing.field == "x"',
    "amount > 5 * user.mean or min(amount / 7, 20) > 17",
    "missing > 1",
    "missing != 1",
    "service > 5",
    '["a.b"] == 1',
    '@timestamp and user.id != "u2"',
    r'matches(service, "^payment-[a-z]+$")',
    "length(items) == 2 and is_number(amount)",
)
_TEMPLATES = (
    "user {user.id} paid {amount}",
    "logs-{@timestamp:%Y.%m.%d}",
    "₹{amount:,.2f}",
    "{missing} of {user.id}",
    '{["a.b"]} and {{braces}}',
)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    cells = [head, ["---"] * len(head), *lines]
    rows = [[text.replace("|", r"\|").replace("\n", " ") for text in line] for line in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def field_table(model: type[BaseModel], skip: Container[str] = ()) -> str:
    """Write the fields of a model as a table."""
    lines = [
        (f"`{name}`", kind, default if default in ("", "required") else f"`{default}`", text)
        for name, kind, default, text in fields.rows(model, skip)
    ]
    return table(("field", "type", "default", "meaning"), lines) if lines else "No fields."


def model_text(model: type[BaseModel], skip: Container[str] = (), *, inner: bool = True) -> str:
    """Write what a model says of itself, its fields, and (`inner`) the models inside them."""
    parts = [fields.summary(model), fields.description(model), field_table(model, skip)]
    for one in fields.nested(model) if inner else ():
        parts += [f"`{one.__name__}`: {fields.summary(one)}", fields.description(one)]
        parts.append(field_table(one))
    return join(parts)


def join(parts: Iterable[str]) -> str:
    """Put paragraphs together, leaving empty ones out."""
    return "\n\n".join(part for part in parts if part)


def page(title: str, parts: Iterable[str]) -> str:
    """Put a page together."""
    return join([NOTICE, f"# {title}", *parts]) + "\n"


def stages_page() -> str:
    """Write docs/stages.md."""
    index = [(f"[`{kind}`](#{kind})", fields.summary(stage)) for kind, stage in STAGES.items()]
    return page(
        "Stages",
        [
            _STAGES,
            table(("stage", "what it does"), index),
            "## Every stage",
            field_table(Stage),
            *(f"## {kind}\n\n{stage_text(stage)}" for kind, stage in STAGES.items()),
        ],
    )


def stage_text(stage: type[Stage]) -> str:
    """Write the reference of one stage: what it does, its own fields, its examples."""
    shared = [
        name
        for name, info in Stage.model_fields.items()
        if info.default == stage.model_fields[name].default
    ]
    return join([model_text(stage, shared), *map(example_text, stage.examples)])


def example_text(example: Example) -> str:
    """Write one example: the YAML, what is given and what comes out."""
    parts = [f"Example: {example.title}", f"```yaml\n{as_item(example.yaml)}\n```"]
    if example.lookups:
        stored = {key: json.loads(value) for key, value in example.lookups.items()}
        parts.append(f"stored:\n\n```json\n{as_json(stored)}\n```")
    parts += [f"`{name}`:\n\n```\n{text.rstrip()}\n```" for name, text in example.files.items()]
    parts.append(f"given:\n\n```json\n{as_json(example.given)}\n```")
    parts.append(f"result:\n\n```json\n{as_json(example.expect)}\n```")
    return join(parts)


def as_item(yaml: str) -> str:
    """Write the YAML of an example as an item of a list, as it stands in a pipeline file."""
    return "- " + textwrap.indent(yaml, "  ").lstrip()


def as_json(value: Mapping[str, Any]) -> str:
    """Write a value as JSON: on one line where it is short."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= 80 else json.dumps(value, ensure_ascii=False, indent=2)


def sources_page() -> str:
    """Write docs/sources.md."""
    parts = []
    for kind, source in SOURCES.items():
        examples = getattr(source, "examples", ())
        yaml = "\n".join(as_item(one) for one in examples)
        parts += [f"## {kind}", model_text(source), f"```yaml\n{yaml}\n```" if yaml else ""]
    lead = "A pipeline may have several sources. Where the servers are stands under "
    return page("Sources", [f"{lead}[`connections:`](sinks.md#connections).", *parts])


def sinks_page() -> str:
    """Write docs/sinks.md."""
    parts = ["## routes", model_text(Route, inner=False)]
    for sink in Route.sinks:
        parts += [f"### {sink}", *map(model_text, _models_of(Route, sink))]
    parts += ["## window", model_text(Window)]
    parts += ["## dead_letters", *map(model_text, _models_of(Pipeline, "dead_letters"))]
    parts += ["## connections", model_text(Connections, inner=False)]
    for name in Connections.model_fields:
        parts += [f"### {name} connection", *map(model_text, _models_of(Connections, name))]
    lead = (
        "An event goes where the first route that matches sends it. The last route has no `when` "
        "and takes the rest."
    )
    return page("Sinks", [lead, *parts])


def pipeline_page() -> str:
    """Write docs/pipeline.md."""
    links = {"stages": "stages.md", "sources": "sources.md"}
    links |= {"outputs": "outputs.md", "alerts": "alerts.md"}
    links |= dict.fromkeys(_ELSEWHERE, "sinks.md")
    described = [f"- [`{name}`]({file})" for name, file in links.items()]
    blocks = [
        f"## {name}\n\n{join(map(model_text, models))}"
        for name in Pipeline.model_fields
        if name not in links and (models := _models_of(Pipeline, name))
    ]
    variables = (
        "`${NAME}`, `${NAME:-default}` and `${file:/run/secrets/x}` are put in after the YAML is "
        "parsed, inside single texts, everywhere but under `tests`. `$${` stands for `${`. "
        "A variable that is missing and has no default is an error."
    )
    return page(
        "Pipeline files",
        [
            "`enricher schema` prints the JSON Schema of this, for editors.",
            field_table(Pipeline, links),
            "Described on pages of their own:",
            "\n".join(described),
            f"## Variables\n\n{variables}",
            *blocks,
        ],
    )


def expressions_page() -> str:
    """Write docs/expressions.md; the results in it are worked out as it is written."""
    functions = [
        (f"`{name}({_arguments(one.least, one.most)})`", one.text)
        for name, one in FUNCTIONS.items()
    ]
    values = [
        (f"`{text}`", "true" if compile_predicate(text)(_EVENT) else "false")
        for text in _EXPRESSIONS
    ]
    texts = [
        (f"`{text}`", f"`{filled}`" if (filled := renderer(text)(_EVENT)) else "nothing",
         f"`{lenient_renderer(text)(_EVENT)}`")
        for text in _TEMPLATES
    ]  # fmt: skip
    builtins = [(f"`{{${name}}}`", text) for name, text in BUILTINS.items()]
    return page(
        "Expressions, fields and templates",
        [
            f"The examples are of this event:\n\n```json\n{as_json(_EVENT)}\n```",
            f"## Fields\n\n{_FIELDS}",
            f"## Conditions\n\n{_CONDITIONS}",
            table(("function", "gives"), functions),
            table(("condition", "is"), values),
            f"## Templates\n\n{_TEMPLATE_RULES}",
            table(("template", "an id, a key", "a text for people"), texts),
            table(("value", "is"), builtins),
        ],
    )


def _arguments(least: int, most: int) -> str:
    """Write the arguments of a function: those that may be left out in brackets."""
    names = ", ".join("xy"[:least])
    if most > 2:
        return f"{names}, …"
    return f"{names}[, y]" if most > least else names


def _models_of(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """Give the models that the field of a model may hold, without those inside them."""
    info = model.model_fields[name]
    return fields.models_in(info.annotation)


_STAGES = """Stages run in the order in which a pipeline file lists them; the first one decodes. A
field that is absent or null is no failure, a wrong type is. A *field* is written as
[expressions.md](expressions.md#fields) says."""
_FIELDS = """`a` is a field of the event, `a.b` the field `b` of the object `a`, `["a.b"]` a key
with a dot in it. `@timestamp` needs no quotes. A path may be 16 fields deep."""
_CONDITIONS = """What stands after `when:` has Python's syntax: `==` `!=` `<` `<=` `>` `>=`, `in`
and `not in`, `and`, `or`, `not`, parentheses, `+ - * /`, texts in quotes, numbers, `true`,
`false`, `null`, lists of those, fields and the functions below. The pattern of `matches` is a
text.

- A field that is missing is `null`.
- `==` and `!=` compare as Python does.
- `<`, `<=`, `>`, `>=` and `in` are false where a value is missing or the types do not fit; they are
  never an error.
- Arithmetic on what is no number gives `null`; so does a division by zero, and what no JSON can
  hold: an infinite number, an integer outside 64 bits.
- A bare field is true unless it is missing, `null`, `false`, zero or empty.
- In YAML, a condition that begins with a quote or `[` is put in quotes as a whole."""
_TEMPLATE_RULES = """A text with `{field}` in it. `{@timestamp:%Y.%m.%d}` writes a time by
strftime's rules, nothing below the hour, `{speed:.0f}` a number with so many digits behind its
point, `{amount:,.2f}` with commas between the thousands; `{{` and `}}` stand for braces. Where a
field is missing or empty there is no text at all: an id falls back to the record's own, a lookup is
not made, `set` writes nothing. In a text for people (an alert, a reason) `–` stands in its place.

In the name of an index, a field needs its `allowed` values; any other value sends the event on to
the next route, tagged `_index_failure`. A time that is missing or outside `window` leads to
`<what stands before the first brace>-outofrange`."""
