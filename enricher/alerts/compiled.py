"""From an item of `alerts:` to what those who tell of it need; nothing here connects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from enricher.alerts import channel, firing
from enricher.alerts.alert import Alert
from enricher.alerts.channel import Fingerprint
from enricher.alerts.digest import Match, Sender
from enricher.alerts.labels import Builtins, annotator, labeller, linker
from enricher.alerts.senders import Setting
from enricher.template import parse, renderer


class Terms(NamedTuple):
    """How one alert is told by one kind of sender."""

    rules: channel.Rules
    fingerprint: Callable[[Match], Fingerprint]
    sender: Sender


class Compiled(NamedTuple):
    """An alert, and how it is told."""

    alert: Alert
    firing: firing.Rules | None
    """What Alertmanager is told; None: nothing."""
    terms: Mapping[str, Terms]
    """By the kind of sender."""


def compile_alert(alert: Alert, senders: Mapping[str, Sender], setting: Setting) -> Compiled:
    """Compile an alert for the senders that were built for it, by their kind."""
    rules = channel.Rules(
        alert.repeat_after_s,
        alert.group_wait_s,
        alert.group_interval_s,
        alert.max_per_hour,
        alert.ttl_s,
    )
    terms = {
        kind: Terms(rules, fingerprinter(alert, kind, setting), sender)
        for kind, sender in senders.items()
    }
    return Compiled(alert, firing_rules(alert, setting.builtins), terms)


def firing_rules(alert: Alert, builtins: Builtins) -> firing.Rules | None:
    """Compile what Alertmanager is told."""
    target = alert.alertmanager
    if target is None:
        return None
    constant = {
        label: text
        for label, text in target.labels.items()
        if not any(part.keys for part in parse(text))
    }
    return firing.Rules(
        labeller(alert.name, target.labels, builtins),
        labeller(alert.name, constant, builtins)({}),
        annotator(target.annotations, builtins),
        linker(target.generator_url, builtins) if target.generator_url else None,
        target.resolve_after_s,
        alert.ttl_s,
        target.max_label_sets,
    )


def fingerprinter(alert: Alert, kind: str, setting: Setting) -> Callable[[Match], Fingerprint]:
    """Build the function that hashes what makes a match the same as another.

    The hash tells alerts, senders and pipelines apart, which share one Redis.
    """
    render = renderer(alert.fingerprint, setting.builtins) if alert.fingerprint else None
    seed = blake2b(f"{setting.pipeline}/{alert.name}/{kind}/".encode(), digest_size=16)

    def fingerprint(match: Match) -> Fingerprint:
        text = render(match.event) if render else None
        hashed = seed.copy()
        hashed.update((text or match.record_id).encode())
        return hashed.digest()

    return fingerprint
