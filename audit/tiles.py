"""The tiles of a log: its tree and its entries as files, for whoever mirrors it or proves from it. Pure.

Rules upheld here: paths and bytes are those of the specification; what is written follows from the entries alone, so
reading is printing again and comparing, and a bit that differs in any file is noticed; memory is one tile a level.

Not here: folders and servers (a function from path to bytes is a parameter), the checkpoint's signatures.

Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from jurat.audit.checkpoint import Checkpoint
from jurat.audit.merkle import Tree, leaf_hash, node_hash
from jurat.schemas.errors import NoteInvalid, ProofInvalid

CHECKPOINT: Final = "checkpoint"
WIDTH: Final = 256
"""Hashes of a full tile, entries of a full bundle."""

MAX_ENTRY_BYTES: Final = 2**16 - 1
"""An entry's length is two bytes."""

MAX_BUNDLE_BYTES: Final = WIDTH * (MAX_ENTRY_BYTES + 2)

_LENGTH: Final = struct.Struct(">H")
_ENTRIES: Final = "entries"


def tile_path(level: int | None, index: int, width: int = WIDTH) -> str:
    """The path of a tile.

    Args:
        level: of the tree, 0 for leaf hashes; None for a bundle of entries.
        index: of the tile within the level.
        width: how many hashes or entries it has, 1 to 256.
    """
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03}")
    number = "/".join(reversed(groups))
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{_ENTRIES if level is None else level}/{number}{partial}"


class Tiling:
    """Prints the files of a log, entry by entry: full ones as they are complete, partial ones at the end.

    Attributes:
        size: how many entries it has.
    """

    def __init__(self) -> None:
        self.size = 0
        self._bundle: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]

    def add(self, entry: bytes) -> Iterator[tuple[str, bytes]]:
        """Take an entry in, and give path and bytes of each file that is complete with it.

        Raises:
            NoteInvalid: it is longer than a bundle can say.
        """
        if len(entry) > MAX_ENTRY_BYTES:
            raise NoteInvalid(f"got an entry of {len(entry)} bytes, expected at most {MAX_ENTRY_BYTES}")
        self._bundle.append(_LENGTH.pack(len(entry)) + entry)
        self.size += 1
        node, level, index = leaf_hash(entry), 0, self.size - 1
        if len(self._bundle) == WIDTH:
            yield tile_path(None, index // WIDTH), b"".join(self._bundle)
            self._bundle.clear()
        while True:
            if level == len(self._levels):
                self._levels.append([])
            tile = self._levels[level]
            tile.append(node)
            if len(tile) < WIDTH:
                return
            index //= WIDTH
            yield tile_path(level, index), b"".join(tile)
            node = _root(tile)
            tile.clear()
            level += 1

    def partial(self) -> Iterator[tuple[str, bytes]]:
        """Path and bytes of the files at the right edge."""
        if self._bundle:
            yield tile_path(None, self.size // WIDTH, len(self._bundle)), b"".join(self._bundle)
        for level, tile in enumerate(self._levels):
            if tile:
                index = self.size // WIDTH ** (level + 1)
                yield tile_path(level, index, len(tile)), b"".join(tile)


def bundles(size: int) -> Iterator[tuple[str, int]]:
    """Path and width of each bundle of a log with so many entries."""
    for index in range(size // WIDTH):
        yield tile_path(None, index), WIDTH
    if size % WIDTH:
        yield tile_path(None, size // WIDTH, size % WIDTH), size % WIDTH


def parse_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """The entries of a bundle.

    Raises:
        NoteInvalid: it does not hold exactly so many.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) <= width:
        if at + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        entries.append(data[at - length : at])
    if at != len(data) or len(entries) != width:
        raise NoteInvalid(f"got a bundle of {len(data)} bytes that does not hold exactly {width} entries")
    return tuple(entries)


def read(fetch: Callable[[str], bytes], head: Checkpoint) -> Tree:
    """Read the tree of a checkpoint, and check every file that belongs to it.

    Args:
        fetch: gives the bytes of a path; what it raises is passed on.
        head: the checkpoint; its signatures are checked by whoever calls.

    Returns:
        The tree, for proofs of inclusion and of consistency.

    Raises:
        NoteInvalid: a bundle is not of the form of one.
        ProofInvalid: a tile is not that of the entries, or the root is not the checkpoint's.
    """
    grown, tiling = Tree(), Tiling()
    for path, width in bundles(head.size):
        for entry in parse_bundle(fetch(path), width):
            grown.append(leaf_hash(entry))
            for complete, data in tiling.add(entry):
                _same(fetch, complete, data)
    for path, data in tiling.partial():
        _same(fetch, path, data)
    if grown.root() != head.root:
        raise ProofInvalid(
            f"the entries of the tiles have the root {grown.root().hex()}, expected {head.root.hex()} as the checkpoint"
            " says"
        )
    return grown


def _same(fetch: Callable[[str], bytes], path: str, data: bytes) -> None:
    if fetch(path) != data:
        raise ProofInvalid(f"got {path} with other hashes than those of the entries", path=path)


def _root(tile: list[bytes]) -> bytes:
    """The root over a full tile, whose hashes are those of subtrees."""
    level = tile
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]
