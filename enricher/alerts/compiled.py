"""From an item of `alerts:` to what those who tell of it need; nothing here connects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from enricher.alerts import channel, firing
from enricher.alerts.alert import Alert
from enricher.alerts.channel import Fingerprint
from enricher.alerts.digest import Sender
from enricher.alerts.labels import Builtins, annotator, labeller, linker
from enricher.alerts.marks import Marks, marks_of
from enricher.alerts.senders import Setting
from enricher.template import parse, renderer


class Terms(NamedTuple):
    """How one alert is told by one kind of sender."""

    rules: channel.Rules
    hash: Callable[[str], Fingerprint]
    """Hashes what makes a match the same as another."""
    sender: Sender


class Compiled(NamedTuple):
    """An alert, and how it is told."""

    alert: Alert
    marks: Marks
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
        kind: Terms(rules, hasher(f"{setting.pipeline}/{alert.name}/{kind}/"), sender)
        for kind, sender in senders.items()
    }
    marks = marks_of(alert, setting.builtins)
    return Compiled(alert, marks, firing_rules(alert, setting.builtins), terms)


def firing_rules(alert: Alert, builtins: Builtins) -> firing.Rules | None:
    """Compile what Alertmanager is told."""
    target = alert.alertmanager
    if target is None:
        return None
    constant = {
        label: renderer(text, builtins)({})
        for label, text in target.labels.items()
        if not any(part.keys for part in parse(text))
    }
    return firing.Rules(
        labeller(alert.name, tuple(target.labels)),
        labeller(alert.name, tuple(constant))(tuple(constant.values())),
        annotator(target.annotations, builtins),
        linker(target.generator_url, builtins) if target.generator_url else None,
        target.resolve_after_s,
        alert.ttl_s,
        target.max_label_sets,
    )


def hasher(seed: str) -> Callable[[str], Fingerprint]:
    """Build the function that hashes a text; the seed tells apart who shares one Redis."""
    seeded = blake2b(seed.encode(), digest_size=16)

    def hash_text(text: str) -> Fingerprint:
        hashed = seeded.copy()
        hashed.update(text.encode())
        return hashed.digest()

    return hash_text
