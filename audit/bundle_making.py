"""Making the auditor's bundle: a log is read once, then its checkpoints, and what was asked for is put together. Pure.

Rules upheld here: a proof is of the earliest checkpoint that the quorum saw with the record in it, as that is the time
which counts for it; checkpoints are tied to one another up to the latest; a log whose records do not have the roots of
its checkpoints makes no bundle. Memory: 64 bytes for each record of the log, and the records that are asked for.

Specified in `docs/spec/bundle.md`. Not here: the form of files (`bundle.py`), reading Kafka or files, choosing
records (`selection.py`), what a person does with it (`bundle_recipe.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jurat.audit import bundle, did_key, dsse
from jurat.audit.bundle_recipe import recipe
from jurat.audit.disclosure import Disclosure, print_disclosures
from jurat.audit.history import History
from jurat.audit.keys import Trust, print_trust
from jurat.audit.log import LogEntry
from jurat.audit.merkle import Tree
from jurat.audit.pem import public_pem
from jurat.audit.record import DecisionRecord
from jurat.audit.subject_erasure import check_form
from jurat.audit.tlog_policy import parse as parse_policy
from jurat.audit.tlog_proof import TlogProof
from jurat.schemas.errors import BundleInvalid, ProofInvalid


@dataclass(frozen=True, slots=True)
class _Taken:
    index: int
    entry: LogEntry
    decision_id: str
    digest: str | None
    disclosures: bytes | None

    @property
    def name(self) -> str:
        return bundle.record_name(self.entry.partition, self.index, self.decision_id)


@dataclass(slots=True)
class _Partition:
    """One partition: its tree, what was taken, and the checkpoints that cover that, by size."""

    tree: Tree = field(default_factory=Tree)
    taken: list[_Taken] = field(default_factory=list)
    kept: dict[int, bytes] = field(default_factory=dict)
    latest: tuple[int, bytes] | None = None
    covered: int = 0


class BundleMaker:
    """Puts a bundle together: `leaf` for each entry of the log in order, `checkpoint` for each in order, then `made`.

    Args:
        trust: the trusted keys; of those that are pinned a copy is included.
        witness_policy: the witness policy's file; None where there is none, and then there are no proofs.
        statements: root statement and trust log of the keys that have credentials, as lines; they are included.

    Attributes:
        records: how many were taken.

    Raises:
        PolicyFileInvalid: the witness policy is not of its form.
    """

    def __init__(
        self,
        trust: Trust,
        witness_policy: bytes | None,
        *,
        statements: tuple[bytes, Sequence[bytes]] | None = None,
    ) -> None:
        self._trust = trust
        self._statements = statements
        self._witness_policy = witness_policy
        self._history = None if witness_policy is None else History(parse_policy(witness_policy))
        self._topic: str | None = None
        self._partitions: dict[int, _Partition] = {}
        self.records = 0

    @property
    def has_policy(self) -> bool:
        """Whether checkpoints can be taken."""
        return self._history is not None

    @property
    def digests(self) -> frozenset[str]:
        """The digests of the policy bundles under which the taken records were judged."""
        taken = (one.digest for each in self._partitions.values() for one in each.taken)
        return frozenset(digest for digest in taken if digest is not None)

    def leaf(
        self,
        entry: LogEntry,
        record: DecisionRecord | None,
        *,
        disclosures: Iterable[Disclosure] | None = None,
    ) -> None:
        """Take the next entry of the log.

        Args:
            entry: the entry.
            record: what it says, where it is asked for; None where it only is a leaf.
            disclosures: of a veiled record, where they are to be included.

        Raises:
            BundleInvalid: too many are asked for, or the entries are of two topics.
        """
        self._topic = self._topic or entry.topic
        if entry.topic != self._topic:
            raise BundleInvalid(f"got a record of the topic {entry.topic!r}, expected all of {self._topic!r}")
        partition = self._partitions.setdefault(entry.partition, _Partition())
        index = partition.tree.append(entry.leaf())
        if record is not None:
            self.records += 1
            if self.records > bundle.MAX_RECORDS:
                raise BundleInvalid(
                    f"got more than {bundle.MAX_RECORDS} records for one bundle; choose fewer, by time for example"
                )
            digest = record.policy.digest if record.policy is not None else None
            disclosed = None if disclosures is None else print_disclosures(disclosures)
            partition.taken.append(_Taken(index, entry, record.decision_id, digest, disclosed))

    def checkpoint(self, signed: bytes) -> None:
        """Take the next checkpoint; one of more leaves than were read is passed over.

        Raises:
            AuditError: it is not what the witness policy allows, or the records do not have its root.
        """
        if self._history is None:
            raise BundleInvalid("got a checkpoint without a witness policy, which says what it is worth")
        head = self._history.add(signed)
        partition = None if head is None else self._partitions.get(head.partition)
        if head is None or partition is None or not 0 < head.size <= partition.tree.size:
            return
        if partition.tree.root(head.size) != head.root:
            raise ProofInvalid(
                f"the first {head.size} records of partition {head.partition} do not have the root that was witnessed:"
                " the log was rewritten, or is not whole; `jurat audit verify` says more"
            )
        partition.latest = (head.size, signed)
        taken = partition.taken
        while partition.covered < len(taken) and taken[partition.covered].index < head.size:
            partition.covered += 1
            partition.kept[head.size] = signed

    def made(
        self, policies: Mapping[str, Mapping[str, bytes]], *, erasures: Iterable[bytes] = ()
    ) -> tuple[bytes, int]:
        """Print the bundle.

        Args:
            policies: files of policy bundles, by digest and path.
            erasures: envelopes of statements of erasures; those of its records are included.

        Returns:
            The zip file, and how many of its records have a proof.

        Raises:
            BundleInvalid: nothing was asked for, or it is too large.
        """
        if self._topic is None or not self.records:
            raise BundleInvalid("got no record for a bundle; ask for others, or for a longer time")
        # A key with a credential would be pinned without end by a trust file.
        pinned = Trust(tuple([key for key in self._trust.keys if key.grant is None]), self._trust.approvers)
        files: dict[str, bytes] = {bundle.TRUST: print_trust(pinned)}
        if self._statements is not None:
            root, log = self._statements
            files[bundle.TRUST_ROOT] = root + b"\n"
            files[bundle.TRUST_LOG] = b"".join([line + b"\n" for line in log])
        if self._witness_policy is not None:
            files[bundle.WITNESS_POLICY] = self._witness_policy
        listed: list[bundle.Listed] = []
        for number, partition in self._partitions.items():
            files |= _checkpoints(number, partition)
            sizes = sorted(partition.kept)
            for one in partition.taken:
                listed.append(bundle.Listed(one.name, number, one.entry.offset, one.index))
                files |= self._record(one)
                at = bisect_right(sizes, one.index)
                if at < len(sizes):  # the earliest checkpoint with this leaf in it
                    files[bundle.proof_file(one.name)] = _proof(one, partition, sizes[at])
        taken = {one.decision_id for partition in self._partitions.values() for one in partition.taken}
        stated = sorted({one for one in erasures if not taken.isdisjoint(check_form(one)[0].decisions)})
        if stated:
            files[bundle.ERASURES] = b"".join([one + b"\n" for one in stated])
        for digest, contents in policies.items():
            files |= {f"policies/{digest}/{path}": data for path, data in contents.items()}
        proved = [one.name for one in listed if bundle.proof_file(one.name) in files]
        files[bundle.RECIPE] = recipe(
            next(iter(sorted(proved)), listed[0].name), proved=bool(proved)
        ).encode()
        return bundle.write(self._topic, listed, files), len(proved)

    def _record(self, one: _Taken) -> dict[str, bytes]:
        """A record's envelope, and its key for reading."""
        envelope = one.entry.record
        signature = envelope.signatures[0]
        files = {
            bundle.envelope_file(one.name): dsse.print_envelope(
                envelope.payload, payload_type=envelope.payload_type, signatures=(signature,)
            )
        }
        if one.disclosures is not None:
            files[bundle.disclosures_file(one.name)] = one.disclosures
        if signature.keyid in self._trust.by_keyid:
            pem = public_pem(did_key.decode(signature.keyid))
            files[f"{bundle.KEYS}{signature.keyid.removeprefix('did:key:')}.pem"] = pem
        return files


def _proof(one: _Taken, partition: _Partition, size: int) -> bytes:
    hashes = tuple(partition.tree.inclusion(one.index, size))
    return TlogProof(one.index, hashes, partition.kept[size]).print()


def _checkpoints(number: int, partition: _Partition) -> dict[str, bytes]:
    """The checkpoints that are needed and the latest, each tied to the next."""
    heads = dict(partition.kept)
    if heads and partition.latest is not None:
        size, signed = partition.latest
        heads.setdefault(size, signed)
    sizes = sorted(heads)
    files = {bundle.checkpoint_file(number, size): heads[size] for size in sizes}
    for size1, size2 in pairwise(sizes):
        proof = partition.tree.consistency(size1, size2)
        files[bundle.consistency_file(number, size1, size2)] = bundle.print_hashes(proof)
    return files
