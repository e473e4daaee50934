"""What a witness checks before it cosigns a checkpoint. Pure: bytes in, a cosigned checkpoint or a refusal out.

Checks, in this order, each with the HTTP status of its refusal:

1. the request is of its one form, and `old` is not above the checkpoint's size (400);
2. its origin is known (404);
3. a key of that origin signed it (403);
4. `old` is the size that was cosigned last, and the same size has the same root (409);
5. the proof leads from the last checkpoint to this one (422).

Not here: what was cosigned last and the clock (parameters), the disk (`witness_store.py`), HTTP.

Specified in `docs/spec/witness.md`. Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from jurat.audit import checkpoint, cosignature, merkle, note
from jurat.audit.checkpoint import HASH_SIZE, Checkpoint, parse_size
from jurat.audit.log_key import LogKey
from jurat.audit.note import Note, Verifier
from jurat.schemas import b64
from jurat.schemas.errors import NoteInvalid, ProofInvalid, SignatureInvalid, WitnessRefused

MAX_HASHES: Final = 63
"""Consistency proof lines: the specification's bound."""

MAX_REQUEST_BYTES: Final = note.MAX_NOTE_BYTES + 10_000
"""A checkpoint and its proof."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request as it was read; nothing in it is verified.

    Attributes:
        old_size: the size that the proof starts from.
        proof: its hashes.
        signed: the signed checkpoint, as it stands.
    """

    old_size: int
    proof: tuple[bytes, ...]
    signed: bytes

    def print(self) -> bytes:
        """Print the request's body."""
        lines = [f"old {self.old_size}", *(b64.encode(one) for one in self.proof)]
        return ("\n".join(lines) + "\n\n").encode() + self.signed


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness cosigned.

    Attributes:
        head: the checkpoint.
        kept: the note to be kept: the checkpoint with the log's signatures and the witness's own.
        signatures: the witness's own.
    """

    head: Checkpoint
    kept: bytes
    signatures: tuple[note.NoteSignature, ...]

    @property
    def time(self) -> int:
        """When it was cosigned, in seconds since the Epoch."""
        return max(cosignature.timed(one.signature)[0] for one in self.signatures)

    def answer(self) -> bytes:
        """The body of the answer."""
        return "".join([one.line() for one in self.signatures]).encode()


def parse(body: bytes) -> AddCheckpoint:
    """Read a request's body.

    Raises:
        NoteInvalid: it is not of the form of one.
    """
    head, empty, signed = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise NoteInvalid("got a request with letters beyond ASCII above its checkpoint") from error
    if not empty or not first.startswith("old "):
        raise NoteInvalid("got no `old` line with an empty line before a checkpoint, expected them first")
    if len(lines) > MAX_HASHES:
        raise NoteInvalid(f"got {len(lines)} hashes in a proof, expected at most {MAX_HASHES}")
    return AddCheckpoint(
        parse_size(first.removeprefix("old ")), tuple([_hash(line) for line in lines]), signed
    )


class Witness:
    """A witness: its name, its keys and the logs that it knows."""

    def __init__(self, name: str, key: LogKey, logs: Sequence[Verifier]) -> None:
        """Take a name and what it knows.

        Args:
            name: the witness's, as it stands in its signatures.
            key: its secret.
            logs: keys of logs, each named by its origin.

        Raises:
            NoteInvalid: the name cannot be a key's.
        """
        self.name = name
        self._ed25519, self._mldsa = key.ed25519(name), key.mldsa(name)
        self._own = [cosignature.verifier_of(vkey) for vkey in key.witness_vkeys(name)]
        self._logs: dict[str, list[Verifier]] = {}
        for log in logs:
            self._logs.setdefault(log.name, []).append(log)

    @property
    def origins(self) -> tuple[str, ...]:
        """The logs that it knows."""
        return tuple(sorted(self._logs))

    def cosign(self, body: bytes, *, seen: Mapping[str, Checkpoint], time: int) -> Cosigned:
        """Check a request, and cosign its checkpoint.

        Args:
            body: of the request.
            seen: by origin, the last checkpoint that was cosigned.
            time: seconds since the Epoch.

        Raises:
            WitnessRefused: with the status of the answer, and the last size where that is another one.
        """
        # 1
        try:
            asked = parse(body)
            parsed = note.parse(asked.signed)
            head = checkpoint.parse(parsed.text)
        except NoteInvalid as error:
            raise WitnessRefused(str(error), status=HTTPStatus.BAD_REQUEST) from error
        if len(head.origin.encode()) > cosignature.MAX_NAME_BYTES:
            raise WitnessRefused(
                f"got an origin of more than {cosignature.MAX_NAME_BYTES} bytes, for which an ML-DSA-44 cosignature has"
                " no room",
                status=HTTPStatus.BAD_REQUEST,
            )
        if asked.old_size > head.size:
            raise WitnessRefused(
                f"got the old size {asked.old_size}, expected at most the checkpoint's {head.size}",
                status=HTTPStatus.BAD_REQUEST,
            )
        # 2
        if head.origin not in self._logs:
            raise WitnessRefused("the log of this origin is not known here", status=HTTPStatus.NOT_FOUND)
        # 3
        try:
            note.verify(asked.signed, self._logs[head.origin])
        except SignatureInvalid as error:
            raise WitnessRefused(str(error), status=HTTPStatus.FORBIDDEN) from error
        self._check_follows(asked, head, seen.get(head.origin))  # 4, 5
        return self._signed(parsed, head, time)

    def recall(self, data: bytes) -> Cosigned:
        """Read a note that was kept, and check that it is this witness's own word.

        Raises:
            NoteInvalid: it is not of the form of one.
            SignatureInvalid: this witness did not sign it.
        """
        parsed, _signers = note.verify(data, self._own)
        own = {(key.name, key.key_id) for key in self._own}
        signatures = tuple([one for one in parsed.signatures if (one.name, one.key_id) in own])
        return Cosigned(checkpoint.parse(parsed.text), data, signatures)

    def _check_follows(self, asked: AddCheckpoint, head: Checkpoint, last: Checkpoint | None) -> None:
        size = 0 if last is None else last.size
        # 4
        if asked.old_size != size:
            raise WitnessRefused(
                f"got the old size {asked.old_size}, expected {size}", status=HTTPStatus.CONFLICT, size=size
            )
        if last is not None and head.size == size and head.root != last.root:
            raise WitnessRefused(
                f"got another root for the size {size} than the one cosigned before: the log shows two histories",
                status=HTTPStatus.CONFLICT,
                size=size,
                fork=True,
            )
        # 5
        try:
            _check_proof(asked.proof, last, head)
        except ProofInvalid as error:
            raise WitnessRefused(str(error), status=HTTPStatus.UNPROCESSABLE_ENTITY) from error

    def _signed(self, parsed: Note, head: Checkpoint, time: int) -> Cosigned:
        signatures = (
            cosignature.cosign_ed25519(parsed.text, name=self.name, key=self._ed25519, time=time),
            cosignature.cosign_mldsa(parsed.text, name=self.name, key=self._mldsa, time=time),
        )
        known = {(key.name, key.key_id) for key in self._logs[head.origin]}
        logs = {(one.name, one.key_id): one for one in parsed.signatures if (one.name, one.key_id) in known}
        kept = Note(parsed.text, (*logs.values(), *signatures)).print()
        try:
            note.parse(kept)
        except NoteInvalid as error:  # what could not be read back would end this witness
            raise WitnessRefused(f"with the cosignatures, {error}", status=HTTPStatus.BAD_REQUEST) from error
        return Cosigned(head, kept, signatures)


def _check_proof(proof: Sequence[bytes], last: Checkpoint | None, head: Checkpoint) -> None:
    if last is not None and last.size > 0:
        merkle.verify_consistency(last.size, head.size, last.root, head.root, proof)
    elif proof or (head.size == 0 and head.root != merkle.EMPTY_ROOT):
        raise ProofInvalid("got a proof from the size 0, or an empty tree with another root than its one")


def _hash(line: str) -> bytes:
    try:
        raw = b64.decode(line)
    except ValueError as error:
        raise NoteInvalid("got a line in a proof that is not base64 in its one form") from error
    if len(raw) != HASH_SIZE:
        raise NoteInvalid(f"got a hash of {len(raw)} bytes, expected {HASH_SIZE}")
    return raw
