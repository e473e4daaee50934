"""What a witness saw, on the disk: one folder, one process.

Rules upheld here: a state is written beside its place, synced, and put there in one step, the folder synced after it,
before `keep` returns; what is read is what this witness signed, or it does not start; two processes never have one
folder. A disk that is full or gone is an `OSError` of `keep`, and what was seen before stays.

Not here: what is kept (`witness.py`).

Specified in `docs/spec/witness.md`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from jurat.audit import durable, note
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.witness import Cosigned, Witness
from jurat.schemas.errors import AuditError, ConfigurationError

if sys.platform != "win32":
    import fcntl

MAX_FORKS: Final = 100
"""Forks that are kept: one is proof enough, and a hostile log must not fill the disk."""

_STATE: Final = ".note"
_FORK: Final = ".fork"
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class WitnessStore:
    """The folder of one witness; a context manager that holds it against other processes."""

    def __init__(self, folder: Path, witness: Witness) -> None:
        self._folder = folder
        self._witness = witness
        self._descriptor: int | None = None
        self._seen: dict[str, Checkpoint] = {}
        self._told = 0

    def __enter__(self) -> Self:
        """Take the folder and read it.

        Raises:
            ConfigurationError: it cannot be used, another process has it, or a file in it is not what this witness
                signed.
        """
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self._descriptor = os.open(self._folder, os.O_RDONLY)
        except OSError as error:
            raise ConfigurationError(
                f"the witness's folder {self._folder} cannot be used: {error}; name another one with --data"
            ) from error
        try:
            self._check_mode(self._descriptor)
            self._lock(self._descriptor)
            self._clear()
            for path in sorted(self._folder.glob(f"*{_STATE}")):
                self._remember(self._read(path))
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    @property
    def seen(self) -> Mapping[str, Checkpoint]:
        """By origin, the checkpoint that was cosigned last."""
        return MappingProxyType(self._seen)

    @property
    def told(self) -> int:
        """The latest time of all that was cosigned, in seconds since the Epoch; 0 where nothing was."""
        return self._told

    def keep(self, cosigned: Cosigned) -> None:
        """Put what was cosigned on the disk; when this returns, it is there.

        Raises:
            OSError: it could not be written; what was seen before stays.
        """
        self._write(self._folder / (_name(cosigned.head.origin) + _STATE), cosigned.kept)
        self._remember(cosigned)

    def keep_fork(self, signed: bytes) -> Path | None:
        """Keep a checkpoint that shows a fork.

        Returns:
            Its file; None where as many as may be are there.
        """
        path = self._folder / (sha256(signed).hexdigest() + _FORK)
        if path.exists():
            return path
        if sum(1 for _one in self._folder.glob(f"*{_FORK}")) >= MAX_FORKS:
            return None
        self._write(path, signed)
        return path

    def _remember(self, cosigned: Cosigned) -> None:
        self._seen[cosigned.head.origin] = cosigned.head
        self._told = max(self._told, cosigned.time)

    def _clear(self) -> None:
        """Remove what an earlier process was killed over: files that never came to their places."""
        for path in (*self._folder.glob(f".*{_STATE}.*"), *self._folder.glob(f".*{_FORK}.*")):
            with contextlib.suppress(OSError):
                path.unlink()

    def _read(self, path: Path) -> Cosigned:
        try:
            with path.open("rb") as file:
                data = file.read(note.MAX_NOTE_BYTES + 1)
            cosigned = self._witness.recall(data)
        except (OSError, AuditError) as error:
            raise ConfigurationError(
                f"{path} is not what this witness wrote: {error}. Without it the witness would forget what it saw:"
                " bring the file back from a copy, or begin as another witness with another name and folder",
                path=str(path),
            ) from error
        name = _name(cosigned.head.origin) + _STATE
        if path.name != name:
            raise ConfigurationError(
                f"{path} holds the state of {cosigned.head.origin}, expected it under {name}", path=str(path)
            )
        return cosigned

    def _write(self, path: Path, data: bytes) -> None:
        if self._descriptor is None:
            raise ConfigurationError(
                "got something to keep for a folder that nobody holds, expected it entered"
            )
        durable.put(path, data, mode=_FILE_MODE)

    def _check_mode(self, descriptor: int) -> None:
        if sys.platform != "win32" and os.fstat(descriptor).st_mode & stat.S_IWOTH:
            raise ConfigurationError(
                f"everybody may write to the witness's folder {self._folder}, and so put an old state in its place;"
                " expected one of its own: chmod o-w"
            )

    def _lock(self, descriptor: int) -> None:
        if sys.platform == "win32":
            return  # no such lock there; one witness a folder is up to whoever starts it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"the witness's folder {self._folder} is in use by another process, expected one witness for it"
            ) from error

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # lets go of the lock
            self._descriptor = None


def _name(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()
