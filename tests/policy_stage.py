"""What the tests of published policies share: a publisher's key, bundles that differ, and records as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from jurat.audit.dsse import seal
from jurat.audit.ed25519 import SigningKey
from jurat.audit.keys import PemSigner, Purpose, Signer, Trust, TrustedKey
from jurat.policies import shipped_bundle
from jurat.policies.folder import digest_of, read_folder
from jurat.policies.publication import (
    ACTIVATION_TYPE,
    BUNDLE_TYPE,
    Activation,
    bundle_key,
    print_activation,
    print_bundle,
)
from jurat.streams.kafka import KafkaRecord

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
TOPIC = "policies"
AT = "2026-11-26T09:30:00.000000Z"

DENY_ALL = b"""
@id("trial.nothing-at-all")
@title("Nothing at all, on trial")
forbid (principal, action, resource);
"""
ONE_CASE = b"""
cases:
  - name: nothing may be given up
    agent: payment-retrier
    action: give_up
    resource:
      type: Payment
      id: pay-1
      attrs:
        { order_id: o-1, customer_id: c, amount_minor: 9, currency: EUR, failure_code: x, attempt: 1, fraud_score: 1 }
    expect: { verdict: deny, policies: [trial.nothing-at-all] }
"""


def signer(name: str) -> PemSigner:
    return PemSigner(SigningKey(sha256(f"test key of {name}".encode()).digest()))


PUBLISHER = signer("policy-publisher")
TRUST = Trust(
    (
        TrustedKey("policy-publisher", PUBLISHER.keyid, purpose=Purpose.POLICIES),
        TrustedKey("payment-retrier", signer("payment-retrier").keyid),
    )
)

SHOP, _ = read_folder(shipped_bundle("shop"))


def shop_with(comment: str) -> dict[str, bytes]:
    """The shop's bundle with another digest; it judges as the shipped one does."""
    return {**SHOP, "common.cedar": SHOP["common.cedar"] + f"// {comment}\n".encode()}


def shop_that_denies() -> dict[str, bytes]:
    """A bundle for the shop's agents that denies everything, and says so in its one case."""
    kept = {name: text for name, text in SHOP.items() if not name.startswith("tests/")}
    return {**kept, "trial.cedar": DENY_ALL, "tests/trial.yaml": ONE_CASE}


def shop_that_fails() -> dict[str, bytes]:
    """A bundle whose cases expect what it does not do."""
    return {**SHOP, "trial.cedar": DENY_ALL}


def shop_for_others() -> dict[str, bytes]:
    """A bundle that knows another agent only."""
    roles = b"agents:\n  somebody-else: [collector, mediator, router]\n"
    approvers = b"approvers: [fraud-desk, logistics-lead, payments-lead, risk]\n"
    kept = {name: text for name, text in shop_that_denies().items() if name != "objectives.yaml"}
    return {
        **kept,
        "roles.yaml": roles + approvers,
        "tests/trial.yaml": ONE_CASE.replace(b"payment-retrier", b"somebody-else"),
    }


def activation(
    *,
    seq: int = 1,
    enforce: str | None = None,
    shadow: str | None = None,
    topic: str = TOPIC,
    cluster: str = CLUSTER,
) -> Activation:
    return Activation(
        bundle="shop", cluster=cluster, topic=topic, seq=seq, enforce=enforce, shadow=shadow, at=AT
    )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    return folder


def bundle_record(files: Mapping[str, bytes], *, by: Signer = PUBLISHER) -> KafkaRecord:
    return sealed_record(bundle_key(digest_of(files)), print_bundle(files), BUNDLE_TYPE, by=by)


def active_record(one: Activation, *, by: Signer = PUBLISHER) -> KafkaRecord:
    return sealed_record(one.key, print_activation(one), ACTIVATION_TYPE, by=by, topic=one.topic)


def sealed_record(
    key: str, payload: bytes, kind: str, *, by: Signer = PUBLISHER, topic: str = TOPIC
) -> KafkaRecord:
    return KafkaRecord(topic, 0, 0, 0, key.encode(), sealed(payload, kind, by=by))


def sealed(payload: bytes, kind: str, *, by: Signer = PUBLISHER) -> bytes:
    """The envelope; a key in memory never waits."""
    sealing = seal(payload, by, payload_type=kind)
    try:
        sealing.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("the signer waits")
