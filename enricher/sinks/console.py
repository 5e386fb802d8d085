"""Print documents: one line of JSON each, or laid out and in colour on a terminal."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TextIO

import orjson

from enricher.model import Document, Rejected, Sink

# A terminal acts on DEL and the C1 controls, and JSON does not require them to be escaped.
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class ConsoleSink(Sink):
    """Prints `{"_index", "_id", "_source"}` lines in the shape of Elasticsearch's own hits.

    An `_alerts` list follows where alerts matched, an `_outputs` list of names where the document
    has outputs. One write a batch, in a thread: a reader
    that pauses does not stop the event loop.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Print to the stream; by default standard output, as it is now."""
        self._stream = stream or sys.stdout
        self._pretty = self._stream.isatty()
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Do nothing."""

    async def write(self, documents: list[Document]) -> list[Rejected]:
        """Print the documents; none is ever rejected.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        text = "".join(map(_pretty if self._pretty else _line, documents))
        await asyncio.to_thread(self._print, text)
        return []

    def _print(self, text: str) -> None:
        with self._lock:
            self._stream.write(text)
            self._stream.flush()

    async def close(self) -> None:
        """Do nothing: the stream is the caller's."""


def _line(document: Document) -> str:
    index, identity = orjson.dumps(document.index), orjson.dumps(document.id)
    alerts = b',"_alerts":' + _alerts(document) if document.alerts else b""
    more = alerts + (b',"_outputs":' + _outputs(document) if document.outputs else b"")
    parts = b'{"_index":%b,"_id":%b,"_source":%b%b}\n' % (index, identity, document.body, more)
    return parts.decode()


def _outputs(document: Document) -> bytes:
    return orjson.dumps([output.to.name for output in document.outputs])


def _alerts(document: Document) -> bytes:
    return orjson.dumps(
        [{"name": alert.name, "summary": alert.summary} for alert in document.alerts]
    )


def _pretty(document: Document) -> str:
    # Imported late: piped output never needs it.
    from rich.console import Console
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    console = Console(force_terminal=True)
    with console.capture() as capture:
        head = f"{document.index}  {document.id}".translate(_CONTROLS)
        console.print(Text(head, style="bold cyan"), soft_wrap=True)
        for alert in document.alerts:
            line = orjson.dumps(f"{alert.name}: {alert.summary}").decode().translate(_CONTROLS)
            console.print(Text(f"alert {line}", style="bold red"), soft_wrap=True)
        body = orjson.dumps(orjson.loads(document.body), option=orjson.OPT_INDENT_2).decode()
        console.print(JSONHighlighter()(body.translate(_CONTROLS)), soft_wrap=True)
    return capture.get()
