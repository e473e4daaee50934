"""Signed notes: a text with signature lines below it, as transparency logs exchange them.

Rules upheld here:

1. a note has one form: parse then print is identity; what is not of that form is refused, never mended;
2. a key is named by its name and its id together; signatures of other keys are ignored, whatever they hold;
3. each signature of a known key is verified: one that does not hold refuses the whole note, also beside one of the same
   key that does; so does a note that no known key signed;
4. what comes out of `verify` is the text and the keys that signed it, never a bool.

Not here: what the text says (`checkpoint.py`), cosignatures (`cosignature.py`).

Source: https://c2sp.org/signed-note
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from jurat.audit import ed25519
from jurat.schemas import b64
from jurat.schemas.errors import KeyRejected, NoteInvalid, SignatureInvalid

MAX_NOTE_BYTES: Final = 1_000_000
"""A checkpoint with a hundred post-quantum signatures takes half of it."""

MAX_SIGNATURES: Final = 100
"""The specification demands 16 at least."""

KEY_ID_SIZE: Final = 4
ED25519: Final = 0x01
"""Signature type of a plain Ed25519 note signature."""

_LINE: Final = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the key's name and id, and the bytes behind the id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Print the line, its newline included."""
        return f"{_LINE}{self.name} {b64.encode(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read; nothing in it is verified.

    Attributes:
        text: the text, its last newline included.
        signatures: in their order.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def print(self) -> bytes:
        """Print the note."""
        return (self.text + "\n" + "".join([one.line() for one in self.signatures])).encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that notes may be signed with.

    Attributes:
        name: the key's name.
        kind: its signature type.
        public_key: its encoding.
        check: raises unless its arguments, text and signature, belong together under the key.
    """

    name: str
    kind: int
    public_key: bytes
    check: Callable[[str, bytes], None]

    @property
    def key_id(self) -> bytes:
        """The key's id."""
        return key_id(self.name, self.kind, self.public_key)


def parse(data: bytes) -> Note:
    """Read a note.

    Raises:
        NoteInvalid: it is not of the form of one.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteInvalid(f"got a note of {len(data)} bytes, expected at most {MAX_NOTE_BYTES}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteInvalid("got a note that is not UTF-8") from error
    if any(letter < " " and letter != "\n" for letter in whole):
        raise NoteInvalid("got a control character in a note, expected none but newlines")
    at = whole.rfind("\n\n")
    if at < 0 or not whole.endswith("\n") or at + 2 >= len(whole):
        raise NoteInvalid("got no signature lines, expected a text, an empty line and one or more of them")
    lines = whole[at + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(f"got {len(lines)} signatures, expected at most {MAX_SIGNATURES}")
    return Note(whole[: at + 1], tuple([_signature(line) for line in lines]))


def verify(data: bytes, known: Iterable[Verifier]) -> tuple[Note, tuple[Verifier, ...]]:
    """Read a note and check it.

    Args:
        data: the note.
        known: keys that it may be signed with.

    Returns:
        The note, and the keys that signed it, each once.

    Raises:
        NoteInvalid: it is not of the form of one.
        SignatureInvalid: a known key's signature is wrong, or no known key signed it.
    """
    note = parse(data)
    keys = {(key.name, key.key_id): key for key in known}
    signed: dict[tuple[str, bytes], Verifier] = {}
    for line in note.signatures:
        name = (line.name, line.key_id)
        key = keys.get(name)
        if key is not None:
            try:
                key.check(note.text, line.signature)
            except SignatureInvalid as error:
                raise SignatureInvalid(f"the signature line of {line.name[:100]!r}: {error}") from error
            signed[name] = key
    if not signed:
        raise SignatureInvalid("got a note that no known key has signed")
    return note, tuple(signed.values())


def sign(text: str, *, name: str, key: ed25519.SigningKey) -> Note:
    """Sign a text with a plain Ed25519 note signature.

    Raises:
        NoteInvalid: the text or the name cannot stand in a note.
    """
    check_text(text)
    check_name(name)
    line = NoteSignature(name, key_id(name, ED25519, key.public_key), key.sign(text.encode()))
    return Note(text, (line,))


def ed25519_verifier(name: str, public_key: bytes) -> Verifier:
    """A key for plain Ed25519 note signatures.

    Raises:
        KeyRejected: the key must not be used.
        NoteInvalid: the name cannot be a key's.
    """
    check_name(name)
    ed25519.check_public_key(public_key)
    return Verifier(
        name,
        ED25519,
        public_key,
        lambda text, signature: ed25519.verify(public_key, text.encode(), signature),
    )


def key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """A key's id: the first four bytes of SHA-256 over its name, a newline, its type and its encoding."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:KEY_ID_SIZE]


def print_vkey(name: str, kind: int, public_key: bytes) -> str:
    """Print a verifier key: `name+id+base64(type || key)`, the id in hex."""
    encoded = b64.encode(bytes([kind]) + public_key)
    return f"{name}+{key_id(name, kind, public_key).hex()}+{encoded}"


def parse_vkey(text: str) -> tuple[str, int, bytes]:
    """Read a verifier key.

    Returns:
        The key's name, its signature type, and its encoding.

    Raises:
        KeyRejected: it is not of the form of one, or its id is another key's.
    """
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise KeyRejected(f"got {text[:100]!r}, expected a verifier key: name+id+base64")
    name, told, encoded = parts
    raw = _unbase64(encoded)
    if raw is None or len(raw) < 2:
        raise KeyRejected(f"got the verifier key of {name[:100]!r} in another form than base64")
    try:
        check_name(name)
    except NoteInvalid as error:
        raise KeyRejected(str(error)) from error
    kind, public_key = raw[0], raw[1:]
    if told != key_id(name, kind, public_key).hex():
        raise KeyRejected(
            f"got the id {told[:20]!r} for the key of {name[:100]!r}, expected that of its encoding"
        )
    return name, kind, public_key


def check_name(name: str) -> None:
    """Check that a key may be called so.

    Raises:
        NoteInvalid: it is empty, or holds a space, a plus or a control character.
    """
    if not name or "+" in name or any(_is_space(letter) or _is_none(letter) for letter in name):
        raise NoteInvalid(
            f"got the key name {name[:100]!r}, expected one without spaces, plus and control characters"
        )


def check_text(text: str) -> None:
    """Check that a text can be a note's.

    Raises:
        NoteInvalid: it is empty, does not end with a newline, or holds a control character.
    """
    if not text.endswith("\n") or any(_is_none(letter) and letter != "\n" for letter in text):
        raise NoteInvalid("got a text without its last newline or with control characters, expected lines")


def _signature(line: str) -> NoteSignature:
    if not line.startswith(_LINE):
        raise NoteInvalid(
            "got a line below the text that is no signature, expected an em dash, a name and base64"
        )
    name, space, encoded = line.removeprefix(_LINE).partition(" ")
    raw = _unbase64(encoded) if space else None
    if raw is None or len(raw) <= KEY_ID_SIZE:
        raise NoteInvalid("got a signature line without base64 of a key id and a signature")
    check_name(name)
    return NoteSignature(name, raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])


def _unbase64(text: str) -> bytes | None:
    """The bytes of the one spelling of base64; None for every other text."""
    try:
        return b64.decode(text)
    except ValueError:
        return None


def _is_none(letter: str) -> bool:
    """Whether it stands in no note: a control character, or half a pair of UTF-16, which UTF-8 does not have."""
    return letter < " " or "\ud800" <= letter <= "\udfff"


def _is_space(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in ("Zs", "Zl", "Zp")
