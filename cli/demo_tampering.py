"""Copies of an exported log, each tampered with in one way, and where the verifier has to find it.

Rules upheld here: the forger is a good one (sums, offsets and forms are mended, so that only what is proven can
give the copy away); the place where it shows is said before the verifier is asked. Nothing is read or written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jurat.audit import export
from jurat.audit.log import LogEntry, Place
from jurat.audit.record import DecisionRecord, Outcome, Statement, build, format_time, parse
from jurat.audit.verifier_report import LogVerdict
from jurat.schemas.codec import SchemaIds, decode, encode
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError

CUT = 3
"""Records cut off at the end."""

BACKDATED = timedelta(days=1)
LEAST_CHAIN = 3
"""Records that a chain needs for a first, a middle and a last one."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A tampered copy.

    Attributes:
        what: what was done, as a sentence's beginning.
        entries: the log's records.
        decisions: the lines of the decision export.
        shows_at: where the verifier has to find it; without an offset where something is missing at the end.
        only_by_heads: the copy is consistent in itself: only heads noted before can tell.
    """

    what: str
    entries: Sequence[LogEntry]
    decisions: Sequence[bytes]
    shows_at: Place
    only_by_heads: bool = False

    def missed(self, verdict: str, named: Place) -> str | None:
        """What is wrong with a verifier's answer; None when it is INVALID, at the right place."""
        if verdict == LogVerdict.INVALID and named == self.shows_at:
            return None
        return f"{self.what}: got {verdict} at {named}, expected INVALID at {self.shows_at}"


class Log:
    """An honest log with its decision events, and the ways to tamper with a copy.

    Args:
        entries: the records in the order of the export.
        decisions: the lines of the decision export.
        ids: a Schema Registry's ids, if one is configured.

    Raises:
        ConfigurationError: too few records to tamper with the middle of a chain.
    """

    def __init__(
        self, entries: Sequence[LogEntry], decisions: Sequence[bytes], *, ids: SchemaIds | None = None
    ) -> None:
        self._entries = list(entries)
        self._decisions = list(decisions)
        self._ids = ids
        self._statements = [parse(entry.record.payload) for entry in entries]
        chains: defaultdict[str, list[int]] = defaultdict(list)
        for number, statement in enumerate(self._statements):
            chains[statement.predicate.chain].append(number)
        self._chain = max(chains.values(), key=len, default=[])
        if len(self._chain) < LEAST_CHAIN:
            raise ConfigurationError(
                f"got a longest chain of {len(self._chain)} records, expected {LEAST_CHAIN}: simulate more orders"
            )

    def with_a_verdict_changed(self) -> Copy:
        """A signed record says that something else was decided; its signature is the old one."""
        number = self._a_judged_one()
        statement = self._statements[number]
        was = statement.predicate
        outcome = Outcome.DECIDED if was.outcome is not Outcome.DECIDED else Outcome.DENIED
        payload = _print(statement, was.model_copy(update={"outcome": outcome}))
        record = self._entries[number].record.model_copy(update={"payload": payload})
        what = f"the record at {_at(self._entries[number])} says `{outcome}` instead of `{was.outcome}`"
        return self._with_records(what, {number: record}, number)

    def with_a_record_deleted(self) -> Copy:
        """The middle record of a chain is gone; it shows at the one that followed it."""
        middle = len(self._chain) // 2
        gone, follower = self._chain[middle], self._chain[middle + 1]
        kept = [entry for number, entry in enumerate(self._entries) if number != gone]
        return Copy(
            f"the record at {_at(self._entries[gone])} is deleted",
            kept,
            self._decisions,
            _place(self._entries[follower]),
        )

    def with_two_swapped(self) -> Copy:
        """Two neighbours of a chain take each other's place, offsets mended."""
        first, second = self._chain[0], self._chain[1]
        records = {first: self._entries[second].record, second: self._entries[first].record}
        what = f"the records at {_at(self._entries[first])} and {_at(self._entries[second])} are swapped"
        return self._with_records(what, records, first)

    def with_a_decision_changed(self) -> Copy:
        """A decision event says `allow`, or what it did not say; it shows at the record that proves it."""
        number = self._a_judged_one()
        digest = self._statements[number].subject[0].name
        for place, line in enumerate(self._decisions):
            topic, partition, offset, value = export.parse_decision(line, place + 1)
            event = decode(value, expected=Decision, ids=self._ids)
            if isinstance(event, Decision) and event.id == digest:
                verdict = Verdict.ALLOW if event.verdict is not Verdict.ALLOW else Verdict.DENY
                forged = encode(event.model_copy(update={"verdict": verdict}), ids=self._ids)
                lines = list(self._decisions)
                lines[place] = export.print_decision(topic, partition, offset, value=forged)
                return Copy(
                    f"a decision event on {topic} says `{verdict}` instead of `{event.verdict}`",
                    self._entries,
                    lines,
                    _place(self._entries[number]),
                )
        raise ConfigurationError(f"got no decision event {digest}, expected one beside its record")

    def with_the_end_cut_off(self) -> Copy:
        """The last records of a partition are gone, and nothing that is left says so."""
        partition = self._entries[self._chain[-1]].partition
        numbers = [number for number, entry in enumerate(self._entries) if entry.partition == partition]
        gone = set(numbers[-CUT:])
        kept = [entry for number, entry in enumerate(self._entries) if number not in gone]
        return Copy(
            f"the last {len(gone)} records of partition {partition} are cut off",
            kept,
            (),
            Place(self._entries[0].topic, partition),
            only_by_heads=True,
        )

    def unsigned_rewrite(self) -> tuple[int, bytes]:
        """The number of a chain's last record, and what an insider would sign in its place: an earlier time."""
        last = self._chain[-1]
        statement = self._statements[last]
        time = format_time(datetime.fromisoformat(statement.predicate.time) - BACKDATED)
        return last, _print(statement, statement.predicate.model_copy(update={"time": time}))

    def with_a_rewrite(self, number: int, record: SignedRecord) -> Copy:
        """A record replaced by one that its own agent's key signed: only a head noted before can tell."""
        at = max(n for n, e in enumerate(self._entries) if e.partition == self._entries[number].partition)
        what = f"the record at {_at(self._entries[number])} is backdated, and signed anew with the agent's own key"
        copy = self._with_records(what, {number: record}, at)
        return replace(copy, decisions=(), only_by_heads=True)

    def agent_of(self, number: int) -> str:
        """The agent of a record."""
        return self._statements[number].predicate.agent

    def _a_judged_one(self) -> int:
        """A record from the middle of the log, an escalated or denied one where there is one."""
        judged = [n for n, s in enumerate(self._statements) if s.predicate.outcome.has_decision]
        wanted = [n for n in judged if self._statements[n].predicate.outcome is not Outcome.DECIDED] or judged
        if not wanted:
            raise ConfigurationError("got a log without any decision: simulate more orders")
        return wanted[len(wanted) // 2]

    def _with_records(self, what: str, records: dict[int, SignedRecord], shows_at: int) -> Copy:
        entries = [
            replace(entry, record=records[number]) if number in records else entry
            for number, entry in enumerate(self._entries)
        ]
        return Copy(what, entries, self._decisions, _place(self._entries[shows_at]))


def _at(entry: LogEntry) -> str:
    return f"partition {entry.partition}, offset {entry.offset}"


def _place(entry: LogEntry) -> Place:
    return Place(entry.topic, entry.partition, entry.offset)


def _print(statement: Statement, record: DecisionRecord) -> bytes:
    """The payload of another record about the same, in its one form."""
    subject = statement.subject[0]
    return build(record, subject.name, subject.digest.sha256)
