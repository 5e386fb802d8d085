"""The `_bulk` request and the classification of its answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.model import Document
from enricher.sinks.bulk import Settled, encode, refuse, screen, settle

from .documents import NOON, document, documents


def answer(sent: list[Document], *results: tuple[int, str]) -> dict[str, Any]:
    """Build Elasticsearch's answer: a status and an error type for each document."""
    items = []
    for each, (status, kind) in zip(sent, results, strict=True):
        item: dict[str, Any] = {"_id": each.id, "status": status}
        if kind:
            item["error"] = {"type": kind, "reason": "because"}
        items.append({"create" if each.version is None else "index": item})
    return {"took": 1, "errors": any(kind for _, kind in results), "items": items}


def classes(sent: list[Document], settled: Settled) -> dict[str, int]:
    """Count each class of a classification."""
    counts = {
        "rejected": len(settled.rejected),
        "retry": len(settled.retry),
        "blocked": len(settled.blocked),
        "conflicts": settled.conflicts,
        "superseded": settled.superseded,
    }
    return {"accepted": len(sent) - sum(counts.values()), **counts}


def test_own_id_is_created() -> None:
    """A document under its record's own id is created, never replaced."""
    lines = encode([document(7, b'{"a":1}')]).body.split(b"\n")
    action = {"create": {"_index": "logs-2024.11.21", "_id": f"logs-0-7-{NOON}"}}
    assert orjson.loads(lines[0]) == action
    assert lines[1:] == [b'{"a":1}', b""]


def test_named_id_carries_its_version() -> None:
    """A document under an id of its route replaces only what is not newer."""
    lines = encode([document(identity="order-1", version=NOON)]).body.split(b"\n")
    assert orjson.loads(lines[0])["index"] == {
        "_index": "logs-2024.11.21",
        "_id": "order-1",
        "version": NOON,
        "version_type": "external_gte",
    }


@given(
    st.lists(
        st.builds(
            document,
            st.integers(0, 99),
            identity=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            version=st.none() | st.integers(0, 2**62),
            index=st.sampled_from(["a", "b"]),
        )
    )
)
def test_no_id_breaks_out_of_its_line(sent: list[Document]) -> None:
    """Whatever an id holds, the body is two lines a document and says what was meant."""
    lines = encode(sent).body.split(b"\n")
    assert len(lines) == 2 * len(sent) + 1
    for each, action in zip(sent, lines[::2], strict=False):
        (inner,) = orjson.loads(action).values()
        assert (inner["_index"], inner["_id"]) == (each.index, each.id)
        assert inner.get("version") == each.version


@pytest.mark.parametrize("identity", ["", "x" * 513, "é" * 257, "\ud800"])
def test_id_that_would_fail_the_request_is_rejected_before(identity: str) -> None:
    """An id that Elasticsearch refuses with the whole request is never sent."""
    good, bad = document(1), document(2, identity=identity, version=NOON)
    sound, rejected = screen([good, bad])
    assert sound == [good]
    assert [each.document for each in rejected] == [bad]
    assert rejected[0].error == "invalid_id"


@pytest.mark.parametrize("identity", ["x" * 512, "é" * 256, "क्रम"])
def test_id_within_the_limit_is_sent(identity: str) -> None:
    """The limit counts bytes of UTF-8, and letters of any language are fine."""
    sent = [document(identity=identity, version=NOON)]
    assert screen(sent) == (sent, [])


