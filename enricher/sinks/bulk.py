"""The `_bulk` request and its answer, as pure functions: what to send, and what became of it.

The rules are those of Elasticsearch's answers: one good item does not acknowledge a request and one
bad item does not fail it. Whatever cannot be understood counts as "outcome unknown" and is
sent again under the same ids, which is harmless: a document is created once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from enricher.model import Document, Rejected

LONGEST_ID = 512
"""Bytes of UTF-8 that Elasticsearch takes for an `_id`; one longer fails the whole request."""

_CONFLICT = "version_conflict_engine_exception"
# Elasticsearch answers 500 to a body that is no JSON at all; trying again would never end.
_NO_JSON = "not_x_content_exception"
_TRY_AGAIN = frozenset({408, 425, 429})
_NOT_THE_DOCUMENT = frozenset({401, 403, 404})


@dataclass(slots=True)
class Settled:
    """What became of the documents of one request; those in no list were accepted."""

    rejected: list[Rejected] = field(default_factory=list)
    """Refused for good: to the dead-letter queue."""
    retry: list[Document] = field(default_factory=list)
    """Overload, an error of the server, or outcome unknown: send again under the same ids."""
    conflicts: int = 0
    """Own ids that were there already: success, written by an earlier attempt."""
    superseded: int = 0
    """Ids named by a route under which a newer document is stored: success."""
    blocked: list[Document] = field(default_factory=list)
    """Refused for a reason that lies outside the documents: wait until it is put right."""
    pieces: tuple[list[Document], ...] = ()
    """The request as a whole was too large or malformed: send these one after the other."""
    reason: str = ""
    """Why documents are to be sent again or are blocked; holds no event data."""
    overloaded: bool = False
    """The server asked for fewer requests at a time."""


@lru_cache(maxsize=4096)
def _create_prefix(index: str) -> bytes:
    return b'{"create":{"_index":' + orjson.dumps(index) + b',"_id":'


@lru_cache(maxsize=4096)
def _index_prefix(index: str) -> bytes:
    return b'{"index":{"version_type":"external_gte","_index":' + orjson.dumps(index) + b',"_id":'


class Request(NamedTuple):
    """What is sent, and how Elasticsearch says that it is well."""

    body: bytes
    accepted: bytes
    """The end of the answer where every document was new: most are, and need not be read."""

    def is_accepted(self, answer: bytes) -> bool:
        """Say whether an answer tells of every document, by its id, that it is stored as new."""
        return answer.endswith(self.accepted) and (
            answer[: -len(self.accepted)].count(b'"errors":false') == 1
        )


def encode(documents: Iterable[Document]) -> Request:
    """Build a `_bulk` request.

    Every id goes through the JSON encoder, own ids too: that costs no more than `str.encode`
    and leaves no way for event data to become bulk metadata.
    """
    dumps: Callable[[str], bytes] = orjson.dumps
    # Few and large parts: one `join` over them is the cheapest way that was measured.
    lines: list[bytes] = []
    append = lines.append
    items: list[bytes] = []
    expect = items.append
    last = None
    prefix = b""
    for _, _, index, identity, version, body, _, _ in documents:
        name = dumps(identity)
        if version is not None:
            append(_index_prefix(index) + name + b',"version":%d}}' % version)
            expect(b'{"index":{"_id":' + name)
        else:
            if index != last:
                prefix = _create_prefix(index)
                last = index
            append(prefix + name + b"}}")
            expect(b'{"create":{"_id":' + name)
        append(body)
    append(b"")
    accepted = b',"status":201}},'.join(items)
    return Request(b"\n".join(lines), b'"items":[%b,"status":201}}]}' % accepted)


def screen(documents: Sequence[Document]) -> tuple[list[Document], list[Rejected]]:
    """Part the documents that can be sent from those whose id would fail the whole request."""
    sound: list[Document] = []
    rejected: list[Rejected] = []
    for document in documents:
        identity = document.id
        if identity.isascii() and 0 < len(identity) <= LONGEST_ID:
            sound.append(document)
        elif reason := _unfit(identity):
            rejected.append(Rejected(document, "invalid_id", reason))
        else:
            sound.append(document)
    return sound, rejected


def _unfit(identity: str) -> str:
    if not identity:
        return "the id is empty"
    try:
        length = len(identity.encode())
    except UnicodeEncodeError:
        return "the id is not valid Unicode (lone surrogate)"
    if length > LONGEST_ID:
        return f"the id has {length} bytes; at most {LONGEST_ID} are allowed"
    return ""


def settle(documents: Sequence[Document], answer: object) -> Settled:
    """Classify each document by its item of the answer.

    Args:
        documents: as they were sent, in that order.
        answer: the decoded body of a 2xx answer with `errors`, `items.*._id`, `items.*.status`
            and `items.*.error`; anything else, None included, means outcome unknown.
    """
    try:
        errors, items = answer["errors"], answer["items"]  # type: ignore[index]
        results = [result for item in items for result in item.values()]
        matches = [result["_id"] for result in results] == [document.id for document in documents]
    except (TypeError, KeyError, AttributeError):
        matches = False
    if not matches or not isinstance(errors, bool):
        reason = "the answer does not match the request, so its outcome is unknown"
        return Settled(retry=list(documents), reason=reason)
    settled = Settled()
    if errors:
        for document, result in zip(documents, results, strict=True):
            _settle_one(settled, document, result)
        _drop_outrun(settled, documents)
    return settled


def _settle_one(settled: Settled, document: Document, result: dict[str, Any]) -> None:
    status = result.get("status")
    kind, reason = cause(result)
    if not isinstance(status, int) or status < 200 or 300 <= status < 400:
        settled.retry.append(document)
        settled.reason = f"an item's status is {status!r}, so its outcome is unknown"
    elif status < 300:
        return
    elif status == 409 and kind in (_CONFLICT, ""):
        if document.version is None:
            settled.conflicts += 1
        else:
            settled.superseded += 1
    elif (status >= 500 and kind != _NO_JSON) or status in _TRY_AGAIN or status == 409:
        settled.retry.append(document)
        settled.reason = f"it answers {status} {kind} for some documents"
        settled.overloaded |= status == 429
    elif status in _NOT_THE_DOCUMENT or kind == "validation_exception":
        settled.blocked.append(document)
        settled.reason = f"it answers {status} {kind} for index {document.index}: {reason}"
    else:
        settled.rejected.append(Rejected(document, kind or str(status), reason))


def _drop_outrun(settled: Settled, documents: Sequence[Document]) -> None:
    """Count as superseded what would overwrite a later document of the same request and version.

    `external_gte` lets equal versions (two records of one millisecond) overwrite each other,
    so sending only the earlier one again would turn their order round.
    """
    waiting = settled.retry + settled.blocked
    if not any(document.version is not None for document in waiting):
        return
    refused = {id(document) for document in waiting}
    refused.update(id(rejected.document) for rejected in settled.rejected)
    newest: dict[tuple[str, str], int] = {}
    outrun: set[int] = set()
    for document in reversed(documents):
        if document.version is None:
            continue
        key = (document.index, document.id)
        if id(document) not in refused:
            newest[key] = max(newest.get(key, document.version), document.version)
        elif document.version <= newest.get(key, -1):
            outrun.add(id(document))
    before = len(waiting)
    settled.retry = [document for document in settled.retry if id(document) not in outrun]
    settled.blocked = [document for document in settled.blocked if id(document) not in outrun]
    settled.superseded += before - len(settled.retry) - len(settled.blocked)


def refuse(documents: Sequence[Document], status: int, answer: object) -> Settled:
    """Classify the documents of a request that was answered with an error as a whole.

    Args:
        documents: as they were sent.
        status: the HTTP status, not 2xx.
        answer: the decoded body, None where it is no JSON.
    """
    kind, reason = cause(answer)
    said = f"it answers {status} {kind or '(not in the words of Elasticsearch)'}"
    # A 400 that Elasticsearch did not word comes from something in between, such as a proxy
    # spoken to without TLS: no document is to blame, and none may become a dead letter for it.
    at_fault = status == 400 and kind not in ("", "media_type_header_exception")
    if status == 413 or at_fault:
        if len(documents) > 1:
            half = len(documents) // 2
            return Settled(pieces=(list(documents[:half]), list(documents[half:])), reason=said)
        return _refuse_single(documents, status, kind, reason)
    if status >= 500 or status in _TRY_AGAIN:
        return Settled(retry=list(documents), reason=said, overloaded=status == 429)
    return Settled(blocked=list(documents), reason=f"{said}: {reason}" if reason else said)


def _refuse_single(documents: Sequence[Document], status: int, kind: str, reason: str) -> Settled:
    error = "request_too_large" if status == 413 else kind
    if status == 413:
        sizes = ", ".join(str(len(document.body)) for document in documents)
        reason = f"the server takes no request of this size ({sizes} bytes)"
    return Settled(rejected=[Rejected(document, error, reason) for document in documents])


def cause(answer: object) -> tuple[str, str]:
    """Give the type and the reason of an answer's `error`; empty texts where there is none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else ""
    kind, reason = error.get("type"), error.get("reason")
    inner = error.get("caused_by")
    text = reason if isinstance(reason, str) else ""
    if isinstance(inner, dict) and isinstance(inner.get("reason"), str):
        text = f"{text}: {inner['reason']}"
    return kind if isinstance(kind, str) else "", text
