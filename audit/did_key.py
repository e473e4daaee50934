"""Names of public keys: did:key for Ed25519, and for P-256.

`did:key:z` and the base58btc text of the two bytes 0xed 0x01 (multicodec ed25519-pub) and the 32 bytes of
the key; or of 0x80 0x24 (p256-pub) and the 33 bytes of the compressed point. One key has one name: decode then
encode is identity, every other spelling is refused.

Source: The did:key Method v0.9, sections 2.1 and 3.1; multicodec table; draft-msporny-base58-03.
"""

from __future__ import annotations

from jurat.audit import p256
from jurat.audit.ed25519 import PUBLIC_KEY_SIZE, check_public_key
from jurat.schemas.errors import KeyRejected

PREFIX = "did:key:z"
"""`z` is multibase for base58btc."""

_ED25519_PUB = b"\xed\x01"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(_ALPHABET)}
_P256_PUB = b"\x80\x24"
P256_START = PREFIX + "Dn"
_P256_LENGTH = 48
"""Every 35-byte value that starts with 0x80 0x24 has 48 base58 digits, the first two of which are Dn."""
_BODY_LENGTH = 47
"""Every 34-byte value that starts with 0xed 0x01 has 47 base58 digits."""


def encode(public_key: bytes) -> str:
    """Name an Ed25519 public key.

    Raises:
        KeyRejected: not a key that may be used.
    """
    check_public_key(public_key)
    return PREFIX + _base58(_ED25519_PUB + public_key)


def decode(did: str) -> bytes:
    """Read the 32 bytes of the public key out of its name.

    Raises:
        KeyRejected: not the name of an Ed25519 key that may be used, or not its only spelling.
    """
    public_key = _raw(
        did, _ED25519_PUB, size=PUBLIC_KEY_SIZE, digits=_BODY_LENGTH, kind="an Ed25519 one (z6Mk...)"
    )
    check_public_key(public_key)
    return public_key


def encode_p256(public_key: bytes) -> str:
    """Name a P-256 public key, a compressed point.

    Raises:
        KeyRejected: not a key that may be used.
    """
    p256.check_public_key(public_key)
    return PREFIX + _base58(_P256_PUB + public_key)


def decode_p256(did: str) -> bytes:
    """Read the 33 bytes of the compressed point out of its name.

    Raises:
        KeyRejected: not the name of a P-256 key that may be used, or not its only spelling.
    """
    public_key = _raw(
        did, _P256_PUB, size=p256.PUBLIC_KEY_SIZE, digits=_P256_LENGTH, kind="a P-256 one (zDn...)"
    )
    p256.check_public_key(public_key)
    return public_key


def _raw(did: str, code: bytes, *, size: int, digits: int, kind: str) -> bytes:
    body = did.removeprefix(PREFIX)
    if body == did or len(body) != digits or not all(letter in _DIGITS for letter in body):
        raise KeyRejected(f"got the key id {did[:100]!r}, expected {kind} with {digits} base58 digits")
    number = 0
    for letter in body:
        number = number * 58 + _DIGITS[letter]
    whole = len(code) + size
    raw = number.to_bytes(whole, "big") if number.bit_length() <= 8 * whole else b""
    if not raw.startswith(code):
        raise KeyRejected(f"got the key id {did!r} of another key type, expected {kind}")
    return raw[len(code) :]


def _base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    letters: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))
