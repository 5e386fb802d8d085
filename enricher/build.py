"""Compile a checked pipeline file to a plan. Opens files, never the network."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Mapping

from enricher import __version__, path
from enricher.config import PipelineConfig
from enricher.expression import compile_predicate
from enricher.loop import AlertStep, Ending, RouteStep, Step
from enricher.model import ConfigError, Problem
from enricher.plan import Clock, Plan
from enricher.stages.base import Context, FieldError, Lookups, NoLookups, Stage
from enricher.template import lenient_renderer


def build(config: PipelineConfig, lookups: Lookups | None = None) -> Plan:
    """Compile every stage and route. Raises ConfigError with every mistake."""
    clock = Clock()
    context = Context(
        folder=config.folder,
        allow_python=config.pipeline.allow_python,
        builtins={
            "now": clock.read,
            "hostname": socket.gethostname,
            "version": lambda: __version__,
            "pipeline": lambda: config.pipeline.name,
        },
        lookups=lookups or NoLookups(),
        geoip_database=config.pipeline.geoip_database,
    )
    problems: list[Problem] = []
    compiled = []
    for number, stage in enumerate(config.stages):
        try:
            compiled.append(stage.compile(context))
        except (ValueError, OSError) as error:
            field = (error.field,) if isinstance(error, FieldError) else ()
            path = ("stages", number, stage.kind, *field)
            problems.append(config.document.problem(path, str(error)))
    if problems:
        raise ConfigError(problems)
    steps = tuple(
        step_of(stage, function)
        for stage, function in zip(config.stages[1:], compiled[1:], strict=True)
    )
    first = config.stages[0]
    return Plan(
        name=config.pipeline.name,
        decode=compiled[0],  # type: ignore[arg-type]  # the first stage decodes, config checked
        steps=steps,
        ending=ending_of(config, context.builtins),
        clock=clock,
        decoder_name=first.name or first.kind,
    )


def step_of(stage: Stage, function: object) -> Step:
    """Describe a compiled stage for the plan."""
    written = stage.writes()
    is_batch = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        function.__call__  # type: ignore[operator]
    )
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    return Step(
        name=stage.name or stage.kind,
        function=function,  # type: ignore[arg-type]
        when=compile_predicate(stage.when) if stage.when else None,
        dead_letter=stage.on_error == "dead_letter",
        drops=stage.drops,
        repeats=stage.repeats(),
        is_batch=is_batch,
        takes_record=not is_batch and len(parameters) > 1,
        writes=None if written is None else frozenset(path.parse(field)[0] for field in written),
    )


def ending_of(config: PipelineConfig, builtins: Mapping[str, Callable[[], str]]) -> Ending:
    """Compile alerts and routes."""
    alerts = tuple(
        AlertStep(
            alert.name,
            compile_predicate(alert.when),
            lenient_renderer(alert.summary, builtins),
        )
        for alert in config.pipeline.alerts
    )
    routes = tuple(
        RouteStep(
            when=compile_predicate(route.when) if route.when else None,
            sink=route.sink,
            namer=route.namer(config.pipeline.window),
            identify=route.identifier(),
        )
        for route in config.pipeline.routes
    )
    return Ending(alerts, routes)
