"""Files of a key folder: what may stand there, and what to say where it cannot.

Rules upheld here: a private file is never overwritten; what could not be written leaves nothing behind; two processes
that make keys in one folder wait for each other. Not here: how a file comes to its place (`durable.py`), what the files
hold (`key_store.py`, `trust_file.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from jurat.audit import durable
from jurat.schemas.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

_FOLDER_MODE = 0o700
_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644


def make_folder(folder: Path) -> None:
    """Make a key folder.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the key folder {folder} cannot be made: {error}; name another one with --keys or JURAT_KEYS_DIR"
        ) from error


def write_new(path: Path, data: bytes) -> None:
    """Put a private file in its place, in one step.

    Raises:
        ConfigurationError: a file is there already, or the folder cannot be written to.
    """
    try:
        durable.put_new(path, data, mode=_PRIVATE_MODE)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} was made by someone else meanwhile; run the command again"
        ) from error
    except OSError as error:
        raise not_writable(path.parent, error) from error


def replace_public(path: Path, data: bytes) -> None:
    """Put a file that everybody may read in its place, in one step.

    Raises:
        ConfigurationError: the folder cannot be written to.
    """
    try:
        durable.put(path, data, mode=_PUBLIC_MODE)
    except OSError as error:
        raise not_writable(path.parent, error) from error


def not_writable(folder: Path, error: OSError) -> ConfigurationError:
    """What to say of a folder that could not be written to."""
    return ConfigurationError(f"the key folder {folder} cannot be written to: {error}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes that make keys: workers of several agents start together."""
    if sys.platform == "win32":
        yield  # no such lock there: two processes that make one key at once are told apart by the key file alone
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"the key folder {folder} cannot be opened: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock


def read_bounded(path: Path, at_most: int) -> bytes:
    """Read a public file.

    Raises:
        ConfigurationError: it is not there, cannot be read, or is larger than that.
    """
    try:
        with path.open("rb") as file:
            data = file.read(at_most + 1)
    except OSError as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error}", path=str(path)) from error
    if len(data) > at_most:
        raise ConfigurationError(f"got more than {at_most} bytes in {path}, expected less", path=str(path))
    return data