@pytest.mark.parametrize(
    ("status", "kind", "version", "expected"),
    [
        (201, "", None, "accepted"),
        (200, "", NOON, "accepted"),
        (409, "version_conflict_engine_exception", None, "conflicts"),
        (409, "version_conflict_engine_exception", NOON, "superseded"),
        (409, "another_conflict", None, "retry"),
        (400, "document_parsing_exception", None, "rejected"),
        (400, "invalid_index_name_exception", None, "rejected"),
        (413, "content_too_long_exception", None, "rejected"),
        (400, "validation_exception", None, "blocked"),
        (401, "security_exception", None, "blocked"),
        (403, "cluster_block_exception", None, "blocked"),
        (404, "index_not_found_exception", None, "blocked"),
        (429, "es_rejected_execution_exception", None, "retry"),
        (500, "exception", None, "retry"),
        (500, "not_x_content_exception", None, "rejected"),
        (503, "unavailable_shards_exception", None, "retry"),
        (302, "what", None, "retry"),
    ],
)
def test_item(status: int, kind: str, version: int | None, expected: str) -> None:
    """Each status of an item has its class, whatever happens to the item beside it."""
    sent = [document(1, version=version), document(2)]
    settled = settle(sent, answer(sent, (status, kind), (409, "version_conflict_engine_exception")))
    counts = classes(sent, settled)
    counts["conflicts"] -= 1
    assert {name for name, count in counts.items() if count} == {expected}


def test_rejection_carries_the_servers_words() -> None:
    """A dead letter says what Elasticsearch said, down to the cause."""
    sent = [document()]
    said = answer(sent, (400, "document_parsing_exception"))
    said["items"][0]["create"]["error"]["caused_by"] = {"type": "x", "reason": "For input: abc"}
    (rejected,) = settle(sent, said).rejected
    assert rejected.error == "document_parsing_exception"
    assert rejected.reason == "because: For input: abc"


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said["items"].pop(),
        lambda said: said["items"].append(said["items"][0]),
        lambda said: said["items"].reverse(),
        lambda said: said["items"][0]["create"].pop("_id"),
        lambda said: said["items"][0].clear(),
        lambda said: said.pop("items"),
        lambda said: said.update(items=None),
        lambda said: said.pop("errors"),
        lambda said: said.update(errors="no"),
    ],
)
def test_answer_that_does_not_match_settles_nothing(spoil: Any, errors: bool) -> None:  # noqa: FBT001
    """Of an answer that is not the request's own, no item counts."""
    sent = documents(3)
    said = answer(sent, (201, ""), (201, ""), (201, ""))
    said["errors"] = errors
    spoil(said)
    assert settle(sent, said).retry == sent


NEW = [document(1), document(2, identity='"', version=NOON), document(3, identity="é", version=1)]
RENAMED = [NEW[0], NEW[1]._replace(id='\\"'), NEW[2]]


@pytest.mark.parametrize(
    ("sent", "results", "is_accepted"),
    [
        (NEW, [(201, ""), (201, ""), (201, "")], True),
        (NEW, [(201, ""), (200, ""), (201, "")], False),
        (NEW, [(409, "version_conflict_engine_exception"), (201, ""), (201, "")], False),
        (NEW, [(201, ""), (201, ""), (429, "busy")], False),
        (NEW[::-1], [(201, ""), (201, ""), (201, "")], False),
        (NEW[1:], [(201, ""), (201, "")], False),
        ([*NEW[:1], *NEW], [(201, "")] * 4, False),
        (RENAMED, [(201, ""), (201, ""), (201, "")], False),
        ([one._replace(version=None) for one in NEW], [(201, "")] * 3, False),
    ],
)
def test_an_answer_need_not_be_read_where_all_is_new(
    sent: list[Document], results: list[tuple[int, str]], *, is_accepted: bool
) -> None:
    """Only where it says so of each document, in order; whatever else it is, it is read."""
    request, said = encode(NEW), answer(sent, *results)
    assert request.is_accepted(orjson.dumps(said)) == is_accepted
    assert not request.is_accepted(orjson.dumps({**said, "errors": True}))
    assert not request.is_accepted(orjson.dumps(said)[:-1])
    assert not encode([]).is_accepted(orjson.dumps(said))


