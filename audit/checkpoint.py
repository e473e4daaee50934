"""Checkpoints: a log's name, how many leaves it has, and the root hash over them.

Rules upheld here: one form; parse then print is identity; numbers without leading zeros, a hash of 32 bytes in the one
spelling of base64; extension lines are kept and mean nothing. Not here: who signed it (`note.py`, `cosignature.py`).

Source: https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jurat.schemas import b64
from jurat.schemas.errors import NoteInvalid

HASH_SIZE: Final = 32
MAX_SIZE: Final = 2**63 - 1
"""Leaves of a tree; signed 64 bits, as every implementation counts at least so far."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head.

    Attributes:
        origin: the log's name.
        size: how many leaves the tree has.
        root: its root hash, 32 bytes.
        extensions: further lines, without their newlines; nobody may rely on them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def print(self) -> str:
        """Print the text that is signed."""
        lines = (self.origin, str(self.size), b64.encode(self.root), *self.extensions)
        return "".join([f"{line}\n" for line in lines])


def parse(text: str | bytes) -> Checkpoint:
    """Read the text of a checkpoint, without the signatures of the note that it stands in.

    Args:
        text: as `note.parse` gives it, or its bytes.

    Raises:
        NoteInvalid: it is not of the form of one.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise NoteInvalid("got a checkpoint that is not UTF-8") from error
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "" or "" in lines:
        raise NoteInvalid("got a text of other than three or more lines, none of them empty")
    origin, size, root, *extensions = lines
    number = parse_size(size)
    try:
        raw = b64.decode(root)
    except ValueError as error:
        raise NoteInvalid("got a root hash that is not base64 in its one form") from error
    if len(raw) != HASH_SIZE:
        raise NoteInvalid(f"got a root hash of {len(raw)} bytes, expected {HASH_SIZE}")
    return Checkpoint(origin, number, raw, tuple(extensions))


def parse_size(text: str) -> int:
    """Read a count: decimal, without leading zeros.

    Raises:
        NoteInvalid: it is none, or too large.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise NoteInvalid(f"got {text[:30]!r}, expected a number without leading zeros, at most {MAX_SIZE}")
    return int(text)
