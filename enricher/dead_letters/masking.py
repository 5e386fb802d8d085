"""Dead letters without the personal data that the pipeline's `mask` stages hide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from enricher.config import PipelineConfig
from enricher.model import DeadLetter
from enricher.pii.masker import Masker
from enricher.stages.mask import Mask

log = structlog.get_logger(__name__)


class LetterMask:
    """Hides in a letter's value, key and reason what any of the maskers knows.

    A value that is JSON is masked field by field and in its texts, also where one of them is JSON
    again, as in an envelope; what cannot be read so, or says a thing twice, is searched as a text.
    A letter that changed says so, for it is not the record any more.
    """

    def __init__(self, maskers: Sequence[Masker]) -> None:
        self._maskers = maskers

    def __call__(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """Give letters that may be kept. Never raises: what cannot be masked is left out."""
        return [self._masked(letter) for letter in letters]

    def _masked(self, letter: DeadLetter) -> DeadLetter:
        record = letter.record
        try:
            value = self._bytes(record.value)
            key = None if record.key is None else self._bytes(record.key)
            reason = letter.reason
            for masker in self._maskers:
                reason = masker.reason(reason)
        except Exception as error:  # noqa: BLE001 - nothing may leave unmasked, or stop the run
            # Not its text or its traceback, which may show what was to be hidden.
            name = type(error).__name__
            log.error("a dead letter cannot be masked", id=record.id, error=name)  # noqa: TRY400
            value, key, reason = b"", None, "left out: it could not be masked"
        hidden = record._replace(value=value, key=key)
        return letter._replace(record=hidden, reason=reason, is_masked=hidden != record)

    def _bytes(self, data: bytes) -> bytes:
        text = data.decode(errors="surrogateescape")
        hidden = self._text(text)
        return data if hidden == text else hidden.encode(errors="surrogateescape")

    def _text(self, text: str) -> str:
        try:
            value = _parsed(text)
            hidden = self._anything(value)
            before, after = _written(value), _written(hidden)
        except (ValueError, RecursionError):
            for masker in self._maskers:
                text = masker.text(text)
            return text
        return text if before == after else after

    def _anything(self, value: Any) -> Any:
        if type(value) is dict:
            value = {
                k: self._text(v) if type(v) is str and v.lstrip()[:1] == "{" else v
                for k, v in value.items()
            }
        for masker in self._maskers:
            value = masker.anything(value)
        return value


def _parsed(text: str) -> Any:
    """Read an object or a list. Raises ValueError for all else, where a key stands twice, too."""
    value = json.loads(text, object_pairs_hook=_object)
    if type(value) not in (dict, list):
        raise ValueError("a text or a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _written(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(value, separators=(",", ":"))
    return text


def letter_mask(config: PipelineConfig) -> LetterMask | None:
    """Build what masks the dead letters of a pipeline; None where they stay as they came."""
    if not config.pipeline.dead_letters.mask:
        return None
    return LetterMask([stage.masker() for stage in config.stages if isinstance(stage, Mask)])
