"""Places by address and by network: what a database has said is asked once."""

from __future__ import annotations

from collections.abc import Callable

from enricher.geoip.address import is_private, pack
from enricher.geoip.reader import DamagedError, Reader
from enricher.geoip.record import Record
from enricher.model import Event

Answer = Event | str
"""The fields of a place, shared by all events there; or the reason why there is none."""

LIMIT = 1 << 16
"""Texts of addresses, texts of IPv4 /24s, and networks that are remembered at most, of each."""
MAX_PLACES = 1 << 15
"""Different places that are remembered at most; each is a kilobyte."""
MAX_REMEMBERED = 64
"""Characters of an address that is still remembered: no readable one is longer."""
WIDTHS = {4: (24, 26, 28, 30, 32), 16: (32, 40, 48, 56, 64, 128)}
"""Prefix lengths that answers are kept by, for addresses of 4 and 16 bytes: the shortest that
lies within the database's network. Each is one more question to a dict."""
_NO_ADDRESS: tuple[Answer, int] = ("is no IP address", 128)
_WHOLE = {4: 24, 16: 64}
"""As `is_private` looks at addresses: what it says holds no wider."""


class Places:
    """Asks a database, and remembers by address and by network.

    Args:
        reader: Of the database.
        build: Makes the fields of a record.
    """

    def __init__(self, reader: Reader, build: Callable[[Record], Event]) -> None:
        self.networks: dict[str, Answer] = {}
        """By the first three octets of an IPv4 address, where they decide: `203.0.113`."""
        self.addresses: dict[str, Answer] = {}
        self._reader = reader
        self._build = build
        self._places: dict[int, Event] = {}
        """By where the record is: the same for all networks there, and so is the object."""
        self._held = 0
        self._by_width: dict[int, tuple[tuple[int, dict[int, Answer]], ...]] = {
            size: tuple((width, {}) for width in widths) for size, widths in WIDTHS.items()
        }

    def look_up(self, address: str) -> Answer:
        """Give the answer for an address that is in neither of the dicts, and put it there."""
        packed = pack(address)
        answer, width = self._known(packed) or self._ask(packed) if packed else _NO_ADDRESS
        if width <= 24 and ":" not in address:
            remembered, key = self.networks, address.rpartition(".")[0]
        else:
            remembered, key = self.addresses, address
        if len(remembered) >= LIMIT:
            remembered.clear()
        if len(key) <= MAX_REMEMBERED:
            remembered[key] = answer
        return answer

    def _known(self, packed: bytes) -> tuple[Answer, int] | None:
        number, bits = int.from_bytes(packed, "big"), 8 * len(packed)
        for width, answers in self._by_width[len(packed)]:
            answer = answers.get(number >> bits - width)
            if answer is not None:
                return answer, width
        return None

    def _ask(self, packed: bytes) -> tuple[Answer, int]:
        number, size = int.from_bytes(packed, "big"), len(packed)
        try:
            place, length = self._reader.find(packed)
            answer: Answer | None = None if place is None else self._read(place)
        except DamagedError as error:
            return f"cannot be looked up: {error}", 8 * size
        if answer is None:
            length = max(length, _WHOLE[size])
            answer = "is a private address" if is_private(packed) else "is not in the database"
        if self._held >= LIMIT:
            self._forget_networks()
        width, answers = next(one for one in self._by_width[size] if one[0] >= length)
        answers[number >> 8 * size - width] = answer
        self._held += 1
        return answer, width

    def _read(self, place: int) -> Event:
        known = self._places.get(place)
        if known is not None:
            return known
        record = self._reader.read(place)
        if type(record) is not dict:
            raise DamagedError("its record is no map")
        if len(self._places) >= MAX_PLACES:
            for remembered in (self._places, self.networks, self.addresses):
                remembered.clear()
            self._forget_networks()
        self._places[place] = built = self._build(record)
        return built

    def _forget_networks(self) -> None:
        self._held = 0
        for tables in self._by_width.values():
            for _, answers in tables:
                answers.clear()
