"""The envelope: DSSE v1 with one Ed25519 signature over the in-toto payload.

Rules upheld here: what is signed is the pre-authentication encoding, so the payload's type is signed too;
the key and its algorithm come from the trusted keys, the envelope's `keyid` only says which of them to try;
the payload is handed out after its signature was verified, never before.

Source: DSSE v1.0.2, protocol.md and envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from jurat.audit import ed25519
from jurat.audit.keys import Signer, Trust, TrustedKey
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.schemas.errors import KeyNotFound, RecordInvalid, SignatureInvalid

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class VerifiedPayload:
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

    1. the payload type is ours; 2. there is one signature; 3. its key is trusted; 4. it verifies under that
       key.

    Raises:
        RecordInvalid: another payload type or number of signatures.
        SignatureInvalid: the key is not trusted, or did not sign this.
    """
    # 1
    if record.payload_type != PAYLOAD_TYPE:
        raise RecordInvalid(f"got the payload type {record.payload_type[:100]!r}, expected {PAYLOAD_TYPE!r}")
    # 2
    if len(record.signatures) != 1:
        raise RecordInvalid(f"got {len(record.signatures)} signatures, expected one")
    signature = record.signatures[0]
    # 3
    try:
        key = trust.find(signature.keyid)
    except KeyNotFound as error:
        raise SignatureInvalid(f"signed by an unknown key: {error}", keyid=signature.keyid[:100]) from error
    # 4
    ed25519.verify(key.public_key, pae(PAYLOAD_TYPE, record.payload), signature.sig)
    return VerifiedPayload(record.payload, key)
