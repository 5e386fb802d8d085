"""Read MaxMind DB files, format 2.0: https://maxmind.github.io/MaxMind-DB.

In Python, because the usual reader follows a damaged map's key into memory that is not there: one
byte of a file then ends the process (maxminddb 3.2.0, `from_map`). Nothing here can do worse than
raise; and it is no slower, for what two networks share is read once.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from struct import error as StructError  # noqa: N812 - as exceptions are named
from typing import Any, NamedTuple

MARK = b"\xab\xcd\xefMaxMind.com"
METADATA_BYTES = 128 << 10
"""The metadata begin within so many bytes from the end."""
SEPARATOR = 16
"""Zeros between the tree and the data."""
MAX_VALUES = 1 << 16
"""Of one record, pointers followed, as the format's authors recommend; real ones have hundreds."""
MAX_SHARED = 1 << 12
"""Values that pointers lead to that are kept at most: countries, names, keys."""
_TREE = "its search tree is damaged"
_DATA = "its data are damaged"
_WORD = Struct(">I").unpack_from
_DOUBLE = Struct(">d").unpack_from
_FLOAT = Struct(">f").unpack_from
_SIZES = (29, 285, 65821)
_POINTERS = (0, 2048, 526336, 0)


class DamagedError(ValueError):
    """Raised for what cannot be read; the text says what is wrong."""


class Metadata(NamedTuple):
    """What a file says of itself."""

    kind: str
    """Its type, such as `GeoLite2-City`."""
    built_at: int
    """Seconds since the epoch."""
    ip_version: int
    record_size: int
    """Bits of one half of a node."""
    nodes: int
    tree_bytes: int


class Reader:
    """Finds and reads records.

    Args:
        data: The whole file.

    Raises:
        DamagedError: where the metadata are missing or wrong.
    """

    def __init__(self, data: bytes | mmap) -> None:
        self.metadata = read_metadata(data)
        self._data = data
        width = self.metadata.record_size
        self._node_bytes = width // 4
        self._left_shift = 32 - width if width != 28 else 8
        self._left_high = 0xF0 if width == 28 else 0
        """Of the byte that the halves of a node of 7 bytes share; the left one's high bits."""
        self._right_mask = (1 << width) - 1
        self._values = _Values(data, self.metadata.tree_bytes + SEPARATOR)
        self._ipv4_root = 0
        if self.metadata.ip_version == 6:
            self._ipv4_root, _ = self._walk(0, 0, 96)

    def find(self, address: bytes) -> tuple[int | None, int]:
        """Give the place of an address's record, and its network's prefix length; None: no record.

        Of the 4 bytes of IPv4 or the 16 of IPv6. Raises DamagedError.
        """
        bits = 8 * len(address)
        if bits == 128 and self.metadata.ip_version == 4:
            return None, 0
        root = self._ipv4_root if bits == 32 else 0
        node, depth = self._walk(root, int.from_bytes(address, "big"), bits)
        beyond = node - self.metadata.nodes
        if beyond == 0:
            return None, depth
        place = self.metadata.tree_bytes + beyond
        if beyond < SEPARATOR or place >= len(self._data):
            raise DamagedError(_TREE)
        return place, depth

    def read(self, place: int) -> Any:
        """Read a record. Raises DamagedError."""
        return self._values.read(place)

    def _walk(self, node: int, address: int, bits: int) -> tuple[int, int]:
        """Follow an address down from a node; gives where that ended, and after how many bits."""
        data, count, size = self._data, self.metadata.nodes, self._node_bytes
        shift, high, mask = self._left_shift, self._left_high, self._right_mask
        rest = bits
        while node < count and rest:
            rest -= 1
            if address >> rest & 1:
                node = _WORD(data, node * size + size - 4)[0] & mask
            else:
                word = _WORD(data, node * size)[0]
                node = word >> shift | (word & high) << 20
        return node, bits - rest


