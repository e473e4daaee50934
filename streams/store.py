"""Bounded memory for documents: bytes by key that spill to RocksDB above a bound, and the hot ones ready to use.

Rules upheld here: what is held in memory never exceeds its bound by more than one entry; what RocksDB holds in memory
is bounded once for the whole process, however many stores are open. Nothing here is durable: the truth stands in
Kafka, so there is no write-ahead log, and a store that is opened finds nothing.

The folder of a store is its own (`mkdtemp`, below `TMPDIR`) and is made only when something spills. It is removed at
`close`, at the latest when the interpreter ends. A process that is killed leaves its folder behind; nobody ever opens
it again, and the next store that spills removes it: a process holds a lock on `OWNER` in its folders while it lives.

Not here: what the bytes mean (`keyed_state.py`, `documents.py`). The one module that imports rocksdict.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Generic, TypeVar

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from jurat.schemas.errors import StreamError

T = TypeVar("T")

ENTRY_OVERHEAD_BYTES: Final = 160
"""What an entry of the dict costs beside the characters of its key and value: two object headers (49 and 33 bytes)
and its share of the dict, which is between one and two thirds full (40 to 80 bytes). CPython 3.11, 64 bits."""

MODEL_COST: Final = 10
"""A pydantic model takes about this many times the bytes of its canonical JSON: 2.2 KB for a profile of 240 bytes."""

SPILL_BYTES: Final = 256 * 1024
"""Moved to RocksDB at once: some 500 entries, 2 ms of the event loop; a batch of one would cost as much for each."""

ROCKS_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Blocks, indexes and filters of all stores of the process, and the write buffers below: all that RocksDB holds."""

ROCKS_BUFFERS_BYTES: Final = 32 * 1024 * 1024
"""Write buffers of all stores together, charged to the cache above; when they are full, the largest is flushed."""

ROCKS_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""One store's write buffer; of two, one is filled while the other is flushed."""

METADATA_BLOCK_BYTES: Final = 4096
"""Indexes and filters in blocks of their own: whole ones outgrow a shard of the cache, and each get would read them
anew (95 us instead of 13 at 300,000 entries)."""

BLOOM_BITS: Final = 10
"""A bit less than 1 % of the gets that find nothing go to the disk; RocksDB's own advice."""

OPEN_FILES: Final = 64
"""Descriptors a store may hold: 64 stores stay below the 4,096 that systems commonly allow."""

PREFIX: Final = "jurat-store-"
OWNER: Final = "owner"
LEFT_BEHIND_S: Final = 600.0
"""A folder this old and not locked by its owner was left behind; a younger one may be about to be locked."""


