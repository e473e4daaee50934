"""Names of public keys: did:key for Ed25519.

`did:key:z` and the base58btc text of the two bytes 0xed 0x01 (multicodec ed25519-pub) and the 32 bytes of
the key. One key has one name: decode then encode is identity, every other spelling is refused.

Source: The did:key Method v0.9, sections 2.1 and 3.1; multicodec table; draft-msporny-base58-03.
"""

from __future__ import annotations

from jurat.audit.ed25519 import PUBLIC_KEY_SIZE, check_public_key
from jurat.schemas.errors import KeyRejected

PREFIX = "did:key:z"
"""`z` is multibase for base58btc."""

_ED25519_PUB = b"\xed\x01"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(_ALPHABET)}
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
    body = did.removeprefix(PREFIX)
    if body == did or len(body) != _BODY_LENGTH or not all(letter in _DIGITS for letter in body):
        raise KeyRejected(
            f"got the key id {did[:100]!r}, expected did:key:z6Mk... with {_BODY_LENGTH} base58 digits"
        )
    number = 0
    for letter in body:
        number = number * 58 + _DIGITS[letter]
    size = len(_ED25519_PUB) + PUBLIC_KEY_SIZE
    raw = number.to_bytes(size, "big") if number.bit_length() <= 8 * size else b""
    if not raw.startswith(_ED25519_PUB):
        raise KeyRejected(
            f"got the key id {did!r} of another key type, expected an Ed25519 one (did:key:z6Mk...)"
        )
    public_key = raw[len(_ED25519_PUB) :]
    check_public_key(public_key)
    return public_key


def _base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    letters: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))
