"""Documents on the console."""

from __future__ import annotations

import asyncio
import io

import orjson

from enricher.model import Alert, Destination, Output
from enricher.sinks.console import ConsoleSink

from .documents import document, documents


class Stream(io.StringIO):
    """A stream that counts writes and may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.writes = 0
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_one_line_a_document_and_one_write_a_batch() -> None:
    """Piped output is lines of JSON in the shape of Elasticsearch's hits."""
    stream = Stream(terminal=False)
    last = document(3, b'{"n":3}', alerts=(Alert("Fraud", "risk 90"),))
    output = Output(last.record, Destination("high", "kafka", topic="t"), "k", b"{}")
    sent = [*documents(2), last._replace(outputs=(output,))]
    assert asyncio.run(ConsoleSink(stream).write(sent)) == []
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["_source"]["n"] for line in lines] == [0, 1, 3]
    assert lines[0]["_index"] == "logs-2024.11.21"
    assert lines[2]["_alerts"] == [{"name": "Fraud", "summary": "risk 90"}]
    assert lines[2]["_outputs"] == ["high"]
    assert "_outputs" not in lines[0]
    assert stream.writes == 1


def test_terminal_gets_colours_but_no_control_characters() -> None:
    """On a terminal a document is laid out; what it holds cannot steer the terminal."""
    stream = Stream(terminal=True)
    body = '{"text":"\x9b31m\x7f\\u001b[2J","n":1}'.encode()
    asyncio.run(ConsoleSink(stream).write([document(1, body, identity="a\x9bb", version=1)]))
    text = stream.getvalue()
    assert "\x1b[" in text
    assert '"n"' in text
    assert not set(text) & {"\x9b", "\x7f"}
    assert "\x1b[2J" not in text
