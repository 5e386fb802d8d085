"""A pipeline file: YAML to `PipelineConfig`, every mistake in one pass, each with its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, Field, ValidationError

from enricher import document
from enricher.alerts.alert import Alert
from enricher.connections import STRICT, Connections, File
from enricher.document import Document, Path_
from enricher.expectation import InlineTest
from enricher.expression import ExpressionError
from enricher.model import ConfigError, Problem
from enricher.outputs import Output
from enricher.routes import Route, Window
from enricher.sources import SOURCES
from enricher.stages import STAGES
from enricher.stages.base import Stage
from enricher.words import suggest

Model = TypeVar("Model", bound=BaseModel)


class DeadLetters(BaseModel):
    """Where records go that cannot be indexed: a Kafka topic, or a file of JSON lines."""

    model_config = STRICT
    topic: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="Of `connections.kafka`; `dead-letters` where neither is given. Pipelines that "
        "read the same topics need one each: a letter's key is its record's id.",
    )
    file: File = Field(default=None, description="A file of JSON lines in place of the topic.")
    mask: bool = Field(
        default=False,
        description="Hide in a letter's value, key and reason what the `mask` stages hide, "
        "whatever their `when` says. A letter that this changes cannot be replayed, and says so.",
    )


class Pipeline(BaseModel):
    """The top level of a pipeline file, but for stages and sources, which have catalogues."""

    model_config = STRICT
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Stands in dead letters.")
    description: str = Field(default="", description="For people.")
    allow_python: bool = Field(default=False, description="Lets `python` stages run.")
    connections: Connections = Connections()
    geoip_database: File = Field(default=None, description="Default for every geoip stage.")
    # As the file has them, secrets put in: what shows them hides those.
    sources: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    stages: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    window: Window = Window()
    routes: list[Route] = Field(min_length=1)
    outputs: list[Output] = Field(default_factory=list)
    dead_letters: DeadLetters = DeadLetters()
    templates: File = Field(default=None, description="Folder of Elasticsearch templates.")
    alerts: list[Alert] = Field(default_factory=list)
    tests: list[InlineTest] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """A checked pipeline file."""

    pipeline: Pipeline
    stages: tuple[Stage, ...]
    sources: tuple[Any, ...]
    document: Document
    file: Path
    digest: str
    """Of the file's text; names the rules that a dead letter was made under."""

    @property
    def label(self) -> str:
        """Give name and hash, as dead letters show them."""
        return f"{self.pipeline.name}@{self.digest}"

    @property
    def folder(self) -> Path:
        """Give the folder that relative paths start from."""
        return self.file.parent


def load(
    file: Path,
    environment: Mapping[str, str] | None = None,
    *,
    connections: Mapping[str, Any] | None = None,
    allow_missing_env: bool = False,
) -> PipelineConfig:
    """Read a pipeline file. Raises ConfigError with every mistake in it.

    `connections` stands in for the file's own block, whole.
    """
    source = document.read_file(file)
    if isinstance(source.value, dict) and connections is not None:
        source.value["connections"] = dict(connections)
    if not source.problems and not isinstance(source.value, dict):
        source.problems.append(source.problem((), "a pipeline is a mapping: name, stages, routes"))
    if source.problems:
        raise ConfigError(source.problems)
    environment = os.environ if environment is None else environment
    document.substitute(source, environment, allow_missing=allow_missing_env)
    stages = _components(source, "stages", STAGES, "stage")
    sources = _components(source, "sources", SOURCES, "source")
    pipeline = validate(Pipeline, source.value, source, ())
    if pipeline is not None:
        source.problems += _cross_check(pipeline, stages, sources, source)
    if source.problems or pipeline is None:
        raise ConfigError(sorted(set(source.problems), key=lambda p: (p.line, p.column)))
    text = file.read_bytes()
    return PipelineConfig(
        pipeline, tuple(stages), tuple(sources), source, file, sha256(text).hexdigest()[:12]
    )


