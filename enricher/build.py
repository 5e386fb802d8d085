"""Compile a checked pipeline file to a plan. Opens files, never the network."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Mapping
from typing import Any

from enricher import __version__, body, path
from enricher.alerts.compiled import Compiled, compile_alert
from enricher.alerts.digest import Sender
from enricher.alerts.marks import marks_of, name_document
from enricher.alerts.senders import NEEDS, SENDERS, BuildSender, Setting
from enricher.config import PipelineConfig
from enricher.expression import compile_predicate
from enricher.lookups.store import Lookups, NoLookups
from enricher.loop import AlertStep, Ending, OutputStep, RouteStep, Step
from enricher.model import ConfigError, Problem, UserError
from enricher.plan import Clock, Plan
from enricher.stages.base import Context, FieldError, Stage
from enricher.state import MemoryStates, States
from enricher.template import lenient_renderer


def build(
    config: PipelineConfig, lookups: Lookups | None = None, states: States | None = None
) -> Plan:
    """Compile every stage and route. Raises ConfigError with every mistake.

    Without `states` the plan begins with no memory of earlier events.
    """
    clock = Clock()
    context = Context(
        folder=config.folder,
        allow_python=config.pipeline.allow_python,
        builtins=builtins_of(config, clock.read),
        lookups=lookups or NoLookups(),
        states=states or MemoryStates(),
        pipeline=config.pipeline.name,
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


def builtins_of(config: PipelineConfig, now: Callable[[], str]) -> Mapping[str, Callable[[], str]]:
    """Give what `{$now}` and the like stand for."""
    return {
        "now": now,
        "hostname": socket.gethostname,
        "version": lambda: __version__,
        "pipeline": lambda: config.pipeline.name,
    }


def step_of(stage: Stage, function: Any) -> Step:
    """Describe a compiled stage for the plan."""
    written = stage.writes()
    call = function.__call__
    is_batch = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    parameters = inspect.signature(function).parameters
    return Step(
        name=stage.name or stage.kind,
        function=function,
        when=compile_predicate(stage.when) if stage.when else None,
        dead_letter=stage.on_error == "dead_letter",
        drops=stage.drops,
        repeats=stage.repeats(),
        is_batch=is_batch,
        takes_record=len(parameters) > 1,
        writes=None if written is None else frozenset(path.parse(field)[0] for field in written),
    )


def ending_of(config: PipelineConfig, builtins: Mapping[str, Callable[[], str]]) -> Ending:
    """Compile alerts, outputs and routes."""
    alerts = tuple(
        AlertStep(
            alert.name,
            compile_predicate(alert.when),
            lenient_renderer(alert.summary, builtins),
            None if name_document(alert) else marks_of(alert, builtins),
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
    outputs = tuple(
        OutputStep(
            to=output.destination,
            when=compile_predicate(output.when) if output.when else None,
            key=output.key(),
            body=None if output.target.body is None else body.writer(output.target.body, builtins),
        )
        for output in config.pipeline.outputs
    )
    return Ending(alerts, routes, outputs)


def build_alerts(
    config: PipelineConfig, senders: Mapping[str, BuildSender] = SENDERS
) -> list[Compiled]:
    """Compile what sends alerts. Raises ConfigError with every mistake."""
    clock = Clock()

    def now() -> str:
        clock.tick()
        return clock.read()

    pipeline = config.pipeline
    templates = config.folder / pipeline.templates if pipeline.templates else None
    builtins = builtins_of(config, now)
    setting = Setting(pipeline.connections, pipeline.name, templates, builtins)
    problems: list[Problem] = []
    compiled = []
    for number, alert in enumerate(pipeline.alerts):
        built: dict[str, Sender] = {}
        for kind, build_sender in senders.items():
            try:
                sender = build_sender(alert, setting) if getattr(alert, kind) else None
            except ConfigError as error:
                problems += error.problems
            except (ValueError, UserError) as error:
                problems.append(config.document.problem(("alerts", number, kind), str(error)))
            else:
                built |= {kind: sender} if sender else {}
        compiled.append(compile_alert(alert, built, setting))
    if problems:
        raise ConfigError(problems)
    return compiled


def unsent(config: PipelineConfig) -> list[str]:
    """Name the alerts that nobody is told of, and what to set for it."""
    found = []
    for alert in config.pipeline.alerts:
        for kind, (name, field) in NEEDS.items():
            connection = getattr(config.pipeline.connections, name)
            if getattr(alert, kind) and not (connection and getattr(connection, field)):
                variable = config.document.variables.get(("connections", name, field))
                remedy = f"set {variable}" if variable else f"give connections.{name}.{field}"
                found.append(f"{alert.name} by {kind}: {remedy}")
    return found
