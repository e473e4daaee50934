"""What a witness checks: each refusal with its status, and what it signs."""

from __future__ import annotations

import base64

import pytest

from jurat.audit import checkpoint, cosignature, note
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.witness import AddCheckpoint, Witness, parse
from jurat.schemas.errors import NoteInvalid, SignatureInvalid, WitnessRefused
from tests.witness_log import LOG, NAME, NOW, ORIGIN, WITNESS, MadeLog, witness

OTHER = ORIGIN[:-1] + "1"


def head(log: MadeLog, size: int) -> Checkpoint:
    return Checkpoint(log.origin, size, log.grow(size).tree.root(size))


def refused(body: bytes, *, seen: Checkpoint | None = None) -> WitnessRefused:
    known = {} if seen is None else {seen.origin: seen}
    with pytest.raises(WitnessRefused) as caught:
        witness().cosign(body, seen=known, time=NOW)
    return caught.value


def test_the_first_checkpoint_is_cosigned_with_both_keys() -> None:
    log = MadeLog()
    cosigned = witness().cosign(log.request(0, 5), seen={}, time=NOW)
    assert cosigned.head == head(log, 5)
    keys = [cosignature.verifier_of(vkey) for vkey in WITNESS.witness_vkeys(NAME)]
    text = note.parse(log.checkpoint(5)).text
    _note, signers = note.verify(text.encode() + b"\n" + cosigned.answer(), keys)
    assert [key.kind for key in signers] == [0x04, 0x06]
    assert {cosignature.timed(one.signature)[0] for one in cosigned.signatures} == {NOW}
    # What is kept holds the log's signature, too.
    log_key = note.ed25519_verifier(ORIGIN, LOG.ed25519(ORIGIN).public_key)
    assert len(note.verify(cosigned.kept, [log_key, *keys])[1]) == 3
    assert witness().recall(cosigned.kept) == cosigned
    assert cosigned.time == NOW


@pytest.mark.parametrize(("old", "size"), [(1, 2), (2, 2), (3, 8), (4, 8), (7, 11), (8, 8)])
def test_what_goes_on_from_the_last_one_is_cosigned(old: int, size: int) -> None:
    log = MadeLog()
    seen = {ORIGIN: head(log, old)}
    assert witness().cosign(log.request(old, size), seen=seen, time=NOW).head.size == size


def test_an_empty_log_is_cosigned_and_goes_on() -> None:
    log = MadeLog()
    empty = witness().cosign(log.request(0, 0), seen={}, time=NOW)
    grown = witness().cosign(log.request(0, 3), seen={ORIGIN: empty.head}, time=NOW)
    assert (empty.head.size, grown.head.size) == (0, 3)
    wrong = Checkpoint(ORIGIN, 0, bytes(32)).print()
    body = AddCheckpoint(0, (), note.sign(wrong, name=ORIGIN, key=LOG.ed25519(ORIGIN)).print()).print()
    assert refused(body).status == 422


def test_a_log_that_is_not_known_is_404() -> None:
    assert refused(MadeLog(OTHER).request(0, 3)).status == 404


def test_a_log_is_known_by_its_origin_and_its_key_together() -> None:
    log = MadeLog()
    text = head(log, 3).print()
    stranger = note.sign(text, name=ORIGIN, key=LOG.ed25519(OTHER)).print()
    assert refused(AddCheckpoint(0, (), stranger).print()).status == 403
    neighbours = note.sign(head(MadeLog(OTHER), 3).print(), name=ORIGIN, key=LOG.ed25519(ORIGIN)).print()
    with pytest.raises(WitnessRefused) as caught:
        witness(ORIGIN, OTHER).cosign(AddCheckpoint(0, (), neighbours).print(), seen={}, time=NOW)
    assert caught.value.status == 403, "signed by the key of another log that is known"


def test_a_signature_of_a_known_key_that_does_not_hold_is_403() -> None:
    log = MadeLog()
    good = note.sign(head(log, 3).print(), name=ORIGIN, key=LOG.ed25519(ORIGIN))
    other_text = note.Note(head(log, 4).print(), good.signatures).print()
    assert refused(AddCheckpoint(0, (), other_text).print()).status == 403


@pytest.mark.parametrize("told", [0, 2, 4])
def test_another_old_size_is_a_conflict_that_names_the_last(told: int) -> None:
    log = MadeLog()
    error = refused(log.request(told, 5), seen=head(log, 3))
    assert (error.status, error.size, error.fork) == (409, 3, False)


