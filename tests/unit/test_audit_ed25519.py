"""Strict Ed25519, key names and the Merkle tree, against known vectors."""

from __future__ import annotations

from hashlib import sha512

import pytest

from jurat.audit import did_key, ed25519, merkle
from jurat.schemas.errors import KeyRejected, ProofInvalid, SignatureInvalid

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)
SMALL_ORDER = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)
NOT_CANONICAL = (
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)
NOT_ON_CURVE = "0200000000000000000000000000000000000000000000000000000000000000"
# Published in many places: the keys of RFC 8032's first two tests, and the key of the all-zero seed.
DID_KEYS = (
    (RFC_8032[0][1], "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw"),
    (RFC_8032[1][1], "did:key:z6MkiaMbhXHNA4eJVCCj8dbzKzTgYDKf6crKgHVHid1F1WCT"),
    (
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    ),
)


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_rfc_8032(seed: str, public_key: str, message: str, signature: str) -> None:
    key = ed25519.SigningKey(bytes.fromhex(seed))
    assert key.public_key.hex() == public_key
    assert key.sign(bytes.fromhex(message)).hex() == signature
    ed25519.verify(bytes.fromhex(public_key), bytes.fromhex(message), bytes.fromhex(signature))
    with pytest.raises(SignatureInvalid):
        ed25519.verify(bytes.fromhex(public_key), b"other", bytes.fromhex(signature))


@pytest.mark.parametrize("point", SMALL_ORDER + NOT_CANONICAL)
def test_bad_points_are_refused_as_key_and_as_r(point: str) -> None:
    encoded = bytes.fromhex(point)
    with pytest.raises(KeyRejected):
        ed25519.check_public_key(encoded)
    with pytest.raises(KeyRejected):
        ed25519.verify(encoded, b"any", encoded + bytes(32))
    with pytest.raises(SignatureInvalid, match="R is not canonical"):
        ed25519.verify(bytes.fromhex(RFC_8032[0][1]), b"any", encoded + bytes(32))


def test_a_key_off_the_curve_is_refused() -> None:
    with pytest.raises(KeyRejected):
        ed25519.check_public_key(bytes.fromhex(NOT_ON_CURVE))
    with pytest.raises(SignatureInvalid):
        ed25519.verify(bytes.fromhex(NOT_ON_CURVE), b"any", bytes.fromhex(RFC_8032[0][3]))


def test_s_above_the_group_order_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = bytes.fromhex(RFC_8032[0][3])
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureInvalid):
        ed25519.verify(bytes.fromhex(RFC_8032[0][1]), b"", signature[:32] + s.to_bytes(32, "little"))


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def added(one: Point, other: Point) -> Point:
    """RFC 8032, section 5.1.4, in affine coordinates; nothing of the code under test."""
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(factor: int, point: Point) -> Point:
    result = (0, 1)
    for bit in f"{factor:b}":
        result = added(result, result)
        result = added(result, point) if bit == "1" else result
    return result


def encoded(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decoded(data: bytes) -> Point:
    y = int.from_bytes(data, "little") & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x & 1 == data[31] >> 7 else P - x), y


def test_keys_and_r_with_a_part_of_small_order() -> None:
    """The classes of C2SP CCTV whose points are neither small nor spelt otherwise: 43 hold, without the cofactor."""
    base, order_8 = (
        decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little")),
        decoded(bytes.fromhex(SMALL_ORDER[4])),
    )
    torsion = [times(number, order_8) for number in range(8)]
    a, r = 12345678901234567891, 98765432109876543211
    big_a, big_r = times(a, base), times(r, base)
    outcomes = {(holds, index): 0 for holds in (True, False) for index in range(64)}
    for index in range(64):
        in_a, in_r = divmod(index, 8)
        key, start = encoded(added(big_a, torsion[in_a])), encoded(added(big_r, torsion[in_r]))
        for number in range(60):
            message = b"message %d" % number
            k = int.from_bytes(sha512(start + key + message).digest(), "little") % L
            holds = (in_r + k * in_a) % 8 == 0
            if outcomes[holds, index]:
                continue
            outcomes[holds, index] = 1
            signature = start + ((r + k * a) % L).to_bytes(32, "little")
            if holds:
                ed25519.verify(key, message, signature)
            else:
                with pytest.raises(SignatureInvalid):
                    ed25519.verify(key, message, signature)
    assert sum(found for (holds, _), found in outcomes.items() if holds) == 43
    assert sum(found for (holds, _), found in outcomes.items() if not holds) == 63


@pytest.mark.parametrize("size", [0, 63, 65])
def test_wrong_lengths_are_refused(size: int) -> None:
    with pytest.raises(SignatureInvalid):
        ed25519.verify(bytes.fromhex(RFC_8032[0][1]), b"", bytes(size))
    with pytest.raises(KeyRejected):
        ed25519.check_public_key(bytes(size))
    with pytest.raises(KeyRejected):
        ed25519.SigningKey(bytes(size))


@pytest.mark.parametrize(("public_key", "did"), DID_KEYS)
def test_did_key_vectors(public_key: str, did: str) -> None:
    assert did_key.encode(bytes.fromhex(public_key)) == did
    assert did_key.decode(did).hex() == public_key


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:key:z",
        DID_KEYS[0][1][:-1],
        DID_KEYS[0][1] + "1",
        DID_KEYS[0][1].replace("did:key:z", "did:key:z1"),
        DID_KEYS[0][1].replace("did:", "DID:"),
        DID_KEYS[0][1].replace("6Mk", "6M0"),
        DID_KEYS[0][1].removeprefix("did:key:"),
        "did:key:z" + "z" * 47,
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",  # X25519
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",  # secp256k1
    ],
)
def test_other_spellings_of_a_key_id_are_refused(did: str) -> None:
    with pytest.raises(KeyRejected):
        did_key.decode(did)


def test_rfc_6962_hashes() -> None:
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert (
        merkle.leaf_hash(b"L123456").hex()
        == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    )
    node = merkle.node_hash(b"N123", b"N456").hex()
    assert node == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_consistency_of_equal_and_empty_sizes() -> None:
    root = bytes(32)
    merkle.verify_consistency(0, 0, root, root, [])
    merkle.verify_consistency(5, 5, root, root, [])
    for sizes in ((0, 1), (2, 1), (-1, 1)):
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(*sizes, root, root, [])
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(5, 5, root, root, [root])
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(5, 5, root, b"\x01" * 32, [])


def test_a_proof_for_another_size_is_refused() -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(4)]
    root2 = merkle.node_hash(leaves[0], leaves[1])
    merkle.verify_inclusion(0, 2, leaves[0], [leaves[1]], root2)
    with pytest.raises(ProofInvalid, match="too short"):
        merkle.verify_inclusion(0, 4, leaves[0], [leaves[1]], root2)


def test_a_tree_refuses_what_it_does_not_hold() -> None:
    tree = merkle.Tree()
    tree.append(merkle.leaf_hash(b"a"))
    for ask in (
        lambda: tree.root(2),
        lambda: tree.inclusion(1),
        lambda: tree.consistency(0),
        lambda: tree.append(b"x"),
    ):
        with pytest.raises(ProofInvalid):
            ask()
