"""The file of the master key of subjects, made once and read by workers and whoever discloses or erases.

Rules upheld here: it is never overwritten; others can never read it; what is in it is never part of a message. It is
one line of 64 lower-case hex digits. Not here: what the key does (`subject_keys.py`).
"""

from __future__ import annotations

import os
import re
import secrets  # noqa: TID251 - keys come from the operating system; a parameter would let weak ones in
import stat
from pathlib import Path
from typing import Final

from jurat.audit import durable
from jurat.audit.subject_keys import KEY_BYTES, MasterKey
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected

_LINE: Final = re.compile(rb"[0-9a-f]{64}\n")
_MAX_BYTES: Final = 2 * KEY_BYTES + 1
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def init_master(path: Path) -> MasterKey:
    """Make the file.

    Raises:
        ConfigurationError: there is one already, or it cannot be written.
    """
    secret = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot("written", path, error) from error
    try:
        durable.put_new(path, secret.hex().encode() + b"\n", mode=0o600)
    except FileExistsError as error:
        raise ConfigurationError(
            f"there is a file at {path} already, and it is never overwritten: without the master key that it may hold,"
            " no evidence can be read any more"
        ) from error
    except OSError as error:
        raise _cannot("written", path, error) from error
    return MasterKey(secret)


def load_master(path: Path) -> MasterKey:
    """Read the file.

    Raises:
        KeyNotFound: there is none.
        KeyRejected: others can read it, or it holds something else.
        ConfigurationError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyNotFound(
            f"there is no master key of subjects at {path}; make it once: jurat subject init", path=str(path)
        ) from error
    except OSError as error:
        raise _cannot("read", path, error) from error
    if os.name == "posix" and mode & _OTHERS:
        raise KeyRejected(
            f"the master key {path} has mode {mode:04o}, so others can use it; expected 0600. If nobody did, mend it:"
            f" chmod 600 {path}",
            path=str(path),
        )
    if not _LINE.fullmatch(data):
        raise KeyRejected(
            f"the file {path} is no master key of subjects, expected 64 lower-case hex digits and a line feed",
            path=str(path),
        )
    return MasterKey(bytes.fromhex(data.decode()))


def _cannot(done: str, path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the master key {path} cannot be {done}: {error.strerror}", path=str(path))
