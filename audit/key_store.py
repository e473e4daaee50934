"""Key files: who can sign here, and who is trusted.

Layout of the folder (mode 0700)::

    <agent>.key.pem         private key, PKCS#8 PEM, mode 0600, encrypted when a passphrase was given
    <name>.approver.pem     the same of a person who approves
    <name>.issuer.pem       the same of who issues credentials
    <name>.root.pem         the same of who holds a root key
    <name>.log.pem          the same of a notary or a witness: its secret, see `log_key_store`
    <name>.<kind>.json      instead of one of them: where a service or a device holds the key
    trust.json              public keys that are pinned; what an auditor needs
    root.json               the root statement that is trusted, see `docs/spec/identity.md`
    trust-log.jsonl         the trust log, a statement a line
    trust-log.head          how much of it stood on the topic when it was last published or fetched

Rules upheld here: a private key is never overwritten, only put aside; a private key that others can read
is refused, and one that is not encrypted though a passphrase was given is told; a key that is trusted for one agent is
never taken for another's. An agent's key is trusted where it is made; an approver's nowhere, until somebody says so
(`trust_approver`).
"""

from __future__ import annotations

import logging
import os
import secrets  # noqa: TID251 - keys come from the operating system; a parameter would let weak ones in
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jurat.audit import durable, pem, signer_uri
from jurat.audit.ed25519 import SEED_SIZE, SigningKey
from jurat.audit.key_files import (
    locked,
    make_folder,
    not_writable,
    read_bounded,
    replace_public,
    write_new,
)
from jurat.audit.keys import (
    PemSigner,
    Purpose,
    Signer,
    Trust,
    TrustedApprover,
    TrustedKey,
    check_agent,
    merge,
    parse_trust,
    print_trust,
    with_approver,
)
from jurat.schemas.errors import AuditError, ConfigurationError, KeyNotFound, KeyRejected

log = logging.getLogger(__name__)


class KeyKind(StrEnum):
    """Whose key a file holds; the middle part of its name."""

    AGENT = "key"
    APPROVER = "approver"
    ISSUER = "issuer"
    ROOT = "root"
    LOG = "log"


TRUST_FILE = "trust.json"
MAX_REFERENCE_BYTES = 4_096
"""A key id and a URI."""

MAX_TRUST_BYTES = 2_000_000
"""Holds `MAX_TRUSTED_KEYS` entries."""

_WHOSE = {
    KeyKind.AGENT: ("agent", "jurat keys request"),
    KeyKind.APPROVER: ("approver", "jurat keys init --approver"),
    KeyKind.ISSUER: ("issuer", "jurat keys request --kind issuer"),
    KeyKind.ROOT: ("root key holder", "jurat keys init --root"),
    KeyKind.LOG: ("notary or witness", "its init command"),
}
"""Whose a key is, and what makes one."""

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
    return key_file(folder, agent, KeyKind.AGENT)


def approver_path(folder: Path, name: str) -> Path:
    """Where an approver's private key stands."""
    return key_file(folder, name, KeyKind.APPROVER)


def key_file(folder: Path, name: str, kind: KeyKind) -> Path:
    """Where a private key stands."""
    return folder / f"{check_agent(name, what=_WHOSE[kind][0])}.{kind}.pem"


def reference_file(folder: Path, name: str, kind: KeyKind) -> Path:
    """Where it stands instead which service or device holds the key."""
    return key_file(folder, name, kind).with_suffix(".json")


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
    make_folder(folder)
    with locked(folder):
        return _init_keys(folder, names, passphrase, purpose)


def init_approver(folder: Path, name: str, passphrase: bytes | None = None) -> tuple[str, bool]:
    """Make an approver's key if it is missing; it is trusted by nobody yet.

    Returns:
        Its key id, and whether it was made now.

    Raises:
        ConfigurationError: the name or the folder cannot be used.
        KeyRejected: the key that is there cannot be read with this passphrase.
    """
    return make_key(folder, name, KeyKind.APPROVER, passphrase)


def make_key(folder: Path, name: str, kind: KeyKind, passphrase: bytes | None = None) -> tuple[str, bool]:
    """Make a key if it is missing; nobody trusts it yet.

    Returns:
        Its key id, and whether it was made now.

    Raises:
        ConfigurationError: the name or the folder cannot be used.
        KeyRejected: the key that is there cannot be read with this passphrase.
    """
    path = key_file(folder, name, kind)
    make_folder(folder)
    with locked(folder):
        if path.exists() or reference_file(folder, name, kind).exists():
            return load_key(folder, name, kind, passphrase).keyid, False
        key = SigningKey(secrets.token_bytes(SEED_SIZE))
        write_new(path, _print_private(key, passphrase))
        return PemSigner(key).keyid, True


