"""Small files that are there as a whole or not at all, after a crash too.

Rules upheld here: a file is written beside its place, synced, and put there in one step, the folder synced after it;
what could not be written leaves nothing behind and changes nothing. What a process was killed over stays as a file
whose name begins with a dot. Not here: what the files hold, and what to say of an `OSError`.
"""

from __future__ import annotations

import contextlib
import os
import secrets  # noqa: TID251 - names of temporary files; a parameter would let two meet
from pathlib import Path


def put(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in its place, in that of another one too.

    Raises:
        OSError: it could not be written; what stood there stays.
    """
    temporary = _written(path, data, mode)
    try:
        temporary.replace(path)
    except OSError:
        _remove(temporary)
        raise
    sync_folder(path.parent)


def put_new(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in its place, where none is.

    Raises:
        FileExistsError: one is; it stays.
        OSError: it could not be written.
    """
    temporary = _written(path, data, mode)
    try:
        os.link(temporary, path)  # unlike a rename, fails where a file is already
    finally:
        _remove(temporary)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let what stands in a folder be there after a crash.

    Raises:
        OSError: it is not.
    """
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        _remove(temporary)  # half a private key would stay for good
        raise
    return temporary


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()
