"""The JSON Schema of a pipeline file, put together from the models that read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from enricher.config import Pipeline
from enricher.expectation import Expectation, InlineTest, Step
from enricher.sources import SOURCES
from enricher.stages import STAGES

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLES: dict[str, Schema] = {
    "Variable": {
        "type": "string",
        "pattern": r"^\$\{",
        "description": "A variable in place of the value: `${NAME}` or `${NAME:-default}`.",
    },
    "TextWithVariable": {
        "type": "string",
        "pattern": r"\$\{",
        "description": "A text with a variable in it: `${NAME}` or `${NAME:-default}`.",
    },
}
_NOTES = ("description", "default")
"""What stays outside when a schema becomes one of several."""


class _Generator(GenerateJsonSchema):
    """Knows that a list which something is done to before takes a text with commas, too."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Schema:
        inner = super().function_before_schema(schema)
        takes_text = inner.get("type") == "array"
        return {"anyOf": [inner, {"type": "string"}]} if takes_text else inner


def pipeline_schema() -> Schema:
    """Build the JSON Schema (draft 2020-12) of a pipeline file."""
    models: list[type[BaseModel]] = [Pipeline, *STAGES.values(), *SOURCES.values()]
    references, schemas = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator
    )
    definitions: dict[str, Schema] = schemas["$defs"]
    names = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    verbatim = {
        one.__name__ for one in (Expectation, InlineTest, Step)
    }  # no variables under `tests`
    for name, definition in definitions.items():
        _tidy(definition, variables=name not in verbatim)
    pipeline = definitions.pop(names[Pipeline])
    pipeline["properties"]["stages"]["items"] = _item(STAGES, names, definitions)
    pipeline["properties"]["sources"]["items"] = _item(SOURCES, names, definitions)
    pipeline["description"] = "A pipeline of enricher: sources, stages, routes."
    return {
        "$schema": DIALECT,
        "title": "enricher pipeline",
        **pipeline,
        "$defs": dict(sorted((definitions | _VARIABLES).items())),
    }


def _item(
    catalogue: Mapping[str, type[BaseModel]],
    names: Mapping[type[BaseModel], str],
    definitions: Mapping[str, Schema],
) -> Schema:
    """Build the schema of one item such as `- translate: {…}`."""
    properties: dict[str, Schema] = {}
    for kind, model in catalogue.items():
        reference = {"$ref": f"#/$defs/{names[model]}"}
        can_be_empty = not definitions[names[model]].get("required")
        properties[kind] = {"anyOf": [reference, {"type": "null"}]} if can_be_empty else reference
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _tidy(schema: Schema, *, variables: bool) -> None:
    """Leave out what says nothing, join wrapped lines, let variables stand in for scalars."""
    schema.pop("title", None)
    if schema.get("default", 0) in (None, "") or isinstance(schema.get("default"), dict):
        del schema["default"]
    if "description" in schema:
        schema["description"] = re.sub(r"(?<!\n)\n(?!\n)", " ", schema["description"])
    for inner in schema.get("properties", {}).values():
        _tidy(inner, variables=variables)
    for choice in schema.get("anyOf", ()):  # a scalar among them: see below, once for all
        _tidy(choice, variables=variables and choice.get("type") in ("array", "object"))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            _tidy(schema[key], variables=variables)
    _flatten(schema)
    if variables and (variable := _variable_for(schema)):
        _add_choice(schema, {"$ref": f"#/$defs/{variable}"})


def _flatten(schema: Schema) -> None:
    """Put the choices of a choice among its own, each once."""
    choices: list[Schema] = []
    for choice in schema.get("anyOf", ()):
        for one in choice.get("anyOf", (choice,)):
            if one not in choices:
                choices.append(one)
    if choices:
        schema["anyOf"] = choices


def _variable_for(schema: Schema) -> str | None:
    """Name the text that stands for a variable here; None where any text may stand anyway."""
    choices = schema.get("anyOf", [schema])
    texts = [choice for choice in choices if choice.get("type") == "string"]
    if texts:
        is_bound = all("pattern" in text or "enum" in text for text in texts)
        return "TextWithVariable" if is_bound else None
    scalars = {"number", "integer", "boolean"}
    return "Variable" if any(choice.get("type") in scalars for choice in choices) else None


def _add_choice(schema: Schema, choice: Schema) -> None:
    if "anyOf" not in schema:
        own = {key: schema.pop(key) for key in list(schema) if key not in _NOTES}
        schema["anyOf"] = [own]
    schema["anyOf"].append(choice)
