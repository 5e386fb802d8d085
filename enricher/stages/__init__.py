"""The catalogue of stages: one line here and one file make a stage."""

from __future__ import annotations

from enricher.stages.base import Stage
from enricher.stages.bucket import Bucket
from enricher.stages.calendar import Calendar
from enricher.stages.convert import Convert
from enricher.stages.distance import Distance
from enricher.stages.drop import DropEvents
from enricher.stages.extract import Extract
from enricher.stages.geoip import Geoip
from enricher.stages.json import Json
from enricher.stages.known import Known
from enricher.stages.lookup import Lookup
from enricher.stages.mask import Mask
from enricher.stages.normalize import Normalize
from enricher.stages.python import Python
from enricher.stages.remove import Remove
from enricher.stages.rename import Rename
from enricher.stages.score import Score
from enricher.stages.set import Set
from enricher.stages.time_of_day import TimeOfDay
from enricher.stages.timestamp import Timestamp
from enricher.stages.translate import Translate
from enricher.stages.window import Windows

STAGES: dict[str, type[Stage]] = {
    stage.kind: stage
    for stage in (
        Json,
        Timestamp,
        Geoip,
        Translate,
        Extract,
        Bucket,
        TimeOfDay,
        Calendar,
        Score,
        Lookup,
        Known,
        Windows,
        Distance,
        Set,
        Rename,
        Remove,
        Convert,
        Mask,
        Normalize,
        DropEvents,
        Python,
    )
}