def retire_key(folder: Path, name: str, kind: KeyKind, passphrase: bytes | None = None) -> Path:
    """Put a key file aside, so that another key can be made in its place; it is kept until somebody deletes it.

    Returns:
        Where it is now.

    Raises:
        KeyNotFound: there is none.
        KeyRejected: it cannot be read with this passphrase.
        ConfigurationError: the folder cannot be written to.
    """
    with locked(folder):
        keyid = load_key(folder, name, kind, passphrase).keyid
        reference = reference_file(folder, name, kind)
        path = reference if reference.exists() else key_file(folder, name, kind)
        aside = path.with_name(f"{path.name}.{keyid[-12:]}.retired")
        try:
            path.rename(aside)
            durable.sync_folder(folder)
        except OSError as error:
            raise not_writable(folder, error) from error
        return aside


def load_key(folder: Path, name: str, kind: KeyKind, passphrase: bytes | None = None) -> Signer:
    """Load a signer: of a service or device where a file says so, else of the private key.

    Raises:
        KeyNotFound: there is no key of this name.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
        ConfigurationError: the service or device cannot be used.
    """
    reference = reference_file(folder, name, kind)
    if reference.exists():
        return signer_uri.load(
            read_bounded(reference, MAX_REFERENCE_BYTES), where=str(reference), secret=passphrase
        )
    path = key_file(folder, name, kind)
    whose, made = _WHOSE[kind]
    return _load(
        path,
        passphrase,
        missing=f"there is no key of {whose} {name!r} at {path}; {made} makes one",
        name=name,
    )


def names_here(folder: Path, kind: KeyKind) -> tuple[str, ...]:
    """Whose keys of a kind stand in a folder, sorted."""
    files = [*folder.glob(f"*.{kind}.pem"), *folder.glob(f"*.{kind}.json")]
    return tuple(sorted({file.name.partition(".")[0] for file in files}))


def signers_here(
    folder: Path, kind: KeyKind, passphrase: bytes | None = None
) -> tuple[dict[str, Signer], tuple[AuditError | ConfigurationError, ...]]:
    """Load all keys of a kind; people with passphrases of their own may share a folder.

    Returns:
        Signers by key id, and why the other keys cannot be used.
    """
    found: dict[str, Signer] = {}
    unusable: list[AuditError | ConfigurationError] = []
    for name in names_here(folder, kind):
        try:
            signer = load_key(folder, name, kind, passphrase)
        except (AuditError, ConfigurationError) as error:
            unusable.append(error)
        else:
            found[signer.keyid] = signer
    return found, tuple(unusable)


def trust_approver(folder: Path, approver: TrustedApprover) -> Path:
    """Trust a person's key to approve for its roles; one that is trusted already gets these roles instead.

    Returns:
        The trust file.

    Raises:
        ConfigurationError: the folder cannot be used.
        KeyRejected: the key is an agent's or another person's.
    """
    path = folder / TRUST_FILE
    make_folder(folder)
    with locked(folder):
        trust = load_trust(path) if path.exists() else Trust(())
        replace_public(path, print_trust(with_approver(trust, approver)))
    return path


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
        write_new(key_path(folder, agent), _print_private(key, passphrase))
        created.append(TrustedKey(agent=agent, keyid=PemSigner(key).keyid, purpose=purpose))
    # 3
    replace_public(trust_path, print_trust(merge(trust, (*kept, *created))))
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


def _load(path: Path, passphrase: bytes | None, *, missing: str, **whose: str) -> PemSigner:
    return PemSigner(read_private(path, passphrase, missing=missing, **whose))


def read_private(path: Path, passphrase: bytes | None, *, missing: str, **whose: str) -> SigningKey:
    """Read a private key file.

    Args:
        path: the file.
        passphrase: None where there is none.
        missing: what to say where there is no such file.
        whose: details of that error.

    Raises:
        KeyNotFound: there is no such file.
        KeyRejected: others can read it, or it cannot be read with this passphrase.
        ConfigurationError: it cannot be opened.
    """
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
