"""Which inputs of one partition are done: the lowest that is not, and a map of what is done above it.

Three offsets, as everywhere in the runtime: an input is *working* once it was admitted, *done* once its results are in
a transaction, and *committed* with that transaction. Kafka keeps one offset per partition; results leave in any order,
so the rest travels as a map in the metadata of that offset (`docs/spec/offset-map.md`).

Rules upheld here: an offset that nobody will ever see again (compacted, a transaction marker) counts as done; nothing
further than `MAX_SPAN` above the lowest is admitted, so that a map always fits Kafka's limit; a map has one row of
bits, written in one alphabet, and what is not in that form is refused (packed bits may differ from one zlib to another,
so maps are compared by what they say).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable
from typing import Final

from jurat.schemas.errors import StreamError

MAX_SPAN: Final = 16_384
"""How far above the lowest undone input another one may be admitted. One bit each is 2,048 bytes, 2,732 in base64:
below 3 KB whatever the bits are, while Kafka's default limit (`offset.metadata.max.bytes`) is 4,096."""

MAX_MAP_CHARS: Final = 3 * 1024
_PLAIN: Final = "b"
_DEFLATED: Final = "z"


class OffsetMap:
    """The inputs of one partition that are done.

    Args:
        low: the lowest offset that is not done.
        done: offsets above it that are.
    """

    def __init__(self, low: int = 0, done: Iterable[int] = ()) -> None:
        self.low = low
        self._done = set(done)
        self._top = max(self._done, default=-1)
        self._next = low

    def __len__(self) -> int:
        """How many are done above the lowest that is not."""
        return len(self._done)

    def covers(self, other: OffsetMap) -> bool:
        """Tell whether everything that is done in the other map is done in this one."""
        return other.low <= self.low and all(self.is_done(offset) for offset in other._done)

    def is_done(self, offset: int) -> bool:
        """Whether this input is done."""
        return offset < self.low or offset in self._done

    @property
    def next(self) -> int:
        """The offset after the last one that was admitted."""
        return self._next

    def admits(self, offset: int) -> bool:
        """Tell whether an input this far above the lowest may come in now."""
        return offset - self.low < MAX_SPAN or self.low == self._next

    def admit(self, offset: int) -> bool:
        """Take the next input; offsets that were left out before it are done, as nobody will see them.

        Returns:
            False when it was done before, so that there is nothing to do about it.
        """
        if offset < self._next:
            return False  # done before a restart, and behind the lowest since
        if self.low == self._next and offset > self._top:
            self._done.clear()  # nothing is open below it
            self.low = offset
        else:
            self._done.update(gap for gap in range(self._next, offset) if gap not in self._done)
        self._next = offset + 1
        known = offset in self._done
        self._advance()
        return not known

    def finish(self, offset: int) -> None:
        """An input is done."""
        self._done.add(offset)
        self._top = max(self._top, offset)
        self._advance()

    def encode(self) -> str:
        """Print the map; empty when nothing above the lowest is done."""
        if not self._done:
            return ""
        bits = bytearray((max(self._done) - self.low) // 8 + 1)
        for offset in self._done:
            place = offset - self.low
            bits[place >> 3] |= 1 << (place & 7)
        deflated = zlib.compress(bits, 6)
        kind, packed = (_DEFLATED, deflated) if len(deflated) < len(bits) else (_PLAIN, bytes(bits))
        return kind + _text(packed)

    @classmethod
    def decode(cls, low: int, text: str) -> OffsetMap:
        """Read a map back.

        Raises:
            StreamError: it is not one that `encode` prints.
        """
        if not text:
            return cls(low)
        bits = _bits(text)
        if bits is None or bits[0] & 1 or not bits[-1]:
            raise StreamError(
                f"got the offset map {text[:40]!r}, expected one of docs/spec/offset-map.md; the group's offsets"
                " were committed by another program, or by another release"
            )
        done = [
            low + 8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1
        ]
        return cls(low, done)

    def _advance(self) -> None:
        # Past what was done before a restart too: a map whose lowest is done says what none may say.
        while self.low in self._done:
            self._done.discard(self.low)
            self.low += 1
        self._next = max(self._next, self.low)


def _text(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _bits(text: str) -> bytes | None:
    if len(text) > MAX_MAP_CHARS:
        return None
    try:
        packed = base64.urlsafe_b64decode(text[1:] + "=" * (-(len(text) - 1) % 4))
        if _text(packed) != text[1:]:
            return None
        if text[0] == _DEFLATED:
            inflater = zlib.decompressobj()
            bits = inflater.decompress(packed, MAX_SPAN // 8 + 1)
            if not inflater.eof or inflater.unused_data:
                return None
        elif text[0] == _PLAIN:
            bits = packed
        else:
            return None
    except (binascii.Error, ValueError, zlib.error):
        return None
    return bits if 0 < len(bits) <= MAX_SPAN // 8 else None
