"""Every attack on a log, mounted on an honest one: the verdict, and the number of the check that names it.

Attacks on credentials are in the tests of `standing`, those on checkpoints in the tests of the notary and of witnesses,
those on approvals in `test_audit_approvals.py`, one flipped bit anywhere in `tests/property/test_audit_tampering.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from jurat.audit.coordinates import Coordinates, parse_uri
from jurat.audit.input_manifest import InputsHeld
from jurat.audit.keys import TrustedKey
from jurat.audit.log import LogEntry, WitnessedHead
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed, build
from jurat.audit.standing import Standing
from jurat.audit.verifier_report import Check, LogVerdict
from jurat.schemas.decision import Verdict, decision_id_at
from jurat.schemas.errors import SignatureInvalid
from tests import honest_log
from tests.golden.audit import sample_log
from tests.honest_log import (
    AGENT,
    OTHER,
    changed,
    entries,
    heads,
    inputs,
    rechained,
    record,
    resigned,
    verify,
)

OWN = len(honest_log.CENTS)
FIRST_OTHER = OWN
LOG = list(entries())
HEADS = heads(LOG)
INPUTS = inputs()

INVALID, INCOMPLETE = LogVerdict.INVALID, LogVerdict.INCOMPLETE


def test_the_honest_log_is_valid_with_every_check() -> None:
    report = verify(LOG, witnessed=HEADS, held=INPUTS)
    assert (report.verdict, report.findings) == (LogVerdict.VALID, ())
    assert set(report.not_run) == {Check.TREE, Check.DECISIONS}
    assert report.witnessed == report.records == len(LOG)
    assert report.evaluated is not None
    assert report.evaluated.same == OWN
    assert (
        sum(report.evaluated.not_evaluated.values()) == 3
    )  # the golden records name policies that nobody has
    assert report.inputs is not None
    assert (report.inputs.inputs, report.inputs.missing, report.inputs.partitions) == (len(LOG), 0, 2)
    assert honest_log.outcomes()[:OWN].count(Outcome.ESCALATED) == 2
    assert report.inputs.open == 3


@dataclass(frozen=True, slots=True)
class Attack:
    """A log as the attacker leaves it, what else they leave, and what must be said of it."""

    log: list[LogEntry]
    verdict: LogVerdict
    check: Check
    reason: str
    heads: tuple[WitnessedHead, ...] | None = None
    inputs: tuple[InputsHeld, ...] = ()


def put(number: int, entry: LogEntry) -> list[LogEntry]:
    return [*LOG[:number], entry, *LOG[number + 1 :]]


def without(*numbers: int) -> list[LogEntry]:
    return [entry for number, entry in enumerate(LOG) if number not in numbers]


def edited(number: int, old: bytes, new: bytes, *, by: str | None = None) -> LogEntry:
    """Other bytes: as they are, or signed by an agent's key."""
    entry = LOG[number]
    payload = entry.record.payload.replace(old, new, 1)
    assert payload != entry.record.payload
    if by is not None:
        return resigned(entry, by=by, payload=payload)
    return replace(entry, record=entry.record.model_copy(update={"payload": payload}))


def below(size: int) -> tuple[WitnessedHead, ...]:
    """The checkpoints that an attacker leaves, who drops those of partition 0 above a size."""
    return tuple(head for head in HEADS if head.partition == 1 or head.size <= size)


def about(one: DecisionRecord, offset: int) -> DecisionRecord:
    """The same decision about another input."""
    at = Coordinates(sample_log.CLUSTER, honest_log.TOPIC, 0, offset)
    name = decision_id_at(AGENT, at.cluster_id, topic=at.topic, partition=0, offset=offset)
    first = one.inputs[0].model_copy(update={"uri": at.uri()})
    return one.model_copy(update={"inputs": (first,), "decision_id": name})


def zombie() -> LogEntry:
    """A worker that lost its partition goes on where it was, as its successor did."""
    made = about(record(LOG[3]), 77)
    return resigned(replace(LOG[3], offset=3_000), payload=build(made, made.decision_id, "00" * 32))


def policy(number: int, **update: object) -> Callable[[int, DecisionRecord], DecisionRecord]:
    used = record(LOG[number]).policy
    assert isinstance(used, PolicyUsed)
    return changed(number, policy=used.model_copy(update=update))


def smaller(number: int) -> dict[str, Any]:
    """What the policies would have been asked of a small amount."""
    used = record(LOG[number]).policy
    assert used is not None
    return {**used.input, "context": {**used.input["context"], "amount_minor": honest_log.CENTS[0]}}


