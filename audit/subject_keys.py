"""Keys of data subjects: what is known of a person is sealed under keys that can be destroyed. Pure.

Rules upheld here: each record's evidence has a data key of its own, filed under the subject's *handle*; who destroys
all data keys of a handle has erased the subject. A handle is a keyed hash, so that topics hold no subject's id and
nobody without the master key can test for one. What is sealed says in its associated data what it is and whose, so that
it opens nowhere else. Nonces and keys are parameters; none may be used twice.

Specified in `docs/spec/disclosure.md`. Not here: where keys and evidence stand on Kafka (`jurat.streams.evidence`), the
file of the master key (`subject_file.py`). Source: NIST SP 800-38D (AES-GCM, 96-bit nonces), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jurat.schemas import canonical
from jurat.schemas.errors import DisclosureInvalid

KEY_BYTES: Final = 32
"""AES-256, and as much for the master key."""

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HANDLE_BYTES: Final = 32

MAX_SEALED_BYTES: Final = 512 * 1024
"""Half of what Kafka takes in one record by default; the disclosures of a record are at most half of this."""

MAX_CONTENT_BYTES: Final = MAX_SEALED_BYTES - 1 - HANDLE_BYTES - NONCE_BYTES - TAG_BYTES

_VERSION: Final = b"\x01"
_MASTER_BYTES: Final = 8
"""Of a master key's name in what it wraps: enough to tell apart the few that an operator ever has."""

_WRAPPED_BYTES: Final = 1 + _MASTER_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES
_NAME: Final = b"jurat-subject-master-v1"
_HANDLE: Final = b"jurat-subject-handle-v1"
_WRAP: Final = b"jurat-subject-wrap-v1/"
_KEY_LABEL: Final = "jurat-subject-key-v1"
_EVIDENCE_LABEL: Final = "jurat-evidence-v1"

_EVIDENCE_KEY: Final = re.compile(r"(?P<decision>dec_[0-9a-f]{32})/(?P<what>disclosures|[0-9a-f]{64})")
_SUBJECT_KEY: Final = re.compile(r"(?P<handle>[0-9a-f]{64})/(?P<decision>dec_[0-9a-f]{32})")

DISCLOSURES: Final = "disclosures"


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """The record key of sealed evidence.

    Attributes:
        decision_id: the record's.
        what: `disclosures`, or the commitment to the digest of what is sealed.
    """

    decision_id: str
    what: str = DISCLOSURES

    def encode(self) -> str:
        """Print it."""
        return f"{self.decision_id}/{self.what}"


@dataclass(frozen=True, slots=True)
class SubjectKeyName:
    """The record key of a data key.

    Attributes:
        handle: the subject's, in hex.
        decision_id: of the record whose evidence it seals.
    """

    handle: str
    decision_id: str

    def encode(self) -> str:
        """Print it."""
        return f"{self.handle}/{self.decision_id}"


def parse_evidence_key(key: bytes | None) -> EvidenceKey:
    """Read the record key of evidence.

    Raises:
        DisclosureInvalid: it is none.
    """
    found = _EVIDENCE_KEY.fullmatch((key or b"")[:200].decode("ascii", errors="replace"))
    if found is None:
        raise DisclosureInvalid(
            "got a key that is not <decision id>/disclosures or <decision id>/<commitment>"
        )
    return EvidenceKey(found["decision"], found["what"])


