"""Making statements of the trust log: asking for a credential, issuing it, signing with several keys.

Rules upheld here: nothing is signed that is not in its one form; whoever asks proves to have the key; who signs sees a
head of the log. Not here: whether a reader takes a statement (`trust_log.py`); times and keys are parameters.

Specified in `docs/spec/identity.md`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import ValidationError

from jurat.audit import dsse
from jurat.audit.credential import (
    MAX_PAYLOAD_BYTES,
    MAX_ROOT_KEYS,
    MAX_STATEMENT_BYTES,
    STATEMENT_TYPE,
    KeyId,
    Label,
    Proof,
    Root,
    Statement,
    parse_payload,
    print_payload,
    proof_message,
)
from jurat.audit.keys import Signer
from jurat.audit.reasoning import Sha256Hex
from jurat.schemas import b64, canonical
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import CanonicalError, StatementInvalid
from jurat.schemas.model import Model
from jurat.schemas.shown import first_fault

MAX_REQUEST_BYTES: Final = 4_096
"""Some 400 are used."""


class KeyRequest(Model):
    """What the holder of a key asks for.

    Attributes:
        keyid: the key.
        name: the issuer's or agent's name.
        parent: digest of the statement under which it shall be issued.
        proof: the key's signature, in base64.
        type: what is asked for.
    """

    keyid: KeyId
    name: Label
    parent: Sha256Hex
    proof: Proof
    type: Literal["issuer", "agent", "session"]


async def request(
    kind: Literal["issuer", "agent", "session"], signer: Signer, *, name: str, parent: str
) -> KeyRequest:
    """Ask for a credential.

    Args:
        kind: what for.
        signer: the key that it shall be for.
        name: the issuer's or agent's name.
        parent: digest of the statement under which it shall be issued.
    """
    message = proof_message(kind, keyid=signer.keyid, name=name, parent=parent)
    proof = b64.encode(await signer.sign(message))
    return KeyRequest(keyid=signer.keyid, name=name, parent=parent, proof=proof, type=kind)


def print_request(asked: KeyRequest) -> bytes:
    """Print a request as a file: canonical JSON and one line feed."""
    return canonical.dumps(asked.model_dump(mode="json")) + b"\n"


def parse_request(data: bytes) -> KeyRequest:
    """Read a request; its proof is checked when what is issued on it is admitted.

    Raises:
        StatementInvalid: it is no request in its one form.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise StatementInvalid(f"got a request of {len(data)} bytes, expected at most {MAX_REQUEST_BYTES}")
    try:
        asked = KeyRequest.model_validate(canonical.loads_object(data.removesuffix(b"\n")))
    except (CanonicalError, ValidationError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise StatementInvalid(f"got what is no request for a credential: {why}") from error
    if print_request(asked) != data:
        raise StatementInvalid("got a request for a credential in another form than its one form")
    return asked


async def issue(statement: Statement, signers: Iterable[Signer]) -> bytes:
    """Sign a statement with these keys and print its envelope.

    Raises:
        StatementInvalid: it is larger than a statement may be.
    """
    payload = print_payload(statement)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise StatementInvalid(
            f"got a statement of {len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}"
        )
    return await _signed(payload, (), signers)


async def countersign(statement: bytes, signers: Iterable[Signer]) -> bytes:
    """Add signatures to a statement that has some; a key that has signed stays as it is.

    Raises:
        StatementInvalid: it is no statement.
        RecordInvalid: it is no envelope in its one form.
    """
    payload, there = opened(statement)
    parse_payload(payload)
    return await _signed(payload, there, signers)


def opened(statement: bytes) -> tuple[bytes, tuple[Signature, ...]]:
    """A statement's payload and signatures, nothing verified.

    Raises:
        StatementInvalid: it is too large.
        RecordInvalid: it is no envelope in its one form.
    """
    if len(statement) > MAX_STATEMENT_BYTES:
        raise StatementInvalid(
            f"got a statement of {len(statement)} bytes, expected at most {MAX_STATEMENT_BYTES}"
        )
    return dsse.parse_envelope(statement, payload_type=STATEMENT_TYPE, signatures=2 * MAX_ROOT_KEYS)


def missing_signatures(root: Root, statement: bytes) -> int:
    """How many more of a root's keys must sign a statement, by the key ids alone."""
    _payload, signatures = opened(statement)
    return max(0, root.threshold - len({one.keyid for one in signatures} & set(root.keys)))


async def _signed(payload: bytes, there: tuple[Signature, ...], signers: Iterable[Signer]) -> bytes:
    made = {one.keyid: one for one in there}
    message = dsse.pae(STATEMENT_TYPE, payload)
    for signer in signers:
        if signer.keyid not in made:
            made[signer.keyid] = Signature(keyid=signer.keyid, sig=await signer.sign(message))
    return dsse.print_envelope(payload, payload_type=STATEMENT_TYPE, signatures=made.values())