def allowed_instead(_at: int, one: DecisionRecord) -> DecisionRecord:
    """The agent says that its policies allowed what they wanted people to see."""
    if one.outcome is not Outcome.ESCALATED or one.agent != AGENT:
        return one
    judged = one.proposals[-1].model_copy(update={"verdict": Verdict.ALLOW})
    return one.model_copy(update={"outcome": Outcome.DECIDED, "proposals": (*one.proposals[:-1], judged)})


def another_action(at: int, one: DecisionRecord) -> DecisionRecord:
    """The policies are asked about one action, and another one is done."""
    if at != 0:
        return one
    done = one.proposals[-1].model_copy(update={"action": "close_dispute"})
    return one.model_copy(update={"proposals": (*one.proposals[:-1], done)})


def elsewhere(at: int, one: DecisionRecord) -> DecisionRecord:
    """The other agent's records as they stand on another cluster: coordinates, ids and names but for the cluster's."""
    if one.agent != OTHER:
        return one
    at_home, away = f"//{sample_log.CLUSTER}/", "//AAAAAAAAAAAAAAAAAAAAAA/"
    moved = tuple([read.model_copy(update={"uri": read.uri.replace(at_home, away)}) for read in one.inputs])
    where = parse_uri(moved[0].uri)
    name = decision_id_at(
        one.agent, where.cluster_id, topic=where.topic, partition=where.partition, offset=where.offset
    )
    return one.model_copy(update={"inputs": moved, "decision_id": name})


REWRITTEN = rechained(LOG, changed(1, code="jurat 6.6.6"))

