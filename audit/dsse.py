"""The envelope: DSSE v1 with one Ed25519 signature over the in-toto payload.

Rules upheld here: what is signed is the pre-authentication encoding, so the payload's type is signed too;
the key and its algorithm come from the trusted keys, the envelope's `keyid` only says which of them to try;
the payload is handed out after its signature was verified, never before; a key that is trusted for another
purpose signs nothing here.

The envelope has two forms: in Avro on the audit topic (`SignedRecord`), and as one line of canonical JSON
(`seal`, `unseal`), where records are few and people look at them.

Source: DSSE v1.0.2, protocol.md and envelope.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jurat.audit import ed25519
from jurat.audit.keys import Purpose, Signer, Trust, TrustedKey
from jurat.schemas import b64, canonical
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.schemas.errors import CanonicalError, KeyNotFound, RecordInvalid, SignatureInvalid

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class VerifiedPayload(NamedTuple):
    """Bytes that a trusted key signed, and the key."""

    payload: bytes
    key: TrustedKey


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


async def sign(payload: bytes, signer: Signer, *, chain: str) -> SignedRecord:
    """Sign a payload.

    Args:
        payload: canonical in-toto statement.
        signer: the agent's signer.
        chain: the chain's name, by which Kafka keys the record.
    """
    signature = await signer.sign(pae(PAYLOAD_TYPE, payload))
    return SignedRecord(
        chain=chain,
        payload_type=PAYLOAD_TYPE,
        payload=payload,
        signatures=(Signature(keyid=signer.keyid, sig=signature),),
    )


def verify(record: SignedRecord, trust: Trust) -> VerifiedPayload:
    """Check an envelope and hand out its payload.

    1. the payload type is ours; 2. there is one signature; 3. its key is trusted for decisions; 4. it verifies
       under that key.

    Raises:
        RecordInvalid: another payload type or number of signatures.
        SignatureInvalid: the key is not trusted, or did not sign this.
    """
    # 1
    if record.payload_type != PAYLOAD_TYPE:
        raise _other_type(record.payload_type, PAYLOAD_TYPE)
    # 2
    if len(record.signatures) != 1:
        raise RecordInvalid(f"got {len(record.signatures)} signatures, expected one")
    return _verified(record.payload, record.signatures[0], trust, PAYLOAD_TYPE, Purpose.DECISIONS)  # 3, 4


async def seal(payload: bytes, signer: Signer, *, payload_type: str) -> bytes:
    """Sign a payload and print its envelope as canonical JSON."""
    signature = await signer.sign(pae(payload_type, payload))
    made = Signature(keyid=signer.keyid, sig=signature)
    return print_envelope(payload, payload_type=payload_type, signatures=(made,))


def unseal(data: bytes, trust: Trust, *, payload_type: str, purpose: Purpose) -> VerifiedPayload:
    """Read an envelope in JSON, check it as `verify` does, and hand out its payload.

    Raises:
        RecordInvalid: not exactly what `seal` prints, or another payload type.
        SignatureInvalid: the key is not trusted for this purpose, or did not sign this.
    """
    payload, (signature,) = parse_envelope(data, payload_type=payload_type, signatures=1)
    return _verified(payload, signature, trust, payload_type, purpose)


def parse_envelope(data: bytes, *, payload_type: str, signatures: int) -> tuple[bytes, tuple[Signature, ...]]:
    """Read an envelope in JSON, nothing verified.

    Args:
        data: the envelope.
        payload_type: what it must hold.
        signatures: how many it may have at most; it must have one.

    Raises:
        RecordInvalid: not exactly what `print_envelope` prints, another payload type, or too many signatures.
    """
    try:
        payload, got, made = _parsed(canonical.loads_object(data), signatures)
    except (CanonicalError, ValueError, TypeError, KeyError) as error:
        few = "one signature" if signatures == 1 else f"1 to {signatures} signatures"
        raise RecordInvalid(
            f"got what is no envelope in canonical JSON with {few}: {str(error)[:200]}"
        ) from error
    if got != payload_type:
        raise _other_type(got, payload_type)
    if print_envelope(payload, payload_type=got, signatures=made) != data:
        raise RecordInvalid(
            "got an envelope in another form than its one form: another spelling of base64, or signatures not in the"
            " order of their key ids"
        )
    return payload, made


def _verified(
    payload: bytes, signature: Signature, trust: Trust, payload_type: str, purpose: Purpose
) -> VerifiedPayload:
    try:
        key = trust.find(signature.keyid, purpose=purpose)
    except KeyNotFound as error:
        raise SignatureInvalid(f"signed by an unknown key: {error}", keyid=signature.keyid[:100]) from error
    ed25519.verify(key.public_key, pae(payload_type, payload), signature.sig)
    return VerifiedPayload(payload, key)


def _other_type(got: str, expected: str) -> RecordInvalid:
    return RecordInvalid(f"got the payload type {got[:100]!r}, expected {expected!r}")


def print_envelope(payload: bytes, *, payload_type: str, signatures: Iterable[Signature]) -> bytes:
    """Print an envelope in JSON; its signatures in the order of their key ids."""
    ordered = sorted(signatures, key=lambda signature: signature.keyid)
    return canonical.dumps(
        {
            "payload": b64.encode(payload),
            "payloadType": payload_type,
            "signatures": [{"keyid": one.keyid, "sig": b64.encode(one.sig)} for one in ordered],
        }
    )


def _parsed(fields: canonical.JsonObject, most: int) -> tuple[bytes, str, tuple[Signature, ...]]:
    if fields.keys() != {"payload", "payloadType", "signatures"}:
        raise ValueError(f"got the members {sorted(fields)}, expected payload, payloadType and signatures")
    match fields["payload"], fields["payloadType"], fields["signatures"]:
        case str(payload), str(kind), list(made) if 0 < len(made) <= most:
            return b64.decode(payload), kind, tuple([_signature(one) for one in made])
    raise ValueError("got members of other types, or another number of signatures")


def _signature(entry: canonical.JsonValue) -> Signature:
    match entry:
        case {"keyid": str(keyid), "sig": str(sig), **others} if not others:
            return Signature(keyid=keyid, sig=b64.decode(sig))
    raise ValueError("got a signature that is not one of keyid and sig")
