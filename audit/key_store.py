"""Key files of a worker: the only part of this room that touches the file system.

Layout of the folder (mode 0700)::

    <agent>.key.pem         private key, PKCS#8 PEM, mode 0600, encrypted when a passphrase was given
    <name>.approver.pem     the same of a person who approves
    <name>.log.pem          the same of a notary or a witness: its secret, see `log_key`
    trust.json              public keys; what an auditor needs

Rules upheld here: a private key is never overwritten; a file is written beside its place, synced, and then
put there in one step, and what could not be written leaves nothing behind; a private key that others can read
is refused, and one that is not encrypted though a passphrase was given is told; a key that is trusted for one agent is
never taken for another's. An agent's key is trusted where it is made; an approver's nowhere, until somebody says so
(`trust_approver`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets  # noqa: TID251 - keys come from the operating system; a parameter would let weak ones in
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jurat.audit import pem
from jurat.audit.ed25519 import SEED_SIZE, SigningKey
from jurat.audit.keys import (
    PemSigner,
    Purpose,
    Trust,
    TrustedApprover,
    TrustedKey,
    check_agent,
    merge,
    parse_trust,
    print_trust,
    with_approver,
)
from jurat.audit.log_key import LogKey
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

TRUST_FILE = "trust.json"
KEY_SUFFIX = ".key.pem"
APPROVER_SUFFIX = ".approver.pem"
LOG_SUFFIX = ".log.pem"
MAX_TRUST_BYTES = 2_000_000
"""Holds `MAX_TRUSTED_KEYS` entries."""

_FOLDER_MODE = 0o700
_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class InitResult:
    """What `init_keys` found and made."""

    folder: Path
    created: tuple[TrustedKey, ...]
    kept: tuple[TrustedKey, ...]
    trust_path: Path


def key_path(folder: Path, agent: str) -> Path:
    """Where an agent's private key stands."""
    return folder / f"{check_agent(agent)}{KEY_SUFFIX}"


def approver_path(folder: Path, name: str) -> Path:
    """Where an approver's private key stands."""
    return folder / (check_agent(name, what="approver's") + APPROVER_SUFFIX)


def log_key_path(folder: Path, name: str) -> Path:
    """Where the secret of a notary or a witness stands."""
    return folder / (check_agent(name, what="notary's or witness's") + LOG_SUFFIX)


def init_keys(
    folder: Path,
    agents: Iterable[str],
    passphrase: bytes | None = None,
    *,
    purpose: Purpose = Purpose.DECISIONS,
) -> InitResult:
    """Make the keys that are missing, and trust them for this purpose.

    1. make the folder; 2. for each agent keep its key, or make one and write it; 3. write the trust file, in
       which keys
    that were there stay. A crash between 2 and 3 is mended by running it again.

    Raises:
        ConfigurationError: a name or the folder cannot be used.
        KeyRejected: a key that is there cannot be read with this passphrase, is another agent's, or is trusted for
            another purpose.
    """
    # 1
    names = tuple(dict.fromkeys(check_agent(agent) for agent in agents))
    _make(folder)
    with _locked(folder):
        return _init_keys(folder, names, passphrase, purpose)


def init_approver(folder: Path, name: str, passphrase: bytes | None = None) -> tuple[str, bool]:
    """Make an approver's key if it is missing; it is trusted by nobody yet.

    Returns:
        Its key id, and whether it was made now.

    Raises:
        ConfigurationError: the name or the folder cannot be used.
        KeyRejected: the key that is there cannot be read with this passphrase.
    """
    path = approver_path(folder, name)
    _make(folder)
    with _locked(folder):
        if path.exists():
            return load_approver(folder, name, passphrase).keyid, False
        key = SigningKey(secrets.token_bytes(SEED_SIZE))
        _write_new(path, _print_private(key, passphrase))
        return PemSigner(key).keyid, True


def init_log_key(folder: Path, name: str, passphrase: bytes | None = None) -> tuple[LogKey, bool]:
    """Make the secret of a notary or a witness if it is missing.

    Returns:
        The secret, and whether it was made now.

    Raises:
        ConfigurationError: the name or the folder cannot be used.
        KeyRejected: the secret that is there cannot be read with this passphrase.
    """
    path = log_key_path(folder, name)
    _make(folder)
    with _locked(folder):
        made = not path.exists()
        if made:
            _write_new(path, _print_private(SigningKey(secrets.token_bytes(SEED_SIZE)), passphrase))
        return load_log_key(folder, name, passphrase), made


def trust_approver(folder: Path, approver: TrustedApprover) -> Path:
    """Trust a person's key to approve for its roles; one that is trusted already gets these roles instead.

    Returns:
        The trust file.

    Raises:
        ConfigurationError: the folder cannot be used.
        KeyRejected: the key is an agent's or another person's.
    """
    path = folder / TRUST_FILE
    _make(folder)
    with _locked(folder):
        trust = load_trust(path) if path.exists() else Trust(())
        _replace(path, print_trust(with_approver(trust, approver)))
    return path


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the key folder {folder} cannot be made: {error}; name another one with --keys or JURAT_KEYS_DIR"
        ) from error