def load_connections(file: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a file of connections that stands in for a pipeline's own. Raises ConfigError."""
    source = document.read_file(file)
    if not source.problems and not isinstance(source.value, dict):
        source.problems.append(source.problem((), "connections are a mapping"))
    if not source.problems:
        document.substitute(source, os.environ if environment is None else environment)
        validate(Connections, source.value, source, ())
    if source.problems:
        raise ConfigError(source.problems)
    value: dict[str, Any] = source.value
    return value


def _components(
    source: Document, block: str, catalogue: Mapping[str, type[BaseModel]], noun: str
) -> list[Any]:
    """Build the models of a list such as `- translate: {…}`."""
    components: list[Any] = []
    items = source.value.get(block)
    for number, item in enumerate(items if isinstance(items, list) else ()):
        path: Path_ = (block, number)
        if not isinstance(item, dict) or len(item) != 1:
            message = f"write one {noun} as `- name: {{…}}`; there are {', '.join(catalogue)}"
            source.problems.append(source.problem(path, message))
            continue
        kind, value = next(iter(item.items()))
        if kind not in catalogue:
            message = f'unknown {noun} "{kind}"{suggest(kind, catalogue)}'
            source.problems.append(source.problem((*path, kind), message))
            continue
        component = validate(catalogue[kind], value or {}, source, (*path, kind))
        if component is not None:
            components.append(component)
    return components


def validate(model: type[Model], value: Any, source: Document, path: Path_) -> Model | None:
    """Build a model; its mistakes go to the document's problems."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problem = _problem(detail, model, source, path)
            gap = source.gap((*path, *detail["loc"]))
            if gap is None:
                source.problems.append(problem)
            elif not any(known.path == document.show(gap) for known in source.problems):
                message = "its variable is needed to check it: set it, or write a default"
                source.problems.append(source.problem(gap, message))
    return None


def _problem(detail: Any, model: type[BaseModel], source: Document, path: Path_) -> Problem:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    where: Path_ = (*path, *location)
    raised = detail.get("ctx", {}).get("error")
    if detail["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        return source.problem(
            where, f'unknown field "{location[-1]}"{suggest(str(location[-1]), known)}'
        )
    if detail["type"] == "missing":
        return source.problem(where[:-1], f'missing field "{location[-1]}"')
    if isinstance(raised, ExpressionError):
        return source.problem(where, str(raised), raised.offset)
    return source.problem(where, str(raised) if raised else _sentence(detail["msg"]))


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Give the known fields of the model at a place, through lists, mappings and optionals."""
    current: Any = model
    is_key = False
    for part in location:
        if isinstance(part, int) or is_key:
            is_key = False
            continue
        field = getattr(current, "model_fields", {}).get(part)
        current = _model_in(field.annotation) if field else None
        is_key = field is not None and get_origin(field.annotation) is dict
    return [f.alias or n for n, f in getattr(current, "model_fields", {}).items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)


def _cross_check(
    pipeline: Pipeline, stages: Sequence[Stage], sources: Sequence[Any], source: Document
) -> list[Problem]:
    """Check what concerns more than one part of the file."""
    problems = []
    kinds = [stage.kind for stage in stages]
    for number, kind in enumerate(kinds):
        if STAGES[kind].decodes and number:
            problems.append(source.problem(("stages", number), f"{kind} must be the first stage"))
    if not kinds or not STAGES[kinds[0]].decodes:
        problems.append(
            source.problem(("stages",), "the first stage must decode: write `- json: {}`")
        )
    if pipeline.dead_letters.mask and "mask" not in kinds:
        message = "there is no mask stage that says what to hide"
        problems.append(source.problem(("dead_letters", "mask"), message))
    for number, route in enumerate(pipeline.routes):
        is_last = number == len(pipeline.routes) - 1
        if (route.when is None) != is_last:
            message = (
                "the last route has no when, and takes the rest"
                if is_last
                else "only the last route may have no when"
            )
            problems.append(source.problem(("routes", number), message))
    for number, alert in enumerate(pipeline.alerts):
        for label, message in alert.alertmanager.many_valued() if alert.alertmanager else ():
            where = ("alerts", number, "alertmanager", "labels", label)
            problems.append(source.problem(where, message))
    stateful = [
        (stage.name or stage.kind) if stage.stateful else f"{number}:"
        for number, stage in enumerate(stages)
    ]
    for group, names in (
        ("stages", stateful),
        ("alerts", [alert.name for alert in pipeline.alerts]),
        ("outputs", [output.name for output in pipeline.outputs]),
        ("sources", [one.name for one in sources]),
        ("tests", [test.name for test in pipeline.tests]),
    ):
        for number, name in enumerate(names):
            if name in names[:number]:
                message = f'the name "{name}" is taken; give this one another'
                problems.append(source.problem((group, number), message))
    return problems