class _Values:
    """Decodes the data section."""

    def __init__(self, data: bytes | mmap, base: int) -> None:
        self._data = data
        self._base = base
        self._left = 0
        """Values that the record at hand may still have."""
        self._shared: dict[int, Any] = {}

    def read(self, place: int) -> Any:
        self._left = MAX_VALUES
        try:
            return self._value(place)[0]
        except (IndexError, StructError, UnicodeDecodeError, TypeError):
            raise DamagedError(_DATA) from None
        except RecursionError:
            raise DamagedError("a record of it is nested too deep") from None

    def _value(self, at: int) -> tuple[Any, int]:
        """Decode the value that begins there; gives it and the place after it."""
        control = self._data[at]
        at += 1
        kind, size = control >> 5, control & 0x1F
        if kind == 1:
            return self._pointer(control, at)
        if kind == 0:
            kind = self._data[at] + 7
            at += 1
        if size > 28:
            length = size - 28
            size = _SIZES[length - 1] + int.from_bytes(self._bytes(at, length), "big")
            at += length
        if kind == 2:
            return self._bytes(at, size).decode(), at + size
        if kind in (7, 11):
            self._left -= size
            if self._left < 0:
                raise DamagedError(f"a record of it has more than {MAX_VALUES} values")
            return self._map(at, size) if kind == 7 else self._list(at, size)
        return self._scalar(kind, at, size)

    def _scalar(self, kind: int, at: int, size: int) -> tuple[Any, int]:
        end = at + size
        if kind in (3, 15):
            if size != (8 if kind == 3 else 4):
                raise DamagedError(_DATA)
            return (_DOUBLE if kind == 3 else _FLOAT)(self._data, at)[0], end
        if kind in (5, 6, 8, 9, 10):
            raw = self._bytes(at, size)
            if size > 16:
                raise DamagedError(_DATA)
            return int.from_bytes(raw, "big", signed=kind == 8 and size == 4), end
        if kind == 14:
            return size != 0, at
        if kind == 4:
            return self._bytes(at, size), end
        raise DamagedError(_DATA)

    def _map(self, at: int, size: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        for _ in range(size):
            key, at = self._value(at)
            if type(key) is not str:
                raise DamagedError(_DATA)
            values[key], at = self._value(at)
        return values, at

    def _list(self, at: int, size: int) -> tuple[list[Any], int]:
        values = []
        for _ in range(size):
            value, at = self._value(at)
            values.append(value)
        return values, at

    def _pointer(self, control: int, at: int) -> tuple[Any, int]:
        length = (control >> 3 & 3) + 1
        target = int.from_bytes(self._bytes(at, length), "big") + _POINTERS[length - 1] + self._base
        if length < 4:
            target += (control & 7) << 8 * length
        if target not in self._shared:
            if self._data[target] >> 5 == 1:
                raise DamagedError(_DATA)
            value, _ = self._value(target)
            if len(self._shared) >= MAX_SHARED:
                self._shared.clear()
            self._shared[target] = value
        return self._shared[target], at + length

    def _bytes(self, at: int, size: int) -> bytes:
        raw = self._data[at : at + size]
        if len(raw) != size:
            raise DamagedError(_DATA)
        return raw


def read_metadata(data: bytes | mmap) -> Metadata:
    """Read what a file says of itself. Raises DamagedError."""
    mark = data.rfind(MARK, max(0, len(data) - METADATA_BYTES))
    if mark < 0:
        raise DamagedError("it is no MaxMind database (.mmdb), or its end is missing")
    begin = mark + len(MARK)
    try:
        found = _Values(data, begin).read(begin)
    except DamagedError:
        raise DamagedError("its metadata are damaged") from None
    numbers = [found.get(name) for name in _NUMBERS] if type(found) is dict else []
    match numbers:
        case [2, int(built_at), (4 | 6) as version, (24 | 28 | 32) as size, int(nodes)]:
            tree_bytes = nodes * size // 4
        case _:
            raise DamagedError("its metadata are of an unknown format")
    if tree_bytes + SEPARATOR > mark:
        raise DamagedError("its search tree is larger than the file")
    return Metadata(str(found.get("database_type")), built_at, version, size, nodes, tree_bytes)


_NUMBERS = ("binary_format_major_version", "build_epoch", "ip_version", "record_size", "node_count")