def test_a_log_is_never_rolled_back() -> None:
    log = MadeLog()
    assert refused(log.request(3, 3), seen=head(log, 5)).size == 5
    body = AddCheckpoint(5, (), log.checkpoint(3)).print()
    assert refused(body, seen=head(log, 5)).status == 400, "old above the checkpoint's size"


def test_another_root_of_the_same_size_is_a_fork() -> None:
    error = refused(MadeLog(salt=b"x").request(5, 5), seen=head(MadeLog(), 5))
    assert (error.status, error.size, error.fork) == (409, 5, True)


def test_a_proof_that_does_not_lead_there_is_422() -> None:
    log = MadeLog()
    assert refused(MadeLog(salt=b"x").request(3, 8), seen=head(log, 3)).status == 422
    assert refused(AddCheckpoint(3, (), log.checkpoint(8)).print(), seen=head(log, 3)).status == 422
    assert refused(AddCheckpoint(0, (bytes(32),), log.checkpoint(8)).print()).status == 422
    extra = AddCheckpoint(3, (bytes(32),), log.checkpoint(3)).print()
    assert refused(extra, seen=head(log, 3)).status == 422


def body_of(first: str, *lines: str) -> bytes:
    return ("\n".join((first, *lines)) + "\n\n").encode() + MadeLog().checkpoint(3)


HASH = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        body_of("old 00"),
        body_of("old  0"),
        body_of("old -1"),
        body_of("old"),
        body_of("new 0"),
        body_of("old 0", HASH[:-1]),
        body_of("old 0", base64.b64encode(bytes(31)).decode()),
        body_of("old 0", HASH[:-2] + "B="),
        body_of("old 0", *[HASH] * 64),
        body_of("old 0\u00a0"),
        b"old 0\n\n" + MadeLog().checkpoint(3)[:-1],
        b"old 0\n\n" + head(MadeLog(), 3).print().encode(),
        b"old 0\n\nno checkpoint\n\n\xe2\x80\x94 n AAAAAAA=\n",
        b"old 0\n\n\xff",
    ],
)
def test_what_is_no_request_is_400(body: bytes) -> None:
    assert refused(body).status == 400


def test_a_request_has_one_form() -> None:
    body = MadeLog().request(3, 8)
    assert parse(body).print() == body
    with pytest.raises(NoteInvalid, match="64 hashes"):
        parse(body_of("old 0", *[HASH] * 64))


def test_what_it_did_not_sign_is_not_recalled() -> None:
    log = MadeLog()
    with pytest.raises(SignatureInvalid, match="no known key"):
        witness().recall(log.checkpoint(3))
    kept = witness().cosign(log.request(0, 3), seen={}, time=NOW).kept
    reader = witness()
    for at in range(0, len(kept), 3):
        for bit in (1, 64):
            changed = kept[:at] + bytes([kept[at] ^ bit]) + kept[at + 1 :]
            try:
                recalled = reader.recall(changed)
            except (NoteInvalid, SignatureInvalid):
                continue
            # One of its two signatures is left, over the same text.
            assert (recalled.head, recalled.time) == (checkpoint.parse(note.parse(kept).text), NOW)


def test_an_origin_that_a_cosignature_has_no_room_for_is_400() -> None:
    name = "o" * 256
    one = Witness(NAME, WITNESS, [note.ed25519_verifier(name, LOG.ed25519(name).public_key)])
    with pytest.raises(WitnessRefused) as caught:
        one.cosign(MadeLog(name).request(0, 3), seen={}, time=NOW)
    assert caught.value.status == 400


def test_what_could_not_be_recalled_is_not_cosigned() -> None:
    """A log that repeats its signature, or fills the note, must not keep the witness from starting again."""
    log = MadeLog()
    parsed = note.parse(log.checkpoint(3))
    repeated = note.Note(parsed.text, parsed.signatures * note.MAX_SIGNATURES).print()
    cosigned = witness().cosign(AddCheckpoint(0, (), repeated).print(), seen={}, time=NOW)
    assert witness().recall(cosigned.kept) == cosigned
    assert len(note.parse(cosigned.kept).signatures) == 3
    room = note.MAX_NOTE_BYTES - len(log.checkpoint(3))
    full = Checkpoint(ORIGIN, 3, log.tree.root(3), ("x" * (room - 1),)).print()
    signed = note.sign(full, name=ORIGIN, key=LOG.ed25519(ORIGIN)).print()
    assert len(signed) == note.MAX_NOTE_BYTES
    assert refused(AddCheckpoint(0, (), signed).print()).status == 400
