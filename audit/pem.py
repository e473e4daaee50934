"""Private keys as text: PKCS#8 PEM, plain or encrypted.

Rules upheld here: an encrypted key uses PBES2 with PBKDF2-HMAC-SHA-256, 600,000 rounds, and AES-256-CBC,
which `openssl pkey` reads; the library's own "best available" writes 2,048 rounds, so the few bytes of DER
are written here; salt and IV are given by the caller. Reading accepts what any tool wrote in PKCS#8, as long
as it is an Ed25519 key.

Not here: files and their permissions (`key_store`).

Source: RFC 5958; RFC 8018, section 6.2 and appendix A; RFC 8410; OWASP Password Storage Cheat Sheet for the
rounds.
"""

from __future__ import annotations

import base64
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from jurat.audit.ed25519 import SigningKey
from jurat.schemas.errors import KeyRejected

KDF_ROUNDS = 600_000
SALT_SIZE = 16
IV_SIZE = 16
MAX_PEM_BYTES = 16_384
"""A key file is some 300 bytes; anything larger is not one."""

_LABEL_ENCRYPTED = "ENCRYPTED PRIVATE KEY"
_OID_PBES2 = bytes.fromhex("2a864886f70d01050d")
_OID_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_OID_HMAC_SHA256 = bytes.fromhex("2a864886f70d0209")
_OID_AES256_CBC = bytes.fromhex("60864801650304012a")
_INTEGER, _OCTET_STRING, _NULL, _OID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30


def write_plain(key: SigningKey) -> bytes:
    """Print a private key without protection; the file's mode is all that guards it."""
    return _private(key).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_encrypted(key: SigningKey, passphrase: bytes, *, salt: bytes, iv: bytes) -> bytes:
    """Print a private key encrypted under a passphrase.

    Args:
        key: the key.
        passphrase: at least one byte.
        salt: 16 fresh random bytes.
        iv: 16 fresh random bytes.
    """
    if not passphrase or len(salt) != SALT_SIZE or len(iv) != IV_SIZE:
        raise KeyRejected("expected a passphrase that is not empty, 16 bytes of salt and 16 bytes of IV")
    plain = _private(key).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secret = PBKDF2HMAC(hashes.SHA256(), 32, salt, KDF_ROUNDS).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    rounds = KDF_ROUNDS.to_bytes(KDF_ROUNDS.bit_length() // 8 + 1, "big")
    prf = _tlv(_SEQUENCE, _tlv(_OID, _OID_HMAC_SHA256), _tlv(_NULL))
    kdf_parameters = _tlv(_SEQUENCE, _tlv(_OCTET_STRING, salt), _tlv(_INTEGER, rounds), prf)
    kdf = _tlv(_SEQUENCE, _tlv(_OID, _OID_PBKDF2), kdf_parameters)
    scheme = _tlv(_SEQUENCE, _tlv(_OID, _OID_AES256_CBC), _tlv(_OCTET_STRING, iv))
    algorithm = _tlv(_SEQUENCE, _tlv(_OID, _OID_PBES2), _tlv(_SEQUENCE, kdf, scheme))
    return _armour(_tlv(_SEQUENCE, algorithm, _tlv(_OCTET_STRING, sealed)))


def read(pem: bytes, passphrase: bytes | None) -> SigningKey:
    """Read a private key.

    Args:
        pem: the file's bytes.
        passphrase: None where there is none; not used for a key that is not encrypted.

    Raises:
        KeyRejected: not PKCS#8 PEM, not Ed25519, or the passphrase is missing or wrong.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise KeyRejected(f"got a key file of {len(pem)} bytes, expected at most {MAX_PEM_BYTES}")
    locked = is_encrypted(pem)
    if locked and not passphrase:
        raise KeyRejected(
            "the private key is encrypted and no passphrase was given; set JURAT_KEYS_PASSPHRASE"
        )
    try:
        key = serialization.load_pem_private_key(pem, passphrase if locked else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "the passphrase is wrong (JURAT_KEYS_PASSPHRASE), or " if locked else ""
        raise KeyRejected(f"the private key cannot be read: {hint}it is not PKCS#8 PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRejected("got a private key of another algorithm, expected Ed25519")
    return SigningKey(key.private_bytes_raw())


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key file is encrypted."""
    return f"-----BEGIN {_LABEL_ENCRYPTED}-----".encode() in pem


def public_pem(public_key: bytes) -> bytes:
    """Print a public key as SubjectPublicKeyInfo PEM, the form that `openssl pkeyutl -pubin` reads."""
    der = bytes.fromhex("302a300506032b6570032100") + public_key
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"


def _private(key: SigningKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.seed())


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def _armour(der: bytes) -> bytes:
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {_LABEL_ENCRYPTED}-----\n{lines}\n-----END {_LABEL_ENCRYPTED}-----\n".encode()
