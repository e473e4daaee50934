"""Files that commands about the log read and write.

Rules upheld here: a line is read up to a bound, however long it is; half a file never stands under the name that was
asked for; a file that cannot be read or written is an error of ours that names it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Final

from jurat.audit import export
from jurat.schemas.errors import ConfigurationError

READ_BYTES: Final = 1_048_576
"""Read from a file at once: some 350 lines of a log, where the usual 8 KiB hold two."""


def lines(source: Path, *, at_most: int = export.MAX_LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """The lines of a file (`-`: standard input) with their numbers from 1; one that is too long comes in pieces.

    Args:
        source: the file.
        at_most: bytes of a line; a piece has one more.

    Raises:
        ConfigurationError: the file cannot be read, or not to its end.
    """
    with _reading(source) as file:
        number = 0
        while line := file.readline(at_most + 1):
            number += 1
            yield number, line


def is_regular(source: Path) -> bool:
    """Whether it is a file of which any part can be read at any time: no pipe, no device, not standard input."""
    return str(source) != "-" and source.is_file()


def read_whole(source: Path, *, at_most: int) -> bytes:
    """The bytes of a file; one that is too long comes cut, with one byte too many.

    Raises:
        ConfigurationError: it cannot be read.
    """
    with _reading(source) as file:
        return file.read(at_most + 1)


@contextmanager
def _reading(source: Path) -> Iterator[IO[bytes]]:
    is_stdin = str(source) == "-"
    if is_stdin and sys.stdin is None:
        raise ConfigurationError("standard input cannot be read: it is closed")
    try:
        file = sys.stdin.buffer if is_stdin else source.open("rb", buffering=READ_BYTES)
    except OSError as error:
        raise ConfigurationError(f"the file {source} cannot be read: {error}") from error
    try:
        with nullcontext(file) if is_stdin else file:
            yield file
    except OSError as error:
        raise ConfigurationError(f"the file {source} cannot be read to its end: {error}") from error


PRIVATE: Final = 0o600
"""Mode of files that hold what was sealed."""


@contextmanager
def writing(output: Path | None, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Write beside the place and rename at the end, so that half a file never stands under the name.

    A link is followed. What is no regular file (a device, a pipe) is written to as it is: renaming would put a file in
    its place.

    Args:
        output: the file; None for standard output.
        mode: of a new file, less what the user's umask takes away.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if output is None:
        yield sys.stdout.buffer
        return
    place = Path(os.path.realpath(output))
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    is_device = output.exists() and not output.is_file()
    try:
        with (
            output.open("wb")
            if is_device
            else open(partial, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file
        ):
            yield file
        if not is_device:
            partial.replace(place)
    except OSError as error:
        raise ConfigurationError(f"the file {output} cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
