"""The verifier: reads a log entry by entry, in bounded memory, and says whether it holds. Pure.

Checks, for each entry in the order of the log:

1. it is of the same topic as the others, and its offset is above the one before it in its partition;
2. its leaf is added to its partition's tree, and a head noted earlier is met when the tree has that size;
3. the envelope verifies under a trusted key;
4. the payload is a record in its one form and does not contradict itself; a veiled one is unveiled where its
   disclosures are at hand, and where not, 8, 10 and 11 look at it as far as it shows;
5. the record is of the agent that the key speaks for, and of the chain that the envelope names;
6. the chain stays in one partition, and `seq` and `prev` follow;
7. no input of this chain was recorded before;
8. its approvals prove themselves, and the policies were told of no other;
9. one that decides again follows an escalated one, and no other has concluded that;
10. the decision event that it names is remembered, where decisions are checked;
11. what its policies were told was used of budgets is what the earlier records took within their windows.

At the end: 12. every head noted earlier was met; 13. decision events and records have each other, where they
are checked.

A fault does not stop the reading: everything is counted and the first fault is named. Memory: at most two
bits per input, the right edge of each tree and what budgets' windows hold, beside the ledger of decisions where one
is given.

Verdicts: `VALID`; `INVALID`, something does not hold; `UNPROVEN`, nothing is wrong, but there was nothing to
prove. Not here: whether a log was cut at its end, unless a head or the decisions are given; whether inputs
are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from jurat.audit import dsse
from jurat.audit.approval import check_recorded
from jurat.audit.chain import ChainHead, check_link
from jurat.audit.coordinates import chain_name, parse_uri
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler, VeilCounts
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, LogEntry, Place, TreeHead
from jurat.audit.merkle import EMPTY_ROOT, Frontier
from jurat.audit.record import DecisionRecord, Outcome, Statement, concluded
from jurat.audit.usage import UsageLedger
from jurat.schemas.errors import AuditError, ChainBroken, ProofInvalid, RecordInvalid, UsageWrong
from jurat.schemas.moments import parse_moment

PAGE_BITS = 4096
"""Inputs are remembered in pages of this many bits: 512 bytes, so that far-apart offsets cost little."""


class LogVerdict(StrEnum):
    """What the verifier says of a log."""

    VALID = "VALID"
    INVALID = "INVALID"
    UNPROVEN = "UNPROVEN"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a verification."""

    verdict: LogVerdict
    records: int
    faults: int
    first_fault: Fault | None
    outcomes: dict[str, int]
    agents: dict[str, int]
    tree_heads: tuple[TreeHead, ...]
    decisions: int | None
    veiled: VeilCounts

    def to_json(self) -> dict[str, object]:
        """The report as JSON types, as `jurat audit verify --json` prints it."""
        first = self.first_fault
        place = first.place if first else None
        return {
            "verdict": self.verdict.value,
            "records": self.records,
            "faults": self.faults,
            "firstFault": None
            if first is None or place is None
            else {
                "topic": place.topic,
                "partition": place.partition,
                "offset": place.offset,
                "line": place.line,
                "reason": first.reason,
            },
            "outcomes": self.outcomes,
            "agents": self.agents,
            "treeHeads": [str(head) for head in self.tree_heads],
            "decisions": self.decisions,
            "veiled": {
                "disclosed": self.veiled.disclosed,
                "erased": self.veiled.erased,
                "withheld": self.veiled.withheld,
            },
        }


