"""Whatever stands on the topic of policies: what is signed is taken, all else is refused by an error of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.policies.folder import digest_of
from jurat.policies.publication import parse_activation, parse_bundle, print_activation, print_bundle
from jurat.schemas.errors import ActivationStale, AuditError, PolicyError
from jurat.streams.kafka import KafkaRecord
from jurat.streams.policy_log import PolicyLog
from tests.policy_stage import CLUSTER, TOPIC, TRUST, activation, active_record, bundle_record

FILES: Final = {"common.cedar": b"// nothing\n", "roles.yaml": b"agents: {}\n"}
RECORDS: Final = (bundle_record(FILES), active_record(activation(enforce=digest_of(FILES))))

NAMES = st.from_regex(r"\A([A-Za-z0-9][A-Za-z0-9_-]{0,9}\.cedar|tests/[a-z]{1,9}\.yaml|roles\.yaml)\Z")
DIGESTS = st.from_regex(r"\A[0-9a-f]{64}\Z")


def fresh_log() -> PolicyLog:
    return PolicyLog(cluster_id=CLUSTER, topic=TOPIC)


@given(
    record=st.sampled_from(RECORDS), at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans()
)
def test_a_changed_record_is_refused(record: KafkaRecord, at: int, byte: int, *, cut: bool) -> None:
    value = record.value or b""
    at %= len(value)
    changed = value[:at] if cut else value[:at] + bytes([byte]) + value[at + 1 :]
    log = fresh_log()
    if changed == value:
        log.take(record, TRUST)
        return
    with pytest.raises((AuditError, PolicyError)):
        log.take(replace(record, value=changed), TRUST)
    assert log.names == ()


@given(key=st.binary(max_size=80) | st.none(), value=st.binary(max_size=200) | st.none())
def test_garbage_is_refused(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises((AuditError, PolicyError)):
        fresh_log().take(KafkaRecord(TOPIC, 0, 0, 0, key, value), TRUST)


@given(files=st.dictionaries(NAMES, st.text(max_size=50), max_size=6))
def test_a_bundle_parses_to_what_was_printed(files: dict[str, str]) -> None:
    written = {name: text.encode() for name, text in files.items()}
    published = parse_bundle(print_bundle(written))
    assert (dict(published.files), published.digest) == (written, digest_of(written))


@given(seq=st.integers(1, 2**53 - 1), enforce=DIGESTS | st.none(), shadow=DIGESTS)
def test_an_activation_parses_to_what_was_printed(seq: int, enforce: str | None, shadow: str) -> None:
    if enforce != shadow:
        one = activation(seq=seq, enforce=enforce, shadow=shadow)
        assert parse_activation(print_activation(one)) == one


@given(seqs=st.lists(st.integers(1, 12), max_size=30))
def test_the_highest_holds_whatever_was_written_again(seqs: list[int]) -> None:
    """In whatever order records stand: what holds only rises, and each that does not raise it is told."""
    log, highest, told = fresh_log(), 0, 0
    for seq in seqs:
        try:
            log.take(active_record(activation(seq=seq, enforce=digest_of(FILES))), TRUST)
        except ActivationStale:
            told += 1
            assert seq <= highest
        else:
            assert seq > highest
            highest = seq
        newest = log.newest("shop")
        assert newest is not None
        assert newest.activation.seq == highest
    assert told == len(seqs) - len(log.history("shop"))