@pytest.mark.parametrize("said", [None, [], "ok", 1, {}, {"errors": False, "items": "abc"}])
def test_answer_of_another_kind_settles_nothing(said: object) -> None:
    """What is no bulk answer at all leaves the outcome unknown."""
    sent = documents(3)
    assert settle(sent, said).retry == sent


_RESULTS = st.tuples(
    st.sampled_from([200, 201, 400, 401, 403, 404, 409, 413, 429, 500, 503]),
    st.sampled_from(["", "version_conflict_engine_exception", "validation_exception", "other"]),
)


@given(st.lists(st.tuples(_RESULTS, st.integers(0, 2), st.none() | st.integers(1, 3)), max_size=8))
def test_every_document_ends_in_exactly_one_class(
    cases: list[tuple[tuple[int, str], int, int | None]],
) -> None:
    """None is lost and none is counted twice, whatever mixture the answer is."""
    sent = [
        document(n, identity=f"id-{name}" if version else None, version=version)
        for n, (_, name, version) in enumerate(cases)
    ]
    results = [result for result, _, _ in cases]
    settled = settle(sent, answer(sent, *results))
    named = [each.document for each in settled.rejected] + settled.retry + settled.blocked
    assert len({id(each) for each in named}) == len(named)
    assert all(any(each is other for other in sent) for each in named)
    counts = classes(sent, settled)
    accepted = sum(status < 300 for status, _ in results)
    assert counts["accepted"] == (accepted if any(kind for _, kind in results) else len(sent))


def test_retry_does_not_overwrite_a_later_document_of_the_same_millisecond() -> None:
    """Of two records with one id and one time, the later stays, though the earlier waited."""
    sent = [document(n, identity="order-1", version=NOON) for n in range(2)]
    settled = settle(sent, answer(sent, (429, "busy"), (200, "")))
    assert settled.retry == []
    assert settled.superseded == 1


def test_retry_keeps_an_older_document_when_the_newer_was_rejected() -> None:
    """A newer document that never got in does not count against an older one."""
    sent = [document(n, identity="order-1", version=NOON) for n in range(2)]
    settled = settle(sent, answer(sent, (429, "busy"), (400, "document_parsing_exception")))
    assert settled.retry == sent[:1]


def test_request_too_large_is_split_down_to_the_one_that_is() -> None:
    """413 halves the request; a single document that is too large is rejected."""
    sent = documents(3)
    assert refuse(sent, 413, None).pieces == (sent[:1], sent[1:])
    (rejected,) = refuse(sent[:1], 413, None).rejected
    assert rejected.error == "request_too_large"


def test_malformed_request_is_bisected_down_to_the_culprit() -> None:
    """400 halves the request; a single culprit is rejected with the server's reason."""
    sent = documents(3)
    said = {"error": {"type": "illegal_argument_exception", "reason": "because"}, "status": 400}
    assert refuse(sent, 400, said).pieces == (sent[:1], sent[1:])
    (rejected,) = refuse(sent[:1], 400, said).rejected
    assert (rejected.error, rejected.reason) == ("illegal_argument_exception", "because")


@pytest.mark.parametrize("said", [None, {}, {"error": {"type": "media_type_header_exception"}}])
def test_malformed_request_that_is_not_the_documents_fault_waits(said: object) -> None:
    """A 400 of a proxy, or over our headers, makes no dead letters."""
    sent = documents(3)
    assert refuse(sent, 400, said).blocked == sent
    assert refuse(sent[:1], 400, said).blocked == sent[:1]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, "retry") for status in (408, 429, 500, 502, 503, 504)),
        *((status, "blocked") for status in (401, 403, 404, 405, 407)),
    ],
)
def test_request_as_a_whole(status: int, expected: str) -> None:
    """No other status of a request rejects anything."""
    sent = documents(3)
    settled = refuse(sent, status, {"error": {"type": "t", "reason": "r"}, "status": status})
    assert {name for name, count in classes(sent, settled).items() if count} == {expected}
    assert settled.overloaded == (status == 429)
