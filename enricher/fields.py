"""What a model says of itself: its summary and its fields, in the words of a pipeline's author."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Container
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from enricher.connections import Addresses
from enricher.expression import Arithmetic, Predicate
from enricher.path import FieldPath
from enricher.template import Template

_WORDS: tuple[tuple[Any, str], ...] = (
    (FieldPath, "field"),
    (Template, "template"),
    (Predicate, "condition"),
    (Arithmetic, "number or arithmetic"),
    (Addresses, "list of texts, or one text with commas"),
    (str, "text"),
    (SecretStr, "text"),
    (int, "integer"),
    (float, "number"),
    (bool, "boolean"),
    (Path, "file"),
    (Any, "any value"),
)
_PLURALS = {"text", "field", "template", "condition", "integer", "number", "file"}


class Row(NamedTuple):
    """One field of a model."""

    name: str
    """As it is written in YAML."""
    type: str
    default: str
    """Its default as YAML, `required`, or nothing."""
    description: str


def rows(model: type[BaseModel], skip: Container[str] = ()) -> list[Row]:
    """Describe the fields of a model, in the order they are declared."""
    hints = get_type_hints(model, include_extras=True)
    return [
        Row(
            info.alias or name,
            type_text(hints[name]) + _bounds(info),
            _default(info),
            _joined(info.description or _said_by_type(hints[name]) or _said_by_model(info)),
        )
        for name, info in model.model_fields.items()
        if name not in skip
    ]


def nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Give the models inside the fields of a model, outer ones first, each once."""
    found: list[type[BaseModel]] = []
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            found += [one for one in (inner, *nested(inner)) if one not in found]
    return found


def summary(model: type[BaseModel]) -> str:
    """Give the first paragraph of a model's docstring, as one line."""
    return _joined(_docstring(model).partition("\n\n")[0])


def description(model: type[BaseModel]) -> str:
    """Give the other paragraphs of a model's docstring, each as one line."""
    _, _, rest = _docstring(model).partition("\n\n")
    return "\n\n".join(_joined(paragraph) for paragraph in rest.split("\n\n") if paragraph)


def type_text(hint: Any) -> str:
    """Name the type of a field: `list of texts`, `` `tag` or `dead_letter` ``."""
    for known, word in _WORDS:
        if hint == known:
            return word
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint.__name__
    return _compound(get_origin(hint), get_args(hint)) or str(hint)


def _compound(origin: Any, arguments: tuple[Any, ...]) -> str:
    """Name a type that is made of others; nothing where it is of no known kind."""
    if origin is Literal:
        return _one_of([f"`{value}`" for value in arguments])
    if origin in (Union, UnionType):
        words = [type_text(one) for one in arguments if one is not NoneType]
        if "number" in words and "integer" in words:
            words.remove("integer")
        return _one_of(words)
    if origin is dict:
        return f"mapping of {_plural(arguments[0])} to {_plural(arguments[1])}"
    if origin is list:
        return f"list of {_plural(arguments[0])}"
    return type_text(arguments[0]) if origin is Annotated else ""


def _one_of(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _plural(hint: Any) -> str:
    word = type_text(hint)
    if word == "any value":
        return "any values"
    return f"{word}s" if word in _PLURALS else word


def _bounds(info: FieldInfo) -> str:
    texts = []
    for bound in info.metadata:
        match bound:
            case Gt(gt=limit):
                texts.append(f"> {limit}")
            case Ge(ge=limit):
                texts.append(f"≥ {limit}")
            case Lt(lt=limit):
                texts.append(f"< {limit}")
            case Le(le=limit):
                texts.append(f"≤ {limit}")
    return f" {', '.join(texts)}" if texts else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", [], {}) or isinstance(value, BaseModel):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _said_by_type(hint: Any) -> str:
    """Give the description that an annotated type brings along, such as `Template`."""
    arguments = get_args(hint)
    if NoneType in arguments:
        hint = next(one for one in arguments if one is not NoneType)
    for known, _ in _WORDS:
        if hint == known:
            notes = [note for note in get_args(hint)[1:] if isinstance(note, FieldInfo)]
            return next((note.description for note in notes if note.description), "")
    return ""


def _said_by_model(info: FieldInfo) -> str:
    """Give the summary of the model that a field holds."""
    return next(map(summary, models_in(info.annotation)), "")


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Give the models that a type names, such as `list[Route] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def _docstring(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "")


def _joined(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).strip()
