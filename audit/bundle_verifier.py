"""Whether a bundle holds: an auditor's checks, from bytes and what they trust alone. Pure.

Keys and witness policy are arguments; nothing in a bundle says what to trust. Checks:

1. the bundle is of its form (`bundle.read`): one spelling, every file named with its digest, no other;
2. each checkpoint is one that the witness policy allows, of the topic and partition that it stands for;
3. the checkpoints of a partition are tied to one another, each a prefix of the next;
4. each record is signed by its agent with a trusted key, in its one form, and its approvals prove themselves;
5. its name is of its place and id, and no other has its id, leaf or number in its chain; those that follow one another
   in a chain are linked, and stand in the log in that order;
6. its proof is of it, at its place, under a checkpoint of the bundle;
7. the files of each policy bundle have its digest;
8. judged again under its policies, it comes out as recorded, where whoever calls can judge.

A fault does not stop the checks: all are counted, and the first is named. Verdicts: those of `verifier.py`; `UNPROVEN`
where nothing is wrong, but a record is under no checkpoint that witnesses saw, or no witness policy was given.

Specified in `docs/spec/bundle.md`. Not here: whether records are missing, which a bundle cannot tell.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

from jurat.audit import bundle, dsse, tlog_proof
from jurat.audit.approval import check_recorded
from jurat.audit.bundle import Bundle, Listed
from jurat.audit.history import History, WitnessedHead
from jurat.audit.keys import Purpose, Trust
from jurat.audit.log import Fault, Place
from jurat.audit.merkle import leaf_hash, record_leaf, verify_consistency, verify_inclusion
from jurat.audit.origin import parse as parse_origin
from jurat.audit.record import DecisionRecord, parse
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.verifier import LogVerdict
from jurat.schemas.errors import (
    AuditError,
    BundleInvalid,
    ChainBroken,
    NoteInvalid,
    ProofInvalid,
    RecordInvalid,
)

MAX_FAULTS: Final = 1_000
"""Faults that are kept; all are counted."""

Digest = Callable[[Mapping[str, bytes]], str]
"""The digest of a policy bundle's files; policies are another room's."""

Rejudge = Callable[[DecisionRecord, Mapping[str, bytes]], str | None]
"""Judges a record again under a policy bundle's files: what is wrong, or None."""


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle is worth.

    Attributes:
        verdict: `VALID`, `INVALID` or `UNPROVEN`.
        records: how many it holds.
        proved: how many of them are in the log, under a checkpoint that the quorum saw.
        rejudged: how many of them were judged again.
        count: how many faults there are.
        faults: the first of them.
        heads: by partition, the latest checkpoint that the quorum saw.
    """

    verdict: LogVerdict
    records: int
    proved: int
    rejudged: int
    count: int
    faults: tuple[Fault, ...]
    heads: tuple[WitnessedHead, ...]

    def to_json(self) -> dict[str, object]:
        """The report as JSON types."""
        return {
            "verdict": self.verdict.value,
            "records": self.records,
            "proved": self.proved,
            "rejudged": self.rejudged,
            "faults": self.count,
            "firstFaults": [{"place": str(fault.place), "reason": fault.reason} for fault in self.faults],
            "heads": [
                {"partition": head.partition, "size": head.size, "root": head.root.hex(), "time": head.time}
                for head in self.heads
            ],
        }


@dataclass(frozen=True, slots=True)
class _Verified:
    listed: Listed
    record: DecisionRecord
    payload_sha256: str


def verify(
    data: bytes,
    trust: Trust,
    policy: TlogPolicy | None,
    *,
    digest_of: Digest,
    rejudge: Rejudge | None = None,
) -> BundleReport:
    """Say what a bundle is worth.

    Args:
        data: the zip file.
        trust: the trusted keys.
        policy: the witness policy; None where the verifier has none, and then nothing is proved to be in the log.
        digest_of: digests a policy bundle's files.
        rejudge: judges a record again; None where nobody can.
    """
    try:
        held = bundle.read(data)  # 1
    except BundleInvalid as error:
        fault = Fault(Place(), str(error))
        return BundleReport(LogVerdict.INVALID, 0, 0, 0, 1, (fault,), ())
    return _Verifying(held, trust, policy, digest_of, rejudge).report()


class _Verifying:
    def __init__(
        self,
        held: Bundle,
        trust: Trust,
        policy: TlogPolicy | None,
        digest_of: Digest,
        rejudge: Rejudge | None,
    ) -> None:
        self._held = held
        self._trust = trust
        self._policy = policy
        self._digest_of = digest_of
        self._rejudge = rejudge
        self._faults: list[Fault] = []
        self._count = 0
        self._heads: dict[tuple[int, int], WitnessedHead] = {}
        self._good_policies: set[str] = set()
        self._places = {(place[0], signed): place for place, signed in held.checkpoints.items()}

    def report(self) -> BundleReport:
        held = self._held
        if self._policy is not None:
            self._check_checkpoints(History(self._policy))  # 2, 3
        self._check_policies()  # 7
        proved = rejudged = 0
        verified: list[_Verified] = []
        for listed in held.records:
            with self._at(listed):
                one, leaf = self._check_record(listed)  # 4, 5
                verified.append(one)
                proved += self._check_proof(listed, leaf)  # 6
                rejudged += self._judge_again(one.record)  # 8
        self._check_together(verified)  # 5
        verdict = LogVerdict.VALID if held.records and proved == len(held.records) else LogVerdict.UNPROVEN
        latest = {partition: head for (partition, _size), head in sorted(self._heads.items())}
        return BundleReport(
            verdict=LogVerdict.INVALID if self._count else verdict,
            records=len(held.records),
            proved=proved,
            rejudged=rejudged,
            count=self._count,
            faults=tuple(self._faults),
            heads=tuple(latest.values()),
        )

    def _at(self, listed: Listed) -> _Noting:
        return _Noting(self, Place(self._held.topic, listed.partition, listed.offset))

    def fault(self, place: Place, reason: str) -> None:
        self._count += 1
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(place, reason))

    def _check_checkpoints(self, history: History) -> None:
        before: WitnessedHead | None = None
        for (partition, size), signed in sorted(self._held.checkpoints.items()):
            with _Noting(self, Place(self._held.topic, partition)):
                head = history.add(signed)
                name = bundle.checkpoint_file(partition, size)
                if head is None:
                    raise NoteInvalid(f"{name}: got a checkpoint that too few witnesses signed")
                topic = parse_origin(_origin(signed)).topic
                if (head.partition, head.size, topic) != (partition, size, self._held.topic):
                    raise NoteInvalid(f"{name}: got a checkpoint of another log or size than its name says")
                self._heads[partition, size] = head
                if before is not None and before.partition == partition:
                    self._check_tied(before, head)
                before = head
        expected = {
            (one.partition, one.size, other.size)
            for one, other in pairwise(self._heads[key] for key in sorted(self._heads))
            if one.partition == other.partition
        }
        for partition, size1, size2 in sorted(self._held.consistency.keys() - expected):
            name = bundle.consistency_file(partition, size1, size2)
            self.fault(
                Place(self._held.topic, partition), f"{name}: got a proof that ties no two checkpoints"
            )

    def _check_tied(self, before: WitnessedHead, head: WitnessedHead) -> None:
        name = bundle.consistency_file(head.partition, before.size, head.size)
        proof = self._held.consistency.get((head.partition, before.size, head.size))
        if proof is None:
            raise ProofInvalid(f"got no {name}: nothing ties the two checkpoints together")
        verify_consistency(before.size, head.size, before.root, head.root, proof)

    def _check_policies(self) -> None:
        for digest, files in sorted(self._held.policies.items()):
            got = self._digest_of(files)
            if got == digest:
                self._good_policies.add(digest)
            else:
                self.fault(
                    Place(), f"policies/{digest}: got files with the digest {got}: they are not that bundle"
                )

    def _check_record(self, listed: Listed) -> tuple[_Verified, bytes]:
        data = self._held.files[bundle.envelope_file(listed.name)]
        checked = dsse.unseal(data, self._trust, payload_type=dsse.PAYLOAD_TYPE, purpose=Purpose.DECISIONS)
        told = parse(checked.payload).predicate
        if told.agent != checked.key.agent:
            raise RecordInvalid(
                f"got a record of the agent {told.agent!r} signed by the key of {checked.key.agent!r}",
                keyid=checked.key.keyid,
            )
        check_recorded(told, self._trust)
        if listed.name != bundle.record_name(listed.partition, listed.index, told.decision_id):
            raise BundleInvalid(f"got the record {told.decision_id} under the name {listed.name}")
        payload, payload_type, signature = dsse.parse_json(data)
        digest = sha256(payload).hexdigest()
        sig = base64.b64encode(signature.sig).decode()
        leaf = record_leaf(keyid=signature.keyid, payload_sha256=digest, payload_type=payload_type, sig=sig)
        return _Verified(listed, told, digest), leaf_hash(leaf)

    def _check_proof(self, listed: Listed, leaf: bytes) -> bool:
        data = self._held.files.get(bundle.proof_file(listed.name))
        if data is None or self._policy is None:
            return False
        proof = tlog_proof.parse(data)
        at = self._places.get((listed.partition, proof.signed))
        if at is None:
            raise ProofInvalid(
                "got a proof under a checkpoint that is none of the bundle's for this partition"
            )
        if proof.index != listed.index:
            raise ProofInvalid(f"got a proof of leaf {proof.index}, expected one of leaf {listed.index}")
        head = self._heads.get(at)
        if head is None:
            raise ProofInvalid("got a proof under a checkpoint that does not hold")
        verify_inclusion(proof.index, head.size, leaf, proof.hashes, head.root)
        return True

    def _judge_again(self, record: DecisionRecord) -> bool:
        used = record.policy
        if self._rejudge is None or used is None or used.digest not in self._good_policies:
            return False
        wrong = self._rejudge(record, self._held.policies[used.digest])
        if wrong is not None:
            raise RecordInvalid(wrong, decision_id=record.decision_id)
        return True

    def _check_together(self, verified: list[_Verified]) -> None:
        ids: set[str] = set()
        leaves: set[tuple[int, int]] = set()
        chains: dict[str, list[_Verified]] = {}
        for one in verified:
            with self._at(one.listed):
                leaf = (one.listed.partition, one.listed.index)
                if one.record.decision_id in ids or leaf in leaves:
                    raise BundleInvalid("got a record whose decision id or leaf another one has")
                ids.add(one.record.decision_id)
                leaves.add(leaf)
                chains.setdefault(one.record.chain, []).append(one)
        for chain in chains.values():
            chain.sort(key=lambda one: one.record.seq)
            for before, one in pairwise(chain):
                with self._at(one.listed):
                    _check_follows(before, one)


def _check_follows(before: _Verified, one: _Verified) -> None:
    if one.record.seq == before.record.seq:
        raise ChainBroken(f"got number {one.record.seq} of the chain {one.record.chain} twice")
    if one.listed.partition != before.listed.partition:
        raise ChainBroken(f"got the chain {one.record.chain} in two partitions")
    if one.listed.index < before.listed.index:
        raise ChainBroken(
            f"got number {one.record.seq} of the chain {one.record.chain} before an earlier one"
        )
    if one.record.seq == before.record.seq + 1 and one.record.prev != before.payload_sha256:
        raise ChainBroken(
            f"got number {one.record.seq} of the chain {one.record.chain} after another one than is here"
        )


class _Noting(suppress):
    """Notes an error of ours as a fault at a place, and goes on."""

    def __init__(self, verifying: _Verifying, place: Place) -> None:
        super().__init__(AuditError)
        self._verifying = verifying
        self._place = place

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        """Note it."""
        if isinstance(error, AuditError):
            self._verifying.fault(self._place, str(error))
            return True
        return False


def _origin(signed: bytes) -> str:
    return signed.partition(b"\n")[0].decode()
