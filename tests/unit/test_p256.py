"""P-256 keys of services and devices: one form of key and signature, and statements signed with them."""

from __future__ import annotations

import asyncio
import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from jurat.audit import did_key, p256, public_key, signer_uri
from jurat.audit.credential import Issuer
from jurat.audit.credential_issue import countersign, issue, request
from jurat.audit.keys import Signer
from jurat.schemas import canonical
from jurat.schemas.errors import AuditError, KeyRejected, SignatureInvalid, StatementInvalid
from tests.trust_stage import AGENT, Settled, at, digest, root, sealed, settled, signed

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = p256._N
KEY = ec.derive_private_key(int.from_bytes(sha256(b"test key").digest(), "big") % N, ec.SECP256R1())
POINT = KEY.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def halves(message: bytes) -> tuple[int, int]:
    """R and the lower s of a signature."""
    r, s = decode_dss_signature(KEY.sign(message, ec.ECDSA(hashes.SHA256())))
    return r, min(s, N - s)


def test_the_vector_of_the_did_key_method() -> None:
    """The did:key Method v0.9, test vectors for P-256; its JWK has the same x."""
    did = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"
    x = base64.urlsafe_b64decode("fyNYMN0976ci7xqiSdag3buk-ZCwgXU4kz9XNkBlNUI=")
    assert did_key.decode_p256(did) == b"\x03" + x
    assert did_key.encode_p256(b"\x03" + x) == did


def test_names_have_one_form() -> None:
    did = did_key.encode_p256(POINT)
    assert did.startswith(did_key.P256_START)
    assert did_key.decode_p256(did) == POINT
    assert public_key.decode(did) == ("ecdsa-p256", POINT)
    for wrong in (did + "1", did[:-1], did.replace("zDn", "z6M"), did[:-1] + "0", "did:key:zDn"):
        with pytest.raises(KeyRejected):
            public_key.decode(wrong)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        bytes(33),
        b"\x02" + (P + 5).to_bytes(32, "big"),
        b"\x02" + P.to_bytes(32, "big"),
        b"\x05" + POINT[1:],
        b"\x04" + POINT[1:],
        KEY.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        ),
    ],
    ids=lambda key: f"{len(key)} {key[:2].hex()}",
)
def test_other_keys_are_refused(key: bytes) -> None:
    with pytest.raises(KeyRejected, match="compressed point"):
        p256.check_public_key(key)


def test_a_signature_has_one_form() -> None:
    r, s = halves(b"m")
    p256.verify(POINT, b"m", raw(r, s))
    assert p256.from_der(encode_dss_signature(r, N - s)) == raw(r, s)
    for wrong in (
        raw(r, N - s),
        raw(0, s),
        raw(r, 0),
        raw(r, N),
        raw(N, s),
        raw(r, s)[:-1],
        raw(r, s) + b"0",
        b"",
    ):
        with pytest.raises(SignatureInvalid):
            p256.verify(POINT, b"m", wrong)
    with pytest.raises(SignatureInvalid, match="did not make"):
        p256.verify(POINT, b"n", raw(r, s))
    for der in (b"", b"0", encode_dss_signature(r, s) + b"0", encode_dss_signature(2**256, s)):
        with pytest.raises(SignatureInvalid, match="DER"):
            p256.from_der(der)


R, S = halves(b"message")


@given(bit=st.integers(0, 8 * 64 - 1))
def test_no_flipped_bit_verifies(bit: int) -> None:
    flipped = bytearray(raw(R, S))
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuditError):
        p256.verify(POINT, b"message", bytes(flipped))


@pytest.fixture
def device(tmp_path: Path) -> Signer:
    """A key that securesystemslib reaches, as it reaches those of PKCS#11 and of cloud services."""
    path = tmp_path / "device.pem"
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(KEY.private_bytes(*encoding))
    reference = {"keyid": did_key.encode_p256(POINT), "uri": f"file2:{path}"}
    return signer_uri.load(canonical.dumps(reference), where="x")


def by(device: Signer, stage: Settled, **changed: Any) -> Issuer:
    asked = asyncio.run(request("issuer", device, name="hsm", parent=stage.org.log.root[1])).model_dump()
    times = {"not_before": at(days=-1), "expiry": at(days=300), "after": stage.org.log.head}
    return Issuer.model_validate(asked | times | changed)


def test_a_device_issues_credentials(device: Signer) -> None:
    assert device.alg == "ecdsa-p256"
    stage = settled()
    issuer = by(device, stage)
    stage.org.add(signed(issuer, "alice", "bob"))
    agent = stage.org.agent(issuer, holder="another")
    stage.org.add(asyncio.run(issue(agent, [device])))
    stage.org.add(signed(stage.org.session(agent, holder="s"), "another"))
    assert len(stage.org.log.trust().keys) == 2
    with pytest.raises(SignatureInvalid, match="no say"):
        stage.org.log.add(signed(stage.org.agent(issuer, holder="third"), "another"))


def test_a_device_holds_a_root_key(device: Signer) -> None:
    stage = settled()
    second = root(stage.org.log.head, version=2)
    with_device = second.model_copy(
        update={"keys": tuple(sorted([*second.keys, device.keyid])), "threshold": 3}
    )
    line = signed(with_device, "alice", "bob")
    with pytest.raises(SignatureInvalid, match="expected 3"):
        stage.org.log.add(line)
    stage.org.add(asyncio.run(countersign(line, [device])))


def test_a_session_is_never_of_another_algorithm_than_records(device: Signer) -> None:
    stage = settled()
    asked = asyncio.run(request("session", device, name=AGENT, parent=digest(stage.agent))).model_dump()
    fields = stage.session.model_dump(mode="json") | asked
    with pytest.raises(StatementInvalid, match="records are signed with Ed25519"):
        stage.org.log.add(sealed(canonical.dumps(fields), AGENT))


def test_its_public_key_is_shown_as_pem() -> None:
    shown = public_key.public_pem(did_key.encode_p256(POINT))
    assert serialization.load_pem_public_key(shown) == KEY.public_key()