ATTACKS: dict[str, Attack] = {
    "modify": Attack(
        put(1, edited(1, b'"attempts":1', b'"attempts":2')), INVALID, Check.SIGNATURE, "did not make"
    ),
    "delete": Attack(without(2), INVALID, Check.CHAIN, "missing"),
    "delete, as the one who signs": Attack(
        rechained(without(2)), INVALID, Check.WITNESSED, "rewritten or forked", heads=HEADS
    ),
    "insert what nobody signed": Attack(
        [*LOG, resigned(replace(zombie(), offset=4_000), by="stranger")],
        INVALID,
        Check.SIGNATURE,
        "unknown key",
    ),
    "duplicate": Attack([*LOG, replace(LOG[1], offset=5_000)], INVALID, Check.CHAIN, "repeated"),
    "duplicate at its place": Attack([*LOG[:2], LOG[1], *LOG[2:]], INVALID, Check.ORDER, "rising offsets"),
    "the same input again, in a chain that holds": Attack(
        rechained([*LOG, replace(LOG[1], offset=5_000)]), INVALID, Check.ONCE, "has a record already"
    ),
    "reorder": Attack(
        [LOG[0], replace(LOG[2], offset=1), replace(LOG[1], offset=2), *LOG[3:]],
        INVALID,
        Check.CHAIN,
        "missing",
    ),
    "splice from another partition": Attack(
        put(OWN - 1, replace(LOG[FIRST_OTHER], partition=0, offset=500)),
        INVALID,
        Check.CHAIN,
        "stands in partition",
    ),
    "splice from another topic": Attack(
        put(1, replace(LOG[1], topic="other.decisions")), INVALID, Check.ORDER, "of the topic"
    ),
    "splice from another agent's chain": Attack(
        put(1, replace(LOG[1], record=LOG[1].record.model_copy(update={"chain": record(LOG[-1]).chain}))),
        INVALID,
        Check.AGENT,
        "outside",
    ),
    "splice a whole chain of another cluster": Attack(
        rechained(LOG, elsewhere), INVALID, Check.CHAIN, "expected all of", inputs=INPUTS
    ),
    "cut the tail": Attack(without(OWN - 1), INVALID, Check.WITNESSED, "cut off", heads=HEADS),
    "cut the tail and drop checkpoints": Attack(
        without(OWN - 1), INCOMPLETE, Check.INPUTS, "no record", heads=below(OWN - 1), inputs=INPUTS
    ),
    "rewrite history, with the keys of log and agent": Attack(
        REWRITTEN, INVALID, Check.WITNESSED, "rewritten or forked", heads=HEADS
    ),
    "rewrite history, with a checkpoint of the new one": Attack(
        REWRITTEN, INVALID, Check.WITNESSED, "rewritten or forked", heads=(*HEADS, *heads(REWRITTEN))
    ),
    "skip an input": Attack(rechained(without(2)), INCOMPLETE, Check.INPUTS, "offsets [2]", inputs=INPUTS),
    "drop before the notary": Attack(
        without(2), INVALID, Check.CHAIN, "missing", heads=heads(without(2)), inputs=INPUTS
    ),
    "drop the newest before the notary": Attack(
        without(OWN - 1), INCOMPLETE, Check.INPUTS, "no record", heads=heads(without(OWN - 1)), inputs=INPUTS
    ),
    "hide a partition": Attack(LOG[OWN:], INCOMPLETE, Check.INPUTS, "has no record at all", inputs=INPUTS),
    "hide a partition that witnesses saw": Attack(
        LOG[OWN:], INVALID, Check.WITNESSED, "cut off", heads=HEADS
    ),
    "empty chain": Attack([], INCOMPLETE, Check.INPUTS, "has no record at all", inputs=INPUTS),
    "empty chain that witnesses saw": Attack([], INVALID, Check.WITNESSED, "cut off", heads=HEADS),
    "wrong key": Attack(put(1, resigned(LOG[1], by=OTHER)), INVALID, Check.AGENT, "signed by the key"),
    "swapped key id": Attack(
        put(
            1,
            replace(
                LOG[1],
                record=LOG[1].record.model_copy(
                    update={
                        "signatures": (
                            LOG[1]
                            .record.signatures[0]
                            .model_copy(update={"keyid": honest_log.signer(OTHER).keyid}),
                        )
                    }
                ),
            ),
        ),
        INVALID,
        Check.SIGNATURE,
        "did not make",
    ),
    "repeated JSON keys": Attack(
        put(1, edited(1, b'"attempts":1', b'"attempts":1,"attempts":1', by=AGENT)),
        INVALID,
        Check.FORM,
        "one form",
    ),
    "a float": Attack(
        put(1, edited(1, b'"attempts":1', b'"attempts":1.0', by=AGENT)), INVALID, Check.FORM, "schema"
    ),
    "a float where anything may stand": Attack(
        put(1, edited(1, b'"amount_minor":7500', b'"amount_minor":7500.5', by=AGENT)),
        INVALID,
        Check.FORM,
        "float",
    ),
    "an unknown field": Attack(
        put(1, edited(1, b'"attempts":1', b'"attempts":1,"urgent":true', by=AGENT)),
        INVALID,
        Check.FORM,
        "urgent",
    ),
    "an injected field": Attack(
        put(1, edited(1, b'"approvals":[]', b'"approvals":[],"approvedBy":"boss"', by=AGENT)),
        INVALID,
        Check.FORM,
        "approvedBy",
    ),
    "policy digest swapped": Attack(
        put(1, edited(1, b'"digest":"' + record(LOG[1]).policy.digest[:4].encode(), b'"digest":"0000')),  # type: ignore[union-attr]  # it was judged
        INVALID,
        Check.SIGNATURE,
        "did not make",
    ),
    "model digest swapped": Attack(
        put(1, edited(1, b'"model":null', b'"model":"gpt"')), INVALID, Check.SIGNATURE, "did not make"
    ),
    "model swapped by the agent, after witnesses saw it": Attack(
        rechained(LOG, changed(1, reasoner=record(LOG[1]).reasoner.model_copy(update={"model": "gpt"}))),  # type: ignore[union-attr]  # somebody was asked
        INVALID,
        Check.WITNESSED,
        "rewritten or forked",
        heads=HEADS,
    ),
    "a verdict that the policies did not give": Attack(
        rechained(LOG, allowed_instead), INVALID, Check.EVALUATED, "but the record says allow"
    ),
    "policies asked about another amount": Attack(
        rechained(LOG, policy(2, input=smaller(2))),
        INVALID,
        Check.EVALUATED,
        "but the record says escalate",
    ),
    "policies asked about another action": Attack(
        rechained(LOG, another_action), INVALID, Check.EVALUATED, "asked about the action"
    ),
    "a zombie writes after a rebalance": Attack(
        [*LOG, zombie()], INVALID, Check.CHAIN, "repeated or out of order"
    ),
    "the same seq twice": Attack(
        [
            *LOG[:4],
            replace(zombie(), offset=LOG[4].offset),
            *[replace(one, offset=one.offset + 1) for one in LOG[4:]],
        ],
        INVALID,
        Check.CHAIN,
        "repeated or out of order",
    ),
    "decided twice in two chains' words": Attack(
        rechained([*LOG[:OWN], replace(LOG[0], offset=900)]), INVALID, Check.ONCE, "has a record already"
    ),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_the_attack_is_caught(name: str) -> None:
    attack = ATTACKS[name]
    report = verify(attack.log, witnessed=attack.heads, held=attack.inputs)
    found = report.findings[0]
    assert (found.verdict, found.first.check) == (attack.verdict, attack.check.value), found.first
    assert attack.reason in found.first.reason
    assert report.verdict is attack.verdict


def test_the_place_is_named() -> None:
    """The record where it stands; an input where it stands."""
    cut = verify(rechained(without(2)), held=INPUTS).findings[0].first.place
    assert (cut.topic, cut.partition, cut.offset) == (honest_log.TOPIC, 0, 2)
    bad = verify(ATTACKS["modify"].log).findings[0].first.place
    assert (bad.topic, bad.partition, bad.offset) == ("audit.decisions", 0, LOG[1].offset)


def test_what_no_witness_saw_yet_is_unproven() -> None:
    """The notary is down, or behind: agents go on, and the rest of the log is as good as before."""
    report = verify(LOG, witnessed=below(4), held=INPUTS)
    found = report.findings[0]
    assert (report.verdict, found.count, report.witnessed) == (LogVerdict.UNPROVEN, 2, len(LOG) - 2)
    assert found.first.place.offset == LOG[4].offset
    assert verify(LOG, witnessed=()).verdict is LogVerdict.UNPROVEN


REVOKED = honest_log.SECONDS + 4
COMPROMISED = honest_log.SECONDS + 2


def revoked(key: TrustedKey, record: DecisionRecord, *, witnessed_at: int | None) -> Standing:
    """The agent's key was stolen at `COMPROMISED`, and revoked at `REVOKED`."""
    if key.agent != AGENT:
        return Standing.GOOD
    if witnessed_at is None:
        return Standing.UNPROVEN
    if witnessed_at > REVOKED:
        raise SignatureInvalid("its key was revoked when the record was witnessed")
    return Standing.SUSPECT if witnessed_at > COMPROMISED else Standing.GOOD


def test_a_backdated_record_counts_from_when_it_was_witnessed() -> None:
    """What the record and Kafka say of the time is in the attacker's hand; T is not."""
    early = rechained(LOG, changed(OWN - 1, time="2020-01-01T00:00:00.000000Z"))
    early[OWN - 1] = replace(early[OWN - 1], timestamp_ms=1_577_836_800_000)
    report = verify(early, witnessed=heads(early), standing=revoked)
    found = {one.verdict: one for one in report.findings}
    assert report.verdict is LogVerdict.INVALID
    assert found[INVALID].first.check == Check.STANDING.value
    assert found[INVALID].first.place.offset == LOG[4].offset
    assert found[INVALID].count == 2
    assert (found[LogVerdict.SUSPECT].count, found[LogVerdict.SUSPECT].first.place.offset) == (
        2,
        LOG[2].offset,
    )


def test_without_witnesses_nobody_knows_whether_a_key_held() -> None:
    report = verify(LOG, standing=revoked)
    assert (report.verdict, report.findings[0].count) == (LogVerdict.UNPROVEN, OWN)
    assert report.findings[0].first.check == Check.STANDING.value


def test_a_later_checkpoint_never_makes_a_record_older() -> None:
    """T is the least time of all heads that hold the record, whichever of them are shown."""
    only_last = tuple(
        head for head in HEADS if (head.partition, head.size) in ((0, OWN), (1, honest_log.OTHERS))
    )
    assert verify(LOG, witnessed=only_last, standing=revoked).findings[0].count == OWN
    odd = tuple(replace(head, time=COMPROMISED) if head.size == OWN else head for head in HEADS)
    assert verify(LOG, witnessed=odd, standing=revoked).verdict is LogVerdict.VALID


def test_the_worst_verdict_counts() -> None:
    order = (
        LogVerdict.VALID,
        LogVerdict.UNPROVEN,
        LogVerdict.INCOMPLETE,
        LogVerdict.SUSPECT,
        LogVerdict.INVALID,
    )
    cut = rechained(without(OWN - 1))
    seen = [
        verify(LOG, witnessed=HEADS, held=INPUTS).verdict,
        verify(LOG, witnessed=below(4), held=INPUTS).verdict,
        verify(cut, witnessed=below(2), held=INPUTS).verdict,
        verify(cut, witnessed=below(4), held=INPUTS, standing=revoked).verdict,
        verify(cut, witnessed=HEADS, held=INPUTS, standing=revoked).verdict,
    ]
    assert seen == list(order)
