"""Whether a bundle holds: an auditor's checks, from bytes and what they trust alone. Pure.

Keys and witness policy are arguments; nothing in a bundle says what to trust. Checks:

1. the bundle is of its form (`bundle.read`): one spelling, every file named with its digest, no other;
2. each checkpoint is one that the witness policy allows, of the topic and partition that it stands for;
3. the checkpoints of a partition are tied to one another, each a prefix of the next;
4. the statements of its trust log hold under the root that the verifier was given, where one was;
5. the files of each policy bundle have its digest, and each public key is the one of its name;
6. each record's proof is of it, at its place, under a checkpoint of the bundle;
7. each record holds by itself: signature, form, agent, approvals, the key's standing at the earliest moment at which
   the quorum had seen it, and its policies say the same again, where they are there;
8. its name is of its place and id, its inputs are of the checkpoints' cluster, and no other has its id, leaf or number
   in its chain; those that follow one another in a chain are linked, and stand in the log in that order;
9. statements of erasures are of their form, and those of people who are known are signed by them, who may.

A fault does not stop the checks: all are counted. `VERIFY.md` is run by people, and whoever made the bundle wrote it:
it is told where it is not the text written here. Verdicts are those of the log, the worst finding: `UNPROVEN`
where nothing is wrong, but a record is under no checkpoint that witnesses saw, or is not disclosed where others are, or
no witness policy was given.

Specified in `docs/spec/bundle.md`. Not here: whether records are missing, which a bundle cannot tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from jurat.audit import bundle, did_key, dsse, tlog_proof
from jurat.audit.bundle import Bundle, Listed
from jurat.audit.bundle_recipe import recipe
from jurat.audit.bundle_report import BundleReport
from jurat.audit.disclosure import Disclosure, parse_any, parse_disclosures
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.history import History
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, Place, WitnessedHead
from jurat.audit.merkle import verify_consistency, verify_inclusion
from jurat.audit.origin import parse as parse_origin
from jurat.audit.pem import public_pem
from jurat.audit.standing import Standing
from jurat.audit.subject_erasure import check_form, verify_erasure
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.trust_log import TrustLog
from jurat.audit.verifier_record import SAME, Examiner, Facts, Rejudge
from jurat.audit.verifier_report import Findings, LogVerdict, left_out
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import AuditError, BundleInvalid, ChainBroken, NoteInvalid, ProofInvalid

MAX_FAULTS: Final = 1_000
"""Faults that are kept; all are counted."""

Files = Mapping[str, bytes]
Digest = Callable[[Files], str]
"""The digest of a policy bundle's files; policies are another room's."""

Rejudging = Callable[[Mapping[str, Files]], Rejudge]
"""What evaluates policies again, made of bundles by digest; the same."""


@dataclass(frozen=True, slots=True)
class _Verified:
    listed: Listed
    decision_id: str
    facts: Facts


def verify(
    data: bytes,
    trust: Trust,
    policy: TlogPolicy | None,
    *,
    digest_of: Digest,
    rejudging: Rejudging | None = None,
    root: bytes | None = None,
) -> BundleReport:
    """Say what a bundle is worth.

    Args:
        data: the zip file.
        trust: the trusted keys.
        root: a root statement by which the bundle's own trust log is judged; None where `trust` says it all.
        policy: the witness policy; None where the verifier has none, and then nothing is proved to be in the log.
        digest_of: digests a policy bundle's files.
        rejudging: makes what evaluates policies again; None where nobody can.
    """
    try:
        held = bundle.read(data)  # 1
    except BundleInvalid as error:
        found = Findings()
        fault = Fault(Place(), str(error))
        found.add(LogVerdict.INVALID, fault)
        return BundleReport(0, 0, 0, 0, 0, is_recipe=False, findings=found.all(), faults=(fault,), heads=())
    verifying = _Verifying(held)
    if root is not None:
        trust = verifying.with_credentials(trust, root)  # 4
    if policy is not None:
        verifying.check_checkpoints(History(policy))  # 2, 3
    policies = verifying.check_policies(digest_of)  # 5
    verifying.check_keys()
    verifying.check_erasures(trust)  # 9
    again = None if rejudging is None or not policies else rejudging(policies)
    return verifying.report(
        Examiner(trust, rejudge=again, unveiler=Unveiler(verifying)), is_witnessed=policy is not None
    )  # 6 to 8


class _Verifying:
    def __init__(self, held: Bundle) -> None:
        self._held = held
        self._found = Findings()
        self._faults: list[Fault] = []
        self._disclosures: dict[str, bytes] = {}
        self._erased: set[str] = set()
        self._heads: dict[tuple[int, int], WitnessedHead] = {}
        self._cluster: str | None = None
        self._places = {(place[0], signed): place for place, signed in held.checkpoints.items()}

    def fault(self, place: Place, reason: str) -> None:
        fault = Fault(place, reason)
        self._found.add(LogVerdict.INVALID, fault)
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(fault)

    def report(self, examiner: Examiner, *, is_witnessed: bool) -> BundleReport:
        held = self._held
        sizes: dict[int, list[int]] = {}
        for partition, size in sorted(self._heads):
            sizes.setdefault(partition, []).append(size)
        proved = rejudged = erased = 0
        withheld: list[Place] = []
        verified: list[_Verified] = []
        for listed in held.records:
            with self._at(listed):
                entry, decision_id = self._entry(listed)
                is_proved = False
                with self._at(listed):  # a record is looked at, whatever its proof is worth
                    is_proved = is_witnessed and self._check_proof(listed, entry.leaf())  # 6
                at = self._seen_at(listed, sizes) if is_proved else None
                one = self._check_record(examiner, entry, at)  # 7
                proved += is_proved
                if not is_proved:
                    self._unproven(entry.place, "no witnessed checkpoint of the bundle holds it")
                elif one.standing is Standing.UNPROVEN:
                    self._unproven(entry.place, "no witness tells when its key signed it")
                rejudged += one.again == SAME
                if one.veil in self._erased:
                    erased += 1
                elif one.veil:
                    withheld.append(entry.place)
                verified.append(_Verified(listed, decision_id, one))
        if self._disclosures:  # of others: a bundle that discloses nothing hides nothing by choice
            for place in withheld:
                self._found.add(LogVerdict.UNPROVEN, left_out(place))
        self._check_together(verified)  # 8
        if not held.records:
            self._unproven(Place(), "the bundle holds no record: there is nothing to prove")
        latest = {partition: head for (partition, _size), head in sorted(self._heads.items())}
        found = self._found.all()
        return BundleReport(
            records=len(held.records),
            proved=proved,
            rejudged=rejudged,
            withheld=len(withheld),
            erased=erased,
            is_recipe=_is_recipe(held),
            findings=found,
            faults=tuple(self._faults),
            heads=tuple(latest.values()),
        )

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """The disclosures of a record, as they stand in the bundle."""
        data = self._disclosures.get(decision_id)
        return None if data is None else parse_disclosures(data)

    def check_checkpoints(self, history: History) -> None:
        before: WitnessedHead | None = None
        for (partition, size), signed in sorted(self._held.checkpoints.items()):
            with _Noting(self, Place(self._held.topic, partition)):
                head = history.add(signed)
                name = bundle.checkpoint_file(partition, size)
                if head is None:
                    raise NoteInvalid(f"{name}: got a checkpoint that too few witnesses signed")
                named = parse_origin(signed.partition(b"\n")[0].decode())
                if (head.partition, head.size, named.topic) != (partition, size, self._held.topic):
                    raise NoteInvalid(f"{name}: got a checkpoint of another log or size than its name says")
                self._cluster = named.cluster_id  # of all of them, as a history is of one log
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

    def with_credentials(self, trust: Trust, root: bytes) -> Trust:
        """The keys that the bundle's trust log gives credentials to, under this root, beside those that are pinned."""
        with _Noting(self, Place()):
            log = TrustLog(root)
            data = self._held.files.get(bundle.TRUST_LOG, b"")
            for line in data.removesuffix(b"\n").split(b"\n") if data else ():
                log.add(line)
            return log.trust(trust)
        return trust

    def check_policies(self, digest_of: Digest) -> dict[str, Files]:
        """The policy bundles that are what they are called."""
        good: dict[str, Files] = {}
        for digest, files in sorted(self._held.policies.items()):
            got = digest_of(files)
            if got == digest:
                good[digest] = files
            else:
                self.fault(
                    Place(), f"policies/{digest}: got files with the digest {got}: they are not that bundle"
                )
        return good

    def check_erasures(self, trust: Trust) -> None:
        """The statements of erasures; of somebody whom the verifier does not know they say nothing."""
        data = self._held.files.get(bundle.ERASURES)
        if data is None:
            return
        with _Noting(self, Place()):
            listed = data.removesuffix(b"\n").split(b"\n")
            if listed != sorted(set(listed)) or not data.endswith(b"\n"):
                raise BundleInvalid(f"got {bundle.ERASURES} with lines that are not sorted, or one twice")
            known = {person.keyid for person in trust.approvers}
            for line in listed:
                _said, _payload, signature = check_form(line)
                if signature.keyid in known:
                    self._erased.update(verify_erasure(line, trust).said.decisions)

    def check_keys(self) -> None:
        """The public keys, which somebody may take out of a bundle that holds."""
        for name, data in sorted(self._held.files.items()):
            if name.startswith(bundle.KEYS):
                with _Noting(self, Place()):
                    keyid = "did:key:" + name.removeprefix(bundle.KEYS).removesuffix(".pem")
                    if public_pem(did_key.decode(keyid)) != data:
                        raise BundleInvalid(f"{name}: got another key than that of its name")

    def _check_tied(self, before: WitnessedHead, head: WitnessedHead) -> None:
        name = bundle.consistency_file(head.partition, before.size, head.size)
        proof = self._held.consistency.get((head.partition, before.size, head.size))
        if proof is None:
            raise ProofInvalid(f"got no {name}: nothing ties the two checkpoints together")
        verify_consistency(before.size, head.size, before.root, head.root, proof)

    def _entry(self, listed: Listed) -> tuple[LogEntry, str]:
        """The record as an entry of the log, and its decision id; neither is verified."""
        data = self._held.files[bundle.envelope_file(listed.name)]
        payload, made = dsse.parse_envelope(data, payload_type=dsse.PAYLOAD_TYPE, signatures=1)
        statement = parse_any(payload)
        told = statement.predicate
        disclosed = self._held.files.get(bundle.disclosures_file(listed.name))
        if disclosed is not None:
            if not statement.is_veiled:
                raise BundleInvalid("got disclosures beside a record that is not veiled")
            self._disclosures[told.decision_id] = disclosed
        if listed.name != bundle.record_name(listed.partition, listed.index, told.decision_id):
            raise BundleInvalid(f"got the record {told.decision_id} under the name {listed.name}")
        record = SignedRecord(
            chain=told.chain, payload_type=dsse.PAYLOAD_TYPE, payload=payload, signatures=made
        )
        return LogEntry(self._held.topic, listed.partition, listed.offset, 0, record), told.decision_id

    def _check_proof(self, listed: Listed, leaf: bytes) -> bool:
        data = self._held.files.get(bundle.proof_file(listed.name))
        if data is None:
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

    def _seen_at(self, listed: Listed, sizes: Mapping[int, list[int]]) -> int | None:
        """When the quorum first saw a tree with this leaf: the checkpoints are tied, so one proof is of all of them."""
        own = sizes[listed.partition]
        return self._heads[listed.partition, own[bisect_right(own, listed.index)]].time

    def _check_record(self, examiner: Examiner, entry: LogEntry, at: int | None) -> Facts:
        examined = examiner.examine(entry, witnessed_at=at)
        facts = examined.facts
        if facts is None:
            number, reason = examined.refused or (0, "it was refused")
            raise BundleInvalid(f"check {number}: {reason}")
        for number, reason in facts.wrong:
            self.fault(entry.place, f"check {number}: {reason}")
        if facts.standing is Standing.SUSPECT:
            self._found.add(
                LogVerdict.SUSPECT, Fault(entry.place, "somebody else may have had its key by then")
            )
        return facts

    def _check_together(self, verified: list[_Verified]) -> None:
        ids: set[str] = set()
        leaves: set[tuple[int, int]] = set()
        chains: dict[str, list[_Verified]] = {}
        for one in verified:
            self._cluster = self._cluster or one.facts.clusters[0]
            with self._at(one.listed):
                if one.facts.clusters != (self._cluster,):
                    raise BundleInvalid(
                        f"got a record about inputs of the cluster {' and '.join(one.facts.clusters)}, expected"
                        f" {self._cluster}, whose log it is"
                    )
                leaf = (one.listed.partition, one.listed.index)
                if one.decision_id in ids or leaf in leaves:
                    raise BundleInvalid("got a record whose decision id or leaf another one has")
                ids.add(one.decision_id)
                leaves.add(leaf)
                chains.setdefault(one.facts.chain, []).append(one)
        for chain in chains.values():
            chain.sort(key=lambda one: one.facts.seq)
            for before, one in pairwise(chain):
                with self._at(one.listed):
                    _check_follows(before, one)

    def _at(self, listed: Listed) -> _Noting:
        return _Noting(self, Place(self._held.topic, listed.partition, listed.offset))

    def _unproven(self, place: Place, reason: str) -> None:
        self._found.add(LogVerdict.UNPROVEN, Fault(place, reason))


def _is_recipe(held: Bundle) -> bool:
    told = held.files.get(bundle.RECIPE)
    return any(
        recipe(one.name, proved=bundle.proof_file(one.name) in held.files).encode() == told
        for one in held.records
    )


def _check_follows(before: _Verified, one: _Verified) -> None:
    named = f"number {one.facts.seq} of the chain {one.facts.chain}"
    if one.facts.seq == before.facts.seq:
        raise ChainBroken(f"got {named} twice")
    if one.listed.partition != before.listed.partition:
        raise ChainBroken(f"got the chain {one.facts.chain} in two partitions")
    if one.listed.index < before.listed.index:
        raise ChainBroken(f"got {named} before an earlier one")
    if one.facts.seq == before.facts.seq + 1 and one.facts.prev != before.facts.digest:
        raise ChainBroken(f"got {named} after another one than is here")


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
