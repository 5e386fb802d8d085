"""Read a request's body, inflated, within its bounds and its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from enricher.http.answers import Refusal, full
from enricher.http.inflate import Bounds, decoder

if TYPE_CHECKING:
    from enricher.sources.http import Http


async def announce(request: web.BaseRequest, config: Http, has_room: Callable[[int], bool]) -> None:
    """Look at what is announced of a body, and have it sent where the client waits for that.

    Raises:
        Refusal: it is not wanted: better now than when it has been sent.
    """
    coding = request.headers.get("Transfer-Encoding")
    is_known = coding is None or coding.strip().lower() == "chunked"
    if not is_known or (coding and request.version < HttpVersion11):
        reason = "not HTTP: the only Transfer-Encoding is chunked, and that since HTTP/1.1"
        raise Refusal(400, reason)
    length = request.content_length or 0
    if length > config.max_body_bytes:
        raise _too_large(config)
    if not has_room(length):
        raise full()
    expected = request.headers.get("Expect")
    if expected is not None:
        if expected.strip().lower() != "100-continue":
            raise Refusal(417, "Expect is not known here; 100-continue, or none")
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # of the answer nothing has been sent yet


async def read(
    request: web.BaseRequest, config: Http, take: Callable[[int], None]
) -> tuple[bytes, int]:
    """Read and inflate it.

    Args:
        request: Whose body it is.
        config: What the bounds are.
        take: Called for every further piece with its size, before the next is read.

    Returns:
        The body, and how many bytes were sent of it.

    Raises:
        Refusal: it is too large, too slow or damaged, or `take` refused.
        ConnectionError: the client is gone.
    """
    bounds = Bounds(config.max_inflated_bytes, config.max_inflate_ratio)
    decode = decoder(request.headers.get("Content-Encoding", ""), bounds)
    pieces: list[bytes] = []
    sent = 0
    try:
        async with asyncio.timeout(config.body_s):
            async for chunk in _chunks(request):
                sent += len(chunk)
                if sent > config.max_body_bytes:
                    raise _too_large(config)
                if decode.keeps:
                    take(len(chunk))
                for piece in decode.feed(chunk):
                    take(len(piece))
                    pieces.append(piece)
    except TimeoutError:
        reason = f"the body took longer than {config.body_s:g} s; send it in smaller parts"
        raise Refusal(408, reason) from None
    if sent:
        for piece in decode.end():
            take(len(piece))
            pieces.append(piece)
    return b"".join(pieces), sent


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield what comes. Raises Refusal where that is no HTTP, ConnectionError at its end."""
    while True:
        try:
            chunk = await request.content.readany()
        except (web.RequestPayloadError, ConnectionError) as error:
            # aiohttp keeps this in a cycle, which would keep the frames, and so all that was read.
            error.__traceback__ = None
            if isinstance(error, ConnectionError):
                raise ConnectionError("gone") from None
            raise Refusal(400, f"not HTTP: {error}") from None
        if not chunk:
            return
        yield chunk


def _too_large(config: Http) -> Refusal:
    return Refusal(413, f"larger than {config.max_body_bytes} bytes; send it in smaller parts")