class Hot(Generic[T]):
    """The values that were used last, within a bound of bytes.

    Args:
        max_bytes: what the values may cost together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self.bytes_held = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> T | None:
        """The value of a key, which is now the one used last."""
        found = self._held.get(key)
        if found is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: str, value: T, *, cost: int) -> None:
        """Hold a value that costs so many bytes; what was used longest ago makes room."""
        self.drop(key)
        self._held[key] = (value, cost)
        self.bytes_held += cost
        while self.bytes_held > self._max_bytes:
            _key, (_value, freed) = self._held.popitem(last=False)
            self.bytes_held -= freed

    def drop(self, key: str) -> None:
        """Hold this key no more."""
        found = self._held.pop(key, None)
        if found is not None:
            self.bytes_held -= found[1]

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self.bytes_held = 0


class SpillingStore:
    """Bytes by key, as a dict would hold them, in bounded memory.

    What was written last is in memory; the oldest writes make room and go to RocksDB. Calls take microseconds and
    wait for the disk at most: they may be made in the event loop.

    Args:
        max_bytes: what keys and values may take in memory.
        folder: makes a new, empty folder for the RocksDB; by default one below `TMPDIR`.

    Attributes:
        bytes_in_memory: what keys and values take in memory now, the dict's own share included.
    """

    def __init__(self, *, max_bytes: int, folder: Callable[[], Path] | None = None) -> None:
        self._max_bytes = max_bytes
        self._new_folder = folder or _new_folder
        self._memory: dict[str, bytes] = {}  # the oldest write first
        self._disk: _Disk | None = None
        self._count = 0
        self._closed = False
        self.bytes_in_memory = 0

    @property
    def spilled(self) -> bool:
        """Whether anything went to RocksDB."""
        return self._disk is not None

    def __len__(self) -> int:
        return self._count

    def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none."""
        self._check_open()
        value = self._memory.get(key)
        if value is None and self._disk is not None:
            return self._disk.get(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Set the value of a key.

        Raises:
            StreamError: the disk refused what had to make room.
        """
        self._check_open()
        known = self._memory.pop(key, None)  # put back below, at the end: written last
        if known is not None:
            self.bytes_in_memory -= _cost(key, known)
        elif self._disk is None or not self._disk.has(key):
            self._count += 1
        self._memory[key] = value
        self.bytes_in_memory += _cost(key, value)
        if self.bytes_in_memory > self._max_bytes:
            self._spill()

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is forgotten already."""
        self._check_open()
        known = self._memory.pop(key, None)
        if known is not None:
            self.bytes_in_memory -= _cost(key, known)
        spilled = self._disk is not None and self._disk.delete(key)
        if known is not None or spilled:
            self._count -= 1

    def close(self) -> None:
        """Forget everything and remove the folder; a closed store may be closed again, not used."""
        self._closed = True
        self._memory.clear()
        self.bytes_in_memory = self._count = 0
        if self._disk is not None:
            self._disk.close()
            self._disk = None

    def _check_open(self) -> None:
        if self._closed:
            raise StreamError("got a call to a store that is closed; its partition was given up")

    def _spill(self) -> None:
        """Move the oldest writes to RocksDB, until there is room for more of them than one."""
        enough = self._max_bytes - min(SPILL_BYTES, self._max_bytes // 2)
        moving: list[tuple[str, bytes]] = []
        left = self.bytes_in_memory
        for key, value in self._memory.items():
            if left <= enough:
                break
            moving.append((key, value))
            left -= _cost(key, value)
        if self._disk is None:
            self._disk = _Disk(self._new_folder)
        self._disk.write(moving)
        for key, _value in moving:
            del self._memory[key]
        self.bytes_in_memory = left


class _Disk:
    """A RocksDB in a folder of its own, with its errors in our words."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._folder = Path(tempfile.gettempdir())
        with self._in_our_words():
            self._folder = new_folder()
            # Given back at the end of the interpreter too, if nobody closes it.
            self._give_back = weakref.finalize(self, _give_back, self._folder, _lock(self._folder / OWNER))
        self._write_options = WriteOptions()
        # A property, whatever the package's stub says.
        self._write_options.disable_wal = True  # type: ignore[method-assign, assignment]
        with self._in_our_words():
            self._rocks = Rdict(str(self._folder / "rocks"), _options())

    def get(self, key: str) -> bytes | None:
        with self._in_our_words():
            value: bytes | None = self._rocks.get(key.encode())
        return value

    def has(self, key: str) -> bool:
        with self._in_our_words():
            return key.encode() in self._rocks

    def write(self, entries: Sequence[tuple[str, bytes]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in entries:
            batch.put(key.encode(), value)
        with self._in_our_words():
            self._rocks.write(batch, self._write_options)

    def delete(self, key: str) -> bool:
        """Returns whether it was there."""
        if not self.has(key):
            return False
        with self._in_our_words():
            self._rocks.delete(key.encode(), self._write_options)
        return True

    def close(self) -> None:
        try:
            with self._in_our_words():
                self._rocks.close()
        finally:
            self._give_back()

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the package raises no narrower one
            raise StreamError(
                f"documents could not be spilled to {self._folder} or read from there: {error}; see that the disk has"
                " room, or set TMPDIR to a folder on another one"
            ) from error


@cache
def _shared() -> tuple[Cache, WriteBufferManager]:
    """The memory that all stores of the process share."""
    blocks = Cache(ROCKS_CACHE_BYTES)
    return blocks, WriteBufferManager.new_write_buffer_manager_with_cache(
        ROCKS_BUFFERS_BYTES, allow_stall=False, cache=blocks
    )


def _options() -> Options:
    blocks, buffers = _shared()
    table = BlockBasedOptions()
    table.set_block_cache(blocks)
    table.set_cache_index_and_filter_blocks(True)
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(METADATA_BLOCK_BYTES)
    table.set_bloom_filter(BLOOM_BITS, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_error_if_exists(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(buffers)
    options.set_write_buffer_size(ROCKS_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(OPEN_FILES)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _cost(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_OVERHEAD_BYTES


def _new_folder() -> Path:
    parent = Path(tempfile.gettempdir())
    _remove_left_behind(parent)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))


def _lock(path: Path) -> int:
    """Hold a lock that ends with the process, however it ends; returns the descriptor that holds it."""
    held = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held


def _give_back(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _remove_left_behind(parent: Path) -> None:
    """Remove the folders of processes that were killed; other users' folders and young ones are left alone."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < LEFT_BEHIND_S:
                continue
            _give_back(folder, _lock(folder / OWNER))