def _init_keys(folder: Path, names: Iterable[str], passphrase: bytes | None, purpose: Purpose) -> InitResult:
    trust_path = folder / TRUST_FILE
    trust = load_trust(trust_path) if trust_path.exists() else Trust(())
    created: list[TrustedKey] = []
    kept: list[TrustedKey] = []
    # 2
    for agent in names:
        if key_path(folder, agent).exists():
            keyid = load_signer(folder, agent, passphrase).keyid
            kept.append(TrustedKey(agent=agent, keyid=keyid, purpose=purpose))
            continue
        key = SigningKey(secrets.token_bytes(SEED_SIZE))
        _write_new(key_path(folder, agent), _print_private(key, passphrase))
        created.append(TrustedKey(agent=agent, keyid=PemSigner(key).keyid, purpose=purpose))
    # 3
    _replace(trust_path, print_trust(merge(trust, (*kept, *created))))
    return InitResult(folder=folder, created=tuple(created), kept=tuple(kept), trust_path=trust_path)


def load_signer(folder: Path, agent: str, passphrase: bytes | None = None) -> PemSigner:
    """Load an agent's signer.

    Raises:
        KeyNotFound: there is no key of this agent.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
    """
    path = key_path(folder, agent)
    missing = (
        f"there is no signing key of the agent {agent!r} at {path}; make it: jurat keys init"
        f" --agent {agent} --keys {path.parent}"
    )
    return _load(path, passphrase, missing=missing, agent=agent)


def load_approver(folder: Path, name: str, passphrase: bytes | None = None) -> PemSigner:
    """Load an approver's signer.

    Raises:
        KeyNotFound: there is no key of this person.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
    """
    path = approver_path(folder, name)
    missing = (
        f"there is no key of the approver {name!r} at {path}; make it: jurat keys init"
        f" --approver {name} --keys {path.parent}"
    )
    return _load(path, passphrase, missing=missing, approver=name)


def load_log_key(folder: Path, name: str, passphrase: bytes | None = None) -> LogKey:
    """Load the secret of a notary or a witness.

    Raises:
        KeyNotFound: there is none of this name.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
    """
    path = log_key_path(folder, name)
    missing = f"there is no key of the notary or witness {name!r} at {path}; `init` of its command makes it"
    return LogKey(_read(path, passphrase, missing=missing, log=name).seed())


def _load(path: Path, passphrase: bytes | None, *, missing: str, **whose: str) -> PemSigner:
    return PemSigner(_read(path, passphrase, missing=missing, **whose))


def _read(path: Path, passphrase: bytes | None, *, missing: str, **whose: str) -> SigningKey:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(pem.MAX_PEM_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyNotFound(missing, path=str(path), **whose) from error
    except OSError as error:
        raise ConfigurationError(
            f"the signing key {path} cannot be opened: {error}", path=str(path)
        ) from error
    if os.name == "posix" and mode & _OTHERS:
        raise KeyRejected(
            f"the signing key {path} has mode {mode:04o}, so others can use it; expected 0600. If nobody"
            " did, mend it:"
            f" chmod 600 {path}; else make a new key",
            path=str(path),
        )
    try:
        key = pem.read(data, passphrase)
    except KeyRejected as error:
        raise KeyRejected(f"{path}: {error}", path=str(path)) from error
    if passphrase is not None and not pem.is_encrypted(data):
        # Told, not refused: what it signs is as good, and a key that was made before must not stop who runs.
        log.warning(
            "the signing key %s is not encrypted, though JURAT_KEYS_PASSPHRASE is set: whoever reads the file can use"
            " it. Encrypt it: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 600000 -in %s"
            " -out %s.new -passout env:JURAT_KEYS_PASSPHRASE, then chmod 600 %s.new and mv it in place; or"
            " unset the variable",
            path,
            path,
            path,
            path,
        )
    return key


def load_trust(path: Path) -> Trust:
    """Read the trust file.

    Raises:
        ConfigurationError: it is not there or cannot be read.
        KeyRejected: it is not what a trust file should be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no trust file at {path}; name one with --trust, or make keys: jurat keys init",
            path=str(path),
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the trust file {path} cannot be read: {error}", path=str(path)) from error
    try:
        return parse_trust(data)
    except KeyRejected as error:
        raise KeyRejected(f"{path}: {error}", path=str(path)) from error


def _print_private(key: SigningKey, passphrase: bytes | None) -> bytes:
    if passphrase is None:
        return pem.write_plain(key)
    salt, iv = secrets.token_bytes(pem.SALT_SIZE), secrets.token_bytes(pem.IV_SIZE)
    return pem.write_encrypted(key, passphrase, salt=salt, iv=iv)


def _write_new(path: Path, data: bytes) -> None:
    temporary = _write_temporary(path, data, _PRIVATE_MODE)
    try:
        os.link(temporary, path)  # unlike a rename, fails where a file is already
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} was made by someone else meanwhile; run the command again"
        ) from error
    except OSError as error:
        raise _not_writable(path.parent, error) from error
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _replace(path: Path, data: bytes) -> None:
    temporary = _write_temporary(path, data, _PUBLIC_MODE)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink()
        raise _not_writable(path.parent, error) from error
    _sync_folder(path.parent)


def _write_temporary(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise _not_writable(path.parent, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink()  # half a private key would stay for good
        raise _not_writable(path.parent, error) from error
    return temporary


def _not_writable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the key folder {folder} cannot be written to: {error}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
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


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