def parse_subject_key(key: bytes | None) -> SubjectKeyName:
    """Read the record key of a data key.

    Raises:
        DisclosureInvalid: it is none.
    """
    found = _SUBJECT_KEY.fullmatch((key or b"")[:200].decode("ascii", errors="replace"))
    if found is None:
        raise DisclosureInvalid("got a key that is not <handle>/<decision id>")
    return SubjectKeyName(found["handle"], found["decision"])


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key under which all subjects' keys are wrapped; never printed.

    Raises:
        DisclosureInvalid: it has not 32 bytes.
    """

    secret: bytes = field(repr=False)
    _handles: bytes = field(init=False, repr=False, compare=False)
    _name: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse another length."""
        if len(self.secret) != KEY_BYTES:
            raise DisclosureInvalid(f"got a master key of {len(self.secret)} bytes, expected {KEY_BYTES}")
        object.__setattr__(self, "_handles", _derived(self.secret, _HANDLE))
        object.__setattr__(self, "_name", _derived(self.secret, _NAME)[:_MASTER_BYTES])

    def handle(self, subject: str) -> str:
        """What a subject is called on topics: a keyed hash of its id, in hex."""
        return hmac.new(self._handles, subject.encode("utf-8", errors="surrogatepass"), sha256).hexdigest()

    def wrap(self, data_key: bytes, name: SubjectKeyName, *, nonce: bytes) -> bytes:
        """Seal a data key: version, this key's name, nonce, ciphertext with tag."""
        wrapped = self._cipher(name).encrypt(_checked(nonce), data_key, _bound(_KEY_LABEL, name.encode()))
        return _VERSION + self._name + nonce + wrapped

    def has_wrapped(self, wrapped: bytes) -> bool:
        """Tell whether a data key was wrapped under this master key, as far as it says so itself."""
        return wrapped[1 : 1 + _MASTER_BYTES] == self._name

    @property
    def name(self) -> str:
        """What this master key is called in what it wraps: 16 hex digits, which tell nothing of it."""
        return self._name.hex()

    def unwrap(self, wrapped: bytes, name: SubjectKeyName) -> bytes:
        """Open a data key.

        Raises:
            DisclosureInvalid: it was not wrapped under this key and name.
        """
        if len(wrapped) != _WRAPPED_BYTES or wrapped[:1] != _VERSION:
            raise DisclosureInvalid(f"got a subject key that is not of version 1 and {_WRAPPED_BYTES} bytes")
        start = 1 + _MASTER_BYTES
        nonce, sealed = wrapped[start : start + NONCE_BYTES], wrapped[start + NONCE_BYTES :]
        if not self.has_wrapped(wrapped):
            raise DisclosureInvalid(
                f"the subject key of {name.decision_id} was wrapped under another master key"
            )
        try:
            return self._cipher(name).decrypt(nonce, sealed, _bound(_KEY_LABEL, name.encode()))
        except InvalidTag as error:
            raise DisclosureInvalid(
                f"the subject key of {name.decision_id} does not open: it was changed",
                decision_id=name.decision_id,
            ) from error

    def _cipher(self, name: SubjectKeyName) -> AESGCM:
        # A key for each subject: random nonces are safe for 2**32 uses of one key, which decisions may outnumber.
        return AESGCM(_derived(self.secret, _WRAP + name.handle.encode()))


def wrapped_under(wrapped: bytes) -> str:
    """The name of the master key under which a data key was wrapped, as far as it says so itself; "" if it is none."""
    return wrapped[1 : 1 + _MASTER_BYTES].hex() if len(wrapped) == _WRAPPED_BYTES else ""


def seal(content: bytes, data_key: bytes, key: EvidenceKey, *, handle: str, nonce: bytes) -> bytes:
    """Seal evidence: version, the subject's handle, nonce, ciphertext with tag.

    Args:
        content: at most `MAX_CONTENT_BYTES`.
        data_key: the record's.
        key: its record key.
        handle: the subject's.
        nonce: 12 bytes, never used with this key before.

    Raises:
        DisclosureInvalid: it is too large.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise DisclosureInvalid(f"got evidence of {len(content)} bytes, expected at most {MAX_CONTENT_BYTES}")
    bound = _bound(_EVIDENCE_LABEL, key.encode(), handle)
    return (
        _VERSION + bytes.fromhex(handle) + nonce + AESGCM(data_key).encrypt(_checked(nonce), content, bound)
    )


def handle_of(sealed: bytes) -> str:
    """The handle of the subject whom sealed evidence is about.

    Raises:
        DisclosureInvalid: it has no form that is known.
    """
    if (
        not 1 + HANDLE_BYTES + NONCE_BYTES + TAG_BYTES <= len(sealed) <= MAX_SEALED_BYTES
        or sealed[:1] != _VERSION
    ):
        raise DisclosureInvalid(
            f"got sealed evidence of {len(sealed)} bytes that is not of version 1 and its size"
        )
    return sealed[1 : 1 + HANDLE_BYTES].hex()


def open_sealed(sealed: bytes, data_key: bytes, key: EvidenceKey) -> bytes:
    """Open evidence.

    Raises:
        DisclosureInvalid: it was not sealed under this data key, for this place and subject.
    """
    handle = handle_of(sealed)
    start = 1 + HANDLE_BYTES
    nonce, rest = sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, rest, _bound(_EVIDENCE_LABEL, key.encode(), handle))
    except InvalidTag as error:
        raise DisclosureInvalid(
            f"the evidence {key.encode()} does not open: it was changed, or is of another record",
            decision_id=key.decision_id,
        ) from error


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _bound(*parts: str) -> bytes:
    return canonical.dumps(list(parts))


def _checked(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise DisclosureInvalid(f"got a nonce of {len(nonce)} bytes, expected {NONCE_BYTES}")
    return nonce
