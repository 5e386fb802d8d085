"""The catalogue of sources: one line here and one file make a source."""

from __future__ import annotations

from enricher.sources.base import SourceModel
from enricher.sources.beats import Beats
from enricher.sources.file import File
from enricher.sources.http import Http
from enricher.sources.kafka import Kafka

SOURCES: dict[str, type[SourceModel]] = {
    "kafka": Kafka,
    "file": File,
    "http": Http,
    "beats": Beats,
}
