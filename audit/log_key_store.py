"""The file of a notary's or a witness's secret; the rules are those of `key_store`.

Not here: what keys are made of the secret (`log_key.py`).
"""

from __future__ import annotations

from pathlib import Path

from jurat.audit.key_store import KeyKind, key_file, make_key, read_private
from jurat.audit.log_key import LogKey


def log_key_path(folder: Path, name: str) -> Path:
    """Where the secret of a notary or a witness stands."""
    return key_file(folder, name, KeyKind.LOG)


def init_log_key(folder: Path, name: str, passphrase: bytes | None = None) -> tuple[LogKey, bool]:
    """Make the secret of a notary or a witness if it is missing.

    Returns:
        The secret, and whether it was made now.

    Raises:
        ConfigurationError: the name or the folder cannot be used.
        KeyRejected: the secret that is there cannot be read with this passphrase.
    """
    _keyid, made = make_key(folder, name, KeyKind.LOG, passphrase)
    return load_log_key(folder, name, passphrase), made


def load_log_key(folder: Path, name: str, passphrase: bytes | None = None) -> LogKey:
    """Load the secret of a notary or a witness.

    Raises:
        KeyNotFound: there is none of this name.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
    """
    path = log_key_path(folder, name)
    missing = (
        f"there is no key of the notary or witness {name!r} at {path}; `jurat notary init`, or `jurat witness init`,"
        " makes it"
    )
    return LogKey(read_private(path, passphrase, missing=missing, log=name).seed())
