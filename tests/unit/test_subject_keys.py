"""Subject keys and sealed evidence: what was changed, or is another's, never opens."""

from __future__ import annotations

import pytest

from jurat.audit.subject_keys import (
    HANDLE_BYTES,
    KEY_BYTES,
    MAX_CONTENT_BYTES,
    NONCE_BYTES,
    EvidenceKey,
    MasterKey,
    SubjectKeyName,
    handle_of,
    open_sealed,
    parse_evidence_key,
    parse_subject_key,
    seal,
    wrapped_under,
)
from jurat.schemas.errors import DisclosureInvalid

MASTER, OTHER = MasterKey(b"\x01" * KEY_BYTES), MasterKey(b"\x02" * KEY_BYTES)
DECISION, DATA = "dec_" + "0" * 32, b"\x03" * KEY_BYTES
NONCE = b"\x04" * NONCE_BYTES
HANDLE = MASTER.handle("c-7")
NAME = SubjectKeyName(HANDLE, DECISION)
KEY = EvidenceKey(DECISION)
CONTENT = b"what is known of a person"


def test_a_handle_is_a_keyed_hash() -> None:
    assert len(HANDLE) == 2 * HANDLE_BYTES
    assert MASTER.handle("c-7") == HANDLE != MASTER.handle("c-8")
    assert OTHER.handle("c-7") != HANDLE
    assert MASTER.handle("\ud800") != MASTER.handle("?")  # a key that is no Unicode is a subject of its own


def test_a_data_key_opens_under_its_master_and_its_name() -> None:
    wrapped = MASTER.wrap(DATA, NAME, nonce=NONCE)
    assert DATA not in wrapped
    assert MASTER.unwrap(wrapped, NAME) == DATA
    assert wrapped_under(wrapped) == MASTER.name != OTHER.name
    assert wrapped_under(wrapped[:-1]) == ""
    others = (
        (OTHER, wrapped, NAME),
        (MASTER, wrapped, SubjectKeyName(MASTER.handle("c-8"), DECISION)),
        (MASTER, wrapped, SubjectKeyName(HANDLE, "dec_" + "1" * 32)),
        (MASTER, wrapped[:-1], NAME),
        (MASTER, b"", NAME),
    )
    for master, given, name in others:
        with pytest.raises(DisclosureInvalid):
            master.unwrap(given, name)


def test_no_flipped_bit_opens() -> None:
    wrapped = MASTER.wrap(DATA, NAME, nonce=NONCE)
    sealed = seal(CONTENT, DATA, KEY, handle=HANDLE, nonce=NONCE)
    assert open_sealed(sealed, DATA, KEY) == CONTENT
    for bit in range(8 * len(wrapped)):
        with pytest.raises(DisclosureInvalid):
            MASTER.unwrap(flipped(wrapped, bit), NAME)
    for bit in range(8 * len(sealed)):
        with pytest.raises(DisclosureInvalid):
            open_sealed(flipped(sealed, bit), DATA, KEY)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def test_evidence_opens_in_its_place_only() -> None:
    sealed = seal(CONTENT, DATA, KEY, handle=HANDLE, nonce=NONCE)
    assert CONTENT not in sealed
    assert handle_of(sealed) == HANDLE
    for data_key, key in (
        (b"\x05" * KEY_BYTES, KEY),
        (DATA, EvidenceKey("dec_" + "1" * 32)),
        (DATA, EvidenceKey(DECISION, "ab" * 32)),
    ):
        with pytest.raises(DisclosureInvalid):
            open_sealed(sealed, data_key, key)
    for short in (b"", sealed[:40], b"\x02" + sealed[1:]):
        with pytest.raises(DisclosureInvalid):
            handle_of(short)


def test_sizes_are_bounded() -> None:
    largest = seal(b"x" * MAX_CONTENT_BYTES, DATA, KEY, handle=HANDLE, nonce=NONCE)
    assert handle_of(largest) == HANDLE
    with pytest.raises(DisclosureInvalid, match="expected at most"):
        seal(b"x" * (MAX_CONTENT_BYTES + 1), DATA, KEY, handle=HANDLE, nonce=NONCE)
    with pytest.raises(DisclosureInvalid, match="a nonce of 11 bytes"):
        seal(CONTENT, DATA, KEY, handle=HANDLE, nonce=b"x" * 11)
    with pytest.raises(DisclosureInvalid, match="a master key of 31 bytes"):
        MasterKey(b"x" * 31)
    assert "x" not in repr(MasterKey(b"x" * 32)).replace("MasterKey", "")


def test_record_keys_have_one_form() -> None:
    for key in (KEY, EvidenceKey(DECISION, "ab" * 32)):
        assert parse_evidence_key(key.encode().encode()) == key
    assert parse_subject_key(NAME.encode().encode()) == NAME
    for wrong in (None, b"", b"\xff", DECISION.encode(), f"{DECISION}/other".encode(), b"x" * 1_000):
        with pytest.raises(DisclosureInvalid):
            parse_evidence_key(wrong)
        with pytest.raises(DisclosureInvalid):
            parse_subject_key(wrong)
