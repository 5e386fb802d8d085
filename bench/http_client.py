"""Send prepared bodies as fast as they are taken: PORT FOLDER REQUESTS CONNECTIONS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path


async def main(port: int, bodies: list[bytes], requests: int, connections: int) -> None:
    """Share the requests between the connections; each answer must be 200."""
    head = "POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\n"
    whole = [f"{head}Content-Length: {len(one)}\r\n\r\n".encode() + one for one in bodies]
    left = islice(cycle(whole), requests)
    await asyncio.gather(*(_send(port, left) for _ in range(connections)))


async def _send(port: int, requests: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(head.decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


if __name__ == "__main__":
    port, folder, requests, connections = sys.argv[1:]
    bodies = [path.read_bytes() for path in sorted(Path(folder).glob("*.body"))]
    asyncio.run(main(int(port), bodies, int(requests), int(connections)))
