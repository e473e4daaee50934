"""What is published about policies: one form, one meaning, and nothing believed that is not signed for that."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from jurat.audit import dsse
from jurat.audit.keys import Purpose, parse_trust
from jurat.policies.folder import digest_of
from jurat.policies.publication import (
    ACTIVATION_TYPE,
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    Activation,
    PublishedBundle,
    bundle_key,
    parse_activation,
    parse_bundle,
    print_activation,
    print_bundle,
)
from jurat.schemas import canonical
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import (
    ActivationStale,
    BundleError,
    PublicationInvalid,
    RecordInvalid,
    SignatureInvalid,
)
from jurat.streams import topics
from jurat.streams.kafka import KafkaRecord
from jurat.streams.policy_log import MAX_HELD, PolicyLog, Signed
from tests.policy_stage import (
    AT,
    CLUSTER,
    PUBLISHER,
    SHOP,
    TOPIC,
    TRUST,
    activation,
    active_record,
    bundle_record,
    sealed,
    sealed_record,
    shop_with,
    signer,
    write_folder,
)
from tests.tree import ROOT

SPEC = (ROOT / "docs" / "spec" / "policy-topic.md").read_text(encoding="utf-8")
DIGEST = digest_of(SHOP)
OTHER = digest_of(shop_with("other"))


def fresh_log() -> PolicyLog:
    return PolicyLog(cluster_id=CLUSTER, topic=TOPIC)


def refusal(record: KafkaRecord, log: PolicyLog | None = None) -> Exception:
    with pytest.raises((PublicationInvalid, RecordInvalid, SignatureInvalid, ActivationStale)) as caught:
        (log or fresh_log()).take(record, TRUST)
    return caught.value


def test_the_example_of_the_specification_is_what_is_written(tmp_path: Path) -> None:
    keys = re.findall(r"^```\n(\S+)\n```$", SPEC, re.MULTILINE)
    bundle, active, envelope, trust = (
        text.encode() for text in re.findall(r"^```json\n(.*)\n```$", SPEC, re.MULTILINE)
    )
    published, holds = parse_bundle(bundle), parse_activation(active)
    assert keys == [published.key, holds.key]
    assert holds.enforce == published.digest
    trusted = parse_trust(trust + b"\n")
    assert (
        dsse.unseal(envelope, trusted, payload_type=ACTIVATION_TYPE, purpose=Purpose.POLICIES).payload
        == active
    )
    command = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    folder = write_folder(tmp_path, published.files)
    printed = subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True, text=True)
    assert printed.stdout.split()[0] == published.digest
    assert f"{MAX_BUNDLE_BYTES:,} bytes" in SPEC
    assert BUNDLE_TYPE in SPEC


def test_a_bundle_has_one_payload() -> None:
    payload = print_bundle(SHOP)
    assert print_bundle(dict(reversed(SHOP.items()))) == payload
    published = parse_bundle(payload)
    assert (dict(published.files), published.digest) == (SHOP, DIGEST)
    assert print_bundle(published.files) == payload


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"files": {}, "name": "shop"},
        {"files": []},
        {"files": {"notes.txt": "x"}},
        {"files": {"../common.cedar": "x"}},
        {"files": {"common.cedar": 1}},
        {"files": {f"f{n}.cedar": "" for n in range(1_001)}},
    ],
)
def test_a_bundle_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(PublicationInvalid, match="got"):
        parse_bundle(canonical.dumps(value))


def test_a_bundle_in_another_spelling_is_refused() -> None:
    with pytest.raises(PublicationInvalid, match="canonical"):
        parse_bundle(b'{"files": {}}')


def test_a_bundle_is_bounded() -> None:
    large = {**SHOP, "large.cedar": b"/" * MAX_BUNDLE_BYTES}
    with pytest.raises(BundleError, match=f"expected at most {MAX_BUNDLE_BYTES}"):
        print_bundle(large)
    with pytest.raises(PublicationInvalid, match="bytes"):
        parse_bundle(b" " * (MAX_BUNDLE_BYTES + 1))
    with pytest.raises(BundleError, match="utf-8"):
        print_bundle({**SHOP, "common.cedar": b"\xff"})


def test_the_largest_bundle_fits_into_a_record() -> None:
    most = {"common.cedar": b"x" * (MAX_BUNDLE_BYTES - len(print_bundle({"common.cedar": b""})))}
    assert len(print_bundle(most)) == MAX_BUNDLE_BYTES
    record = bundle_record(most)
    assert topics.POLICIES.max_record_bytes is not None
    # Key, headers and the batch around it take less than 200 bytes.
    assert record.size + 200 < topics.POLICIES.max_record_bytes


def test_an_activation_says_what_it_said() -> None:
    one = activation(seq=7, enforce=DIGEST, shadow=OTHER)
    assert parse_activation(print_activation(one)) == one


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "a/b"},
        {"cluster": ""},
        {"seq": 0},
        {"seq": True},
        {"seq": 2**53},
        {"enforce": "5F" * 32},
        {"enforce": None, "shadow": None},
        {"enforce": DIGEST, "shadow": DIGEST},
        {"at": "2026-11-26T09:30:00Z"},
        {"at": "2026-13-26T09:30:00.000000Z"},
        {"mode": "enforce"},
    ],
)
def test_an_activation_of_another_shape_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(print_activation(activation(enforce=DIGEST)))
    with pytest.raises(PublicationInvalid, match="got no activation"):
        parse_activation(json.dumps(fields | change, sort_keys=True, separators=(",", ":")).encode())


def test_an_activation_in_another_spelling_is_refused() -> None:
    spaced = json.dumps(json.loads(print_activation(activation(enforce=DIGEST)))).encode()
    with pytest.raises(PublicationInvalid, match="one form"):
        parse_activation(spaced)


def test_what_is_signed_is_taken() -> None:
    log = fresh_log()
    assert log.take(bundle_record(SHOP), TRUST) == PublishedBundle(SHOP, DIGEST)
    taken = log.take(active_record(activation(enforce=DIGEST)), TRUST)
    assert isinstance(taken, Signed)
    assert (taken.by, taken.keyid, taken.activation.at) == ("policy-publisher", PUBLISHER.keyid, AT)
    assert (log.names, log.newest("shop"), log.missing("shop")) == (("shop",), taken, 0)
    assert log.newest("other") is None


def test_a_bundle_under_another_digest_is_refused() -> None:
    error = refusal(sealed_record(bundle_key(OTHER), print_bundle(SHOP), BUNDLE_TYPE))
    assert isinstance(error, PublicationInvalid)
    assert DIGEST in str(error)
    assert OTHER in str(error)


def test_other_bytes_under_a_digest_that_is_there_are_refused() -> None:
    log = fresh_log()
    log.take(bundle_record(SHOP), TRUST)
    refusal(sealed_record(bundle_key(DIGEST), print_bundle(shop_with("other")), BUNDLE_TYPE), log)


@pytest.mark.parametrize("name", ["a-stranger", "payment-retrier"])
def test_a_key_that_is_not_trusted_for_policies_signs_none(name: str) -> None:
    for record in (
        bundle_record(SHOP, by=signer(name)),
        active_record(activation(enforce=DIGEST), by=signer(name)),
    ):
        assert isinstance(refusal(record), SignatureInvalid)


async def test_a_publisher_signs_no_decision() -> None:
    record = await dsse.sign(b"{}", PUBLISHER, chain="c")
    with pytest.raises(SignatureInvalid, match="for policies, expected one for decisions"):
        dsse.verify(record, TRUST)
    assert isinstance(record, SignedRecord)


def test_a_signature_for_one_kind_is_none_for_the_other() -> None:
    payload = print_activation(activation(enforce=DIGEST))
    assert isinstance(refusal(sealed_record("active/shop/1", payload, BUNDLE_TYPE)), RecordInvalid)
    moved = json.loads(sealed(payload, BUNDLE_TYPE)) | {"payloadType": ACTIVATION_TYPE}
    record = KafkaRecord(TOPIC, 0, 0, 0, b"active/shop/1", canonical.dumps(moved))
    assert isinstance(refusal(record), SignatureInvalid)


def test_changed_bytes_are_refused() -> None:
    record = bundle_record(SHOP)
    fields = json.loads(record.value or b"")
    payload = base64.b64decode(fields["payload"]).replace(b"at most", b"at least")
    assert sha256(payload).digest() != sha256(base64.b64decode(fields["payload"])).digest()
    fields["payload"] = base64.b64encode(payload).decode()
    assert isinstance(refusal(replace(record, value=canonical.dumps(fields))), SignatureInvalid)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value + b"\n",
        lambda value: value.replace(b'"payload":', b'"payload": '),
        lambda value: value.replace(b'"sig":"', b'"sig":"*'),
        lambda value: value.replace(b'"}]', b'"},{"keyid":"k","sig":""}]'),
        lambda value: value.replace(b'"}]', b'","x":1}]'),
        lambda _value: b"[]",
        lambda _value: b"\xc3\x01garbage",
        lambda _value: b"",
    ],
)
def test_another_envelope_is_refused(change: object) -> None:
    record = active_record(activation(enforce=DIGEST))
    assert callable(change)
    assert isinstance(refusal(replace(record, value=change(record.value))), RecordInvalid)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "bundle/x",
        f"bundle/{DIGEST.upper()}",
        f"bundle/{DIGEST}/",
        "active/shop",
        "active/shop/01",
        "active//1",
        "x/y",
    ],
)
def test_a_key_of_another_form_is_refused(key: str) -> None:
    record = replace(active_record(activation(enforce=DIGEST)), key=key.encode())
    assert isinstance(refusal(record), PublicationInvalid)
    assert isinstance(refusal(replace(record, key=None)), PublicationInvalid)


def test_a_deletion_is_refused() -> None:
    assert "nothing is ever taken back" in str(refusal(replace(bundle_record(SHOP), value=None)))


@pytest.mark.parametrize("key", ["active/shop/2", "active/other/1"])
def test_an_activation_that_was_copied_under_another_key_is_refused(key: str) -> None:
    record = replace(active_record(activation(enforce=DIGEST)), key=key.encode())
    assert "copied" in str(refusal(record))


@pytest.mark.parametrize("change", [{"cluster": "other"}, {"topic": "staging.policies"}])
def test_an_activation_from_elsewhere_is_refused(change: dict[str, str]) -> None:
    assert "copied from there" in str(refusal(active_record(activation(enforce=DIGEST, **change))))


def test_an_old_activation_that_is_written_again_changes_nothing_and_is_told() -> None:
    log = fresh_log()
    old, new = activation(seq=1, enforce=DIGEST), activation(seq=2, enforce=OTHER)
    for one in (old, new):
        log.take(active_record(one), TRUST)
    for again in (old, new, activation(seq=1, enforce=OTHER)):
        assert isinstance(refusal(active_record(again), log), ActivationStale)
        holds = log.newest("shop")
        assert holds is not None
        assert holds.activation == new
    assert [signed.activation for signed in log.history("shop")] == [new, old]


def test_what_is_missing_is_counted_and_what_is_held_is_bounded() -> None:
    log = fresh_log()
    for seq in (1, 2, 5):
        log.take(active_record(activation(seq=seq, enforce=DIGEST)), TRUST)
    assert log.missing("shop") == 2
    for seq in range(6, 6 + MAX_HELD):
        log.take(active_record(activation(seq=seq, enforce=DIGEST)), TRUST)
    assert len(log.history("shop")) == MAX_HELD
    assert log.missing("shop") == 2


def test_a_model_of_an_activation_is_strict() -> None:
    with pytest.raises(ValueError, match="seq"):
        Activation(
            bundle="shop",
            cluster=CLUSTER,
            topic=TOPIC,
            seq="1",
            enforce=DIGEST,
            shadow=None,
            at=AT,  # type: ignore[arg-type]  # that is the fault
        )