class OffsetSet:
    """Offsets of one chain's inputs: one bit each."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def __contains__(self, offset: int) -> bool:
        number, bit = divmod(offset, PAGE_BITS)
        page = self._pages.get(number)
        return page is not None and bool(page[bit >> 3] & 1 << (bit & 7))

    def add(self, offset: int) -> None:
        """Take an offset in."""
        number, bit = divmod(offset, PAGE_BITS)
        self._pages.setdefault(number, bytearray(PAGE_BITS // 8))[bit >> 3] |= 1 << (bit & 7)

    def discard(self, offset: int) -> None:
        """Leave an offset out."""
        number, bit = divmod(offset, PAGE_BITS)
        page = self._pages.get(number)
        if page is not None:
            page[bit >> 3] &= ~(1 << (bit & 7))
            if not any(page):
                del self._pages[number]


@dataclass(slots=True)
class _Chain:
    partition: int
    head: ChainHead = field(default_factory=ChainHead)
    seen: OffsetSet = field(default_factory=OffsetSet)
    """Offsets of inputs that have a record."""
    escalated: OffsetSet = field(default_factory=OffsetSet)
    """Offsets of inputs that were escalated and not concluded since: dry runs, which a record does not tell from
    others, never are."""


@dataclass(slots=True)
class _Partition:
    tree: Frontier = field(default_factory=Frontier)
    last_offset: int | None = None


class Verifier:
    """Verifies one log. Feed it with `add`, then ask for the `report`."""

    def __init__(
        self,
        trust: Trust,
        *,
        tree_heads: Iterable[TreeHead] = (),
        ledger: DecisionLedger | None = None,
        unveiler: Unveiler | None = None,
    ) -> None:
        self._trust = trust
        self._unveiler = unveiler or Unveiler()
        self._ledger = ledger
        self._noted: dict[tuple[int, int], set[bytes]] = {}
        for head in tree_heads:
            self._noted.setdefault((head.partition, head.size), set()).add(head.root)
        self._topic: str | None = None
        self._partitions: dict[int, _Partition] = {}
        self._chains: dict[str, _Chain] = {}
        self._records = 0
        self._faults = 0
        self._first_fault: Fault | None = None
        self._outcomes: Counter[str] = Counter()
        self._agents: Counter[str] = Counter()
        self._usage = UsageLedger()
        self._is_met: set[tuple[int, int]] = set()

    def add(self, entry: LogEntry) -> Statement | None:
        """Check the next entry of the log.

        Returns:
            The verified statement; None where something about the entry does not hold.
        """
        checked = self.check(entry)
        return None if isinstance(checked, Fault) else checked

    def check(self, entry: LogEntry) -> Statement | Fault:
        """Check the next entry of the log, like `add`.

        Returns:
            The verified statement, or the first thing about this entry that does not hold.
        """
        self._records += 1
        try:
            self._check_order(entry)  # 1
            self._grow_tree(entry)  # 2
            return self._check_record(entry)  # 3 to 11
        except AuditError as error:
            self.fault(entry.place, str(error))
            return Fault(entry.place, str(error))

    def fault(self, place: Place, reason: str) -> None:
        """Note something that does not hold; also for entries that could not be read at all."""
        self._faults += 1
        if self._first_fault is None:
            self._first_fault = Fault(place, reason)

    def report(self) -> Report:
        """Close the log and say what it is worth."""
        # 12
        for (partition, size), roots in sorted(self._noted.items()):
            if size == 0 and roots == {EMPTY_ROOT}:
                continue
            if (partition, size) not in self._is_met:
                held = self._partitions[partition].tree.size if partition in self._partitions else 0
                self.fault(
                    Place(self._topic, partition),
                    f"a head of {size} records was noted earlier, but the log holds {held}: its end was cut"
                    " off",
                )
        # 13
        if self._ledger is not None:
            for fault in self._ledger.faults():
                self.fault(fault.place, fault.reason)
        if self._faults:
            verdict = LogVerdict.INVALID
        elif self._records == 0:
            verdict = LogVerdict.UNPROVEN
        else:
            verdict = LogVerdict.VALID
        return Report(
            verdict=verdict,
            records=self._records,
            faults=self._faults,
            first_fault=self._first_fault,
            outcomes=dict(sorted(self._outcomes.items())),
            agents=dict(sorted(self._agents.items())),
            tree_heads=tuple(
                TreeHead(number, partition.tree.size, partition.tree.root())
                for number, partition in sorted(self._partitions.items())
            ),
            decisions=None if self._ledger is None else self._ledger.events,
            veiled=self._unveiler.counts,
        )

    def _check_order(self, entry: LogEntry) -> None:
        partition = self._partitions.setdefault(entry.partition, _Partition())
        last, partition.last_offset = partition.last_offset, entry.offset
        self._topic = self._topic or entry.topic
        if entry.topic != self._topic:
            raise RecordInvalid(f"got a record of the topic {entry.topic!r}, expected all of {self._topic!r}")
        if last is not None and entry.offset <= last:
            raise RecordInvalid(
                f"got the offset {entry.offset} after {last}, expected rising offsets in a partition"
            )

    def _grow_tree(self, entry: LogEntry) -> None:
        tree = self._partitions[entry.partition].tree
        tree.append(entry.leaf())
        noted = self._noted.get((entry.partition, tree.size))
        if noted is None:
            return
        self._is_met.add((entry.partition, tree.size))
        root = tree.root()
        if noted != {root}:
            raise ProofInvalid(
                f"the first {tree.size} records have the root {root.hex()}, but another one was noted"
                " earlier:"
                " the log was rewritten"
            )

    def _check_record(self, entry: LogEntry) -> Statement:
        # 3
        verified = dsse.verify(entry.record, self._trust)
        # 4
        statement = self._unveiler.lift(parse_any(verified.payload))
        record = statement.predicate
        # 5
        if record.agent != verified.key.agent:
            raise RecordInvalid(
                f"got a record of the agent {record.agent!r} signed by the key of {verified.key.agent!r}",
                keyid=verified.key.keyid,
            )
        if entry.record.chain != record.chain:
            raise RecordInvalid(
                f"got the chain {entry.record.chain[:200]!r} outside, expected {record.chain!r}"
            )
        try:
            # 6 and 7
            self._check_chain(entry, record)
            # 8
            if not statement.is_veiled:
                check_recorded(record, self._trust)
            # 9
            self._check_conclusion(record)
        except AuditError:
            self._usage.broken(record.agent, _partition(record), at=parse_moment(record.time))
            with suppress(UsageWrong):
                self._check_usage(statement)
            raise
        # 10
        if self._ledger is not None and record.outcome.has_decision:
            self._ledger.add_statement(entry.place, statement, erased=self._unveiler.erased)
        # 11
        self._check_usage(statement)
        self._outcomes[record.outcome.value] += 1
        self._agents[record.agent] += 1
        return statement

    def _check_usage(self, statement: Statement) -> None:
        record = statement.predicate
        if record.policy is not None and record.policy.budgets:
            if statement.is_veiled and any(used.key is not None for used in record.policy.budgets):
                # Whose budget it took of is not known, so what this key's windows hold is not either.
                self._usage.broken(record.agent, _partition(record), at=parse_moment(record.time))
                return
            self._usage.add(
                record.policy.budgets,
                agent=record.agent,
                partition=_partition(record),
                at=parse_moment(record.time),
                judged_last=record.outcome is not Outcome.DENIED,
            )

    def _check_chain(self, entry: LogEntry, record: DecisionRecord) -> None:
        chain = self._chains.setdefault(record.chain, _Chain(entry.partition))
        if entry.partition != chain.partition:
            raise ChainBroken(
                f"the chain {record.chain} stands in partition {chain.partition}, got a record of it in"
                " another"
            )
        expected = chain.head
        # After a break the chain is followed from here, so that one missing record is one fault.
        chain.head = ChainHead(record.seq, record.prev).extend(entry.record.payload)
        check_link(expected, record)
        offset = parse_uri(record.inputs[0].uri).offset
        if offset in chain.seen:
            raise ChainBroken(
                f"the input at offset {offset} has a record already, expected one for each input"
            )
        chain.seen.add(offset)

    def _check_conclusion(self, record: DecisionRecord) -> None:
        at = parse_uri(record.inputs[0].uri)
        request = concluded(record)
        if request is None:
            if record.outcome is Outcome.ESCALATED:
                self._chains[record.chain].escalated.add(at.offset)
            return
        if not record.outcome.has_decision:
            return
        first = self._chains.get(chain_name(record.agent, request.topic, request.partition))
        if first is None or request.offset not in first.escalated:
            raise ChainBroken(
                f"got a record that decides {request.uri()} again, which was not escalated before, or was concluded"
                " already"
            )
        if record.outcome is not Outcome.ESCALATED:
            first.escalated.discard(request.offset)


def _partition(record: DecisionRecord) -> int:
    return parse_uri(record.inputs[0].uri).partition
