"""Cut a body into records, as the bytes that they were sent as.

Lines are cut without a look at what is in them. JSON texts one after the other, or in an array,
are found by the scanner of the standard library, which tells where each one ends; what it makes
of them is thrown away: only the plan decodes, by its own rules (integers beyond 64 bits, depth).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from enricher.http.answers import Refusal

_STEP = 256 << 10
"""Bytes by which the window is longer: so far the next one begins."""
_AT_ONCE = 2_000
"""Records after which others have their turn."""
_FIRST, _NEXT, _COMMA, _END, _TEXTS = range(5)
"""What is wanted: the first text of an array or its end, a further one, a comma or the array's
end, nothing more; or (no array) another text or nothing more."""
_MARGIN = 16
"""An error so near the end of what was looked at may come of its having been cut."""
_SPACE = re.compile(r"[ \t\r\n]*")
_LINES = re.compile(r"application/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines)")
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")
_CHARSET = re.compile(r'\bcharset\s*=\s*"?([^";\s]*)')
_UTF8 = {"utf-8", "utf8", "us-ascii"}


def is_lines(content_type: str) -> bool:
    """Say whether a body has a record a line, or holds JSON texts. Raises Refusal for neither."""
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if _UTF8.issuperset(_CHARSET.findall(parameters)):
        if _LINES.fullmatch(kind):
            return True
        if _JSON.fullmatch(kind):
            return False
    known = "application/json, application/x-ndjson"
    reason = f"Content-Type is not known here; one of {known}, in UTF-8"
    raise Refusal(415, reason, {"Accept": known})


def lines(body: bytes, most: int, largest: int) -> list[bytes]:
    """Cut at newlines; blank lines stay, so that a record's place is its line.

    A line that is longer than `largest` is cut to one byte more.

    Raises:
        Refusal: there are more than `most`.
    """
    if body.count(b"\n") > most:
        raise _too_many(most)
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    found = body.split(b"\n")
    return found if len(body) <= largest else [line[: largest + 1] for line in found]


def texts(body: bytes, most: int, largest: int) -> Iterator[list[bytes]]:
    """Cut JSON texts: those of one array, or one after the other; some at a time.

    Raises:
        Refusal: there are more than `most`, one is larger than `largest`, or it cannot be told
            where one ends.
    """
    cutter = _Cutter(body, largest)
    count = 0
    while not cutter.is_done:
        found = cutter.some()
        count += len(found)
        if count > most:
            raise _too_many(most)
        yield found


class _Cutter:
    """Looks at a window of the body at a time, so that no text makes more than that of objects.

    (For a moment they take some twenty times its bytes.)

    Bytes are read as Latin-1: a character each, and whoever wants them to be UTF-8 comes later.
    """

    def __init__(self, body: bytes, largest: int) -> None:
        self._largest = largest
        # Numbers are not wanted; as floats, those of any length are quickly read.
        self._scan = json.JSONDecoder(parse_int=float, strict=False).raw_decode
        self._body = body
        self._begin = len(body) - len(body.lstrip(b" \t\r\n"))
        """Where the window begins in the body."""
        self._window = ""
        self._at = 0
        """How far into the window all is cut."""
        is_array = body[self._begin : self._begin + 1] == b"["
        self._begin += is_array
        self._wanted = _FIRST if is_array else _TEXTS
        self.is_done = False

    def some(self) -> list[bytes]:
        """Give the next records."""
        self._begin += self._at
        window = self._body[self._begin : self._begin + self._largest + _STEP]
        is_last = self._begin + len(window) == len(self._body)
        self._window, self._at = window.decode("latin-1"), 0
        found: list[bytes] = []
        while not self.is_done and len(found) < _AT_ONCE:
            self._at = _SPACE.match(self._window, self._at).end()  # type: ignore[union-attr]
            if self._at >= _STEP and not is_last:
                break
            if self._is_at_text(self._window[self._at : self._at + 1]):
                found.append(self._cut(is_last=is_last))
        return found

    def _is_at_text(self, sign: str) -> bool:
        """Step over what stands between two texts; at the end be done."""
        wanted = self._wanted
        if not sign and wanted in (_TEXTS, _END):
            self.is_done = True
        elif wanted == _END:
            raise self._refuse("the array has ended before this", self._at)
        elif sign == "]" and wanted in (_FIRST, _COMMA):
            self._at, self._wanted = self._at + 1, _END
        elif wanted == _COMMA:
            if sign != ",":
                raise self._refuse("a comma or the end of the array is wanted", self._at)
            self._at, self._wanted = self._at + 1, _NEXT
        else:
            self._wanted = _TEXTS if wanted == _TEXTS else _COMMA
            return True
        return False

    def _cut(self, *, is_last: bool) -> bytes:
        begin = self._at
        try:
            _, self._at = self._scan(self._window, begin)
        except json.JSONDecodeError as error:
            is_near = error.pos > len(self._window) - _MARGIN or error.msg.startswith("Untermin")
            if is_near and not is_last:
                raise self._too_large(begin) from None
            raise self._refuse(error.msg, error.pos) from None
        except RecursionError:
            raise self._refuse("nested too deep", begin) from None
        if self._at - begin > self._largest:
            raise self._too_large(begin)
        return self._body[self._begin + begin : self._begin + self._at]

    def _refuse(self, reason: str, at: int) -> Refusal:
        return Refusal(400, f"not JSON: {reason}; nothing was taken", place=self._place(at))

    def _too_large(self, at: int) -> Refusal:
        reason = f"a record is larger than {self._largest} bytes; nothing was taken"
        return Refusal(413, reason, place=self._place(at))

    def _place(self, at: int) -> dict[str, int]:
        byte = self._begin + at
        return {"line": self._body.count(b"\n", 0, byte) + 1, "byte": byte}


def _too_many(most: int) -> Refusal:
    return Refusal(413, f"more than {most} records; send them in several requests")
