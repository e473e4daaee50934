"""The verifier: reads a log entry by entry, in bounded memory, and says whether it holds. Pure.

Checks, for each entry in the order of the log:

1. it is of the same topic as the others, and its offset is above the one before it in its partition;
2. its leaf is added to its partition's tree, and a head noted earlier is met when the tree has that size;
3. so is a head that witnesses vouch for, and one of them covers the entry;
4. the envelope verifies under a trusted key;
5. the payload is a record in its one form and does not contradict itself; a veiled one is unveiled where its
   disclosures are at hand, which must be its own; where only those of others are, it is told; 9, 11, 13 and 14 look at
   what is not disclosed as far as it shows;
6. the record is of the agent that the key speaks for, and of the chain that the envelope names;
7. the chain stays in one partition, `seq` and `prev` follow, and its inputs are of the log's cluster;
8. no input of this chain was recorded before;
9. its approvals prove themselves, and the policies were told of no other;
10. the key held when witnesses saw the record, and for what it says (`standing.py`);
11. the policies say the same of the recorded input again;
12. one that decides again follows an escalated one, and no other has concluded that;
13. the decision event that it names is remembered;
14. what its policies were told was used of budgets is what the earlier records took within their windows;
15. its input is remembered.

At the end, 2, 3: every head was met; 13: decision events and records have each other; 15: every input has a record, and
of every chain the inputs are known. Where what a check needs beside the log was not given, the report says so.

Nothing ends the reading: everything is counted, and the first finding of each verdict is named. Memory: at most two
bits per input, the right edge of each tree, what budgets' windows hold, the heads, and a ledger of decisions that is
given. `verifier_record.py` has 4 to 6 and 9 to 11, which need one record alone; `verifier_chain.py` 7, 8, 12 and 15.

Not here: reading logs, sharing the work among processes (`jurat.cli.audit_jobs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from jurat.audit import standing as standings
from jurat.audit.disclosure_reader import Unveiler, VeilCounts
from jurat.audit.history import History
from jurat.audit.input_manifest import InputsHeld
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, LogEntry, Place, TreeHead, WitnessedHead
from jurat.audit.merkle import Frontier
from jurat.audit.record import Outcome
from jurat.audit.standing import Standing
from jurat.audit.usage import UsageLedger
from jurat.audit.verifier_chain import Chains
from jurat.audit.verifier_heads import Heads, Times
from jurat.audit.verifier_record import LIFTED, SAME, Examined, Examiner, Facts, Rejudge, StandingOf
from jurat.audit.verifier_report import (
    Check,
    Evaluated,
    Findings,
    InputsChecked,
    LogVerdict,
    Report,
    left_out,
    no_checkpoint,
    not_run,
)
from jurat.schemas.errors import AuditError, RecordInvalid, UsageWrong
from jurat.schemas.moments import parse_moment

MAX_REASONS = 100
"""Reasons for which policies were not evaluated again that are counted apart; a bundle's digest makes one."""

_OTHER_REASONS = "other reasons"

# Under names of their own: Python 3.11 takes longer to find a member in its enum than for most of what is checked here.
_ORDER, _TREE, _WITNESSED, _GOOD = Check.ORDER, Check.TREE, Check.WITNESSED, Standing.GOOD
_CHAIN, _ONCE, _CONCLUSION, _SUSPECT = Check.CHAIN, Check.ONCE, Check.CONCLUSION, Standing.SUSPECT


@dataclass(slots=True)
class _Partition:
    tree: Frontier = field(default_factory=Frontier)
    last_offset: int | None = None


class Verifier:
    """Verifies one log. Feed it with `add`, then with `add_inputs` where inputs are known, then ask for the `report`.

    Args:
        trust: the trusted keys.
        tree_heads: heads noted earlier.
        ledger: decision events, which may also be added later; None where they are not checked.
        witnessed: the heads that a quorum of witnesses vouched for; None without a witness policy.
        rejudge: evaluates policies again; None where none are given.
        standing: what signatures are worth.
        unveiler: lifts the veils of veiled records; by default, no disclosures are at hand.
        with_inputs: whether inputs are compared, even where none turn up.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        tree_heads: Iterable[TreeHead] = (),
        ledger: DecisionLedger | None = None,
        witnessed: Iterable[WitnessedHead] | None = None,
        rejudge: Rejudge | None = None,
        standing: StandingOf = standings.standing,
        unveiler: Unveiler | None = None,
        with_inputs: bool = False,
    ) -> None:
        noted = tuple(tree_heads)
        seen = None if witnessed is None else tuple(witnessed)
        self._unveiler = unveiler or Unveiler()
        self._examiner = Examiner(trust, rejudge=rejudge, standing=standing, unveiler=self._unveiler)
        self._disclosed = self._erased = self._withheld = 0
        self._ledger = ledger
        self._noted = Heads(noted, check=Check.TREE, story="somebody noted earlier")
        self._witnessed = Heads(seen or (), check=Check.WITNESSED, story="witnesses vouch for")
        self._times = None if seen is None else Times(seen)
        self._given = {
            Check.TREE: bool(noted),
            Check.WITNESSED: seen is not None,
            Check.EVALUATED: rejudge is not None,
            Check.DECISIONS: ledger is not None,
        }
        self._topic: str | None = None
        self._until: int | None = None
        self._partitions: dict[int, _Partition] = {}
        self._chains = Chains()
        self._usage = UsageLedger()
        self._findings = Findings()
        self._records = self._covered = self._same = 0
        self._outcomes: Counter[str] = Counter()
        self._agents: Counter[str] = Counter()
        self._not_evaluated: Counter[str] = Counter()
        self._inputs = InputsChecked() if with_inputs else None
        self._ends: dict[str, int] = {}

    @property
    def ledger(self) -> DecisionLedger | None:
        """The decision events; None where they are not checked."""
        return self._ledger

    @property
    def is_witnessed(self) -> bool:
        """Whether heads of witnesses are known, so that entries have a T."""
        return self._times is not None

    def add(self, entry: LogEntry) -> Fault | None:
        """Check the next entry of the log.

        Returns:
            The first thing about it that does not hold.
        """
        return self.take(self._examiner.examine(entry, witnessed_at=self.witnessed_at(entry.partition)))

    def witnessed_at(self, partition: int, *, ahead: int = 0) -> int | None:
        """T of the next entry of a partition, or of one that comes so many entries later."""
        if self._times is None:
            return None
        known = self._partitions.get(partition)
        return self._times.of(partition, (known.tree.size if known else 0) + ahead)

    def take(self, examined: Examined) -> Fault | None:
        """Check the next entry of the log, of which everything is known that it alone can tell.

        Args:
            examined: by an `Examiner` of the same trust, told the `witnessed_at` of this moment.

        Returns:
            The first thing about it that does not hold.
        """
        self._records += 1
        check = _ORDER
        try:
            partition = self._check_order(examined)  # 1
            check = _TREE
            partition.tree.append(examined.leaf)
            self._noted.grown(examined.partition, partition.tree)  # 2
            check = _WITNESSED
            self._witnessed.grown(examined.partition, partition.tree)  # 3
        except AuditError as error:
            return self._invalid(_place(examined), str(error), check)
        facts = examined.facts
        if facts is None:  # 4, 5, 6
            number, reason = examined.refused or (Check.FORM, "it is no record")
            return self._invalid(_place(examined), reason, Check(number))
        self._count_veil(examined, facts)
        fault = self._follow(examined, facts)
        self._tell_unproven(examined, partition.tree.size - 1, facts.standing)
        return fault

    def fault(self, place: Place, reason: str, check: int | None = None) -> None:
        """Note something that does not hold; also for entries that could not be read."""
        self._findings.add(LogVerdict.INVALID, Fault(place, reason, check))

    def add_history(self, history: History) -> None:
        """Note what a history of checkpoints, all read, says of the logs as a whole."""
        self._until = history.witnessed_until()
        for named in history.missing():  # 3
            self._findings.add(LogVerdict.INCOMPLETE, no_checkpoint(named))

    def add_inputs(self, held: InputsHeld) -> None:
        """Compare inputs with the records, which were all added: 15.

        Args:
            held: a stretch of the inputs that an agent has ended with: all of them, up to what it committed, have a
                record. Those of one partition follow one another.

        Raises:
            RecordInvalid: it does not begin where the one before it ended: inputs may be missing between, or twice.
        """
        known = self._inputs or InputsChecked()
        end = self._ends.get(held.chain)
        goes_on = end is not None
        if end not in (None, held.first):
            raise RecordInvalid(
                f"got inputs of {held.chain} from the offset {held.first}, expected them from {end}, where the ones"
                " before ended: a stretch is missing, repeated or out of order"
            )
        self._ends[held.chain] = held.end
        told, missing = self._chains.missing(held)
        self._inputs = InputsChecked(
            partitions=known.partitions + (not goes_on),
            inputs=known.inputs + held.inputs,
            missing=known.missing + missing,
            deleted=known.deleted + (0 if goes_on else held.first),
        )
        if not missing:
            return
        if self._chains.has(held.chain):
            reason = (
                f"{missing} inputs of the agent {held.agent} have no record, the first at the offsets {told}"
            )
        else:
            reason = (
                f"the agent {held.agent} read {missing} inputs of this partition, which has no record at all"
            )
        self._findings.add(
            LogVerdict.INCOMPLETE,
            Fault(Place(held.topic, held.partition, told[0]), reason, Check.INPUTS.value),
            count=missing,
        )

    def report(self) -> Report:
        """Close the log and say what it is worth."""
        sizes = {number: partition.tree.size for number, partition in self._partitions.items()}
        for heads in (self._noted, self._witnessed):  # 2, 3
            for fault in heads.faults(self._topic, sizes):
                self._findings.add(LogVerdict.INVALID, fault)
        if self._ledger is not None:  # 13
            for fault in self._ledger.faults():
                self._findings.add(
                    LogVerdict.INVALID, Fault(fault.place, fault.reason, Check.DECISIONS.value)
                )
        if not self._records:
            self._findings.add(
                LogVerdict.UNPROVEN, Fault(Place(), "the log is empty: there is nothing to prove")
            )
        inputs = self._inputs
        if inputs is not None:  # 15
            for name in sorted(self._chains.names() - self._ends.keys()):
                reason = (
                    f"no inputs of the chain {name} were given, so nobody knows whether each has a record"
                )
                self._findings.add(LogVerdict.UNPROVEN, Fault(Place(), reason, Check.INPUTS.value))
        given = {check for check, is_given in self._given.items() if is_given}
        return Report(
            records=self._records,
            findings=self._findings.all(),
            outcomes=dict(sorted(self._outcomes.items())),
            agents=dict(sorted(self._agents.items())),
            tree_heads=tuple(
                TreeHead(number, partition.tree.size, partition.tree.root())
                for number, partition in sorted(self._partitions.items())
            ),
            decisions=None if self._ledger is None else self._ledger.events,
            not_run=not_run(given | ({Check.INPUTS} if inputs is not None else set())),
            witnessed=None if self._times is None else self._covered,
            witnessed_until=self._until,
            evaluated=Evaluated(same=self._same, not_evaluated=dict(sorted(self._not_evaluated.items())))
            if Check.EVALUATED in given
            else None,
            inputs=None if inputs is None else inputs.with_open(self._chains.open()),
            veiled=VeilCounts(self._disclosed, self._erased, self._withheld),
        )

    def _check_order(self, examined: Examined) -> _Partition:
        partition = self._partitions.get(examined.partition)
        if partition is None:
            partition = self._partitions[examined.partition] = _Partition()
        last, partition.last_offset = partition.last_offset, examined.offset
        self._topic = self._topic or examined.topic
        if examined.topic != self._topic:
            raise RecordInvalid(
                f"got a record of the topic {examined.topic!r}, expected all of {self._topic!r}"
            )
        if last is not None and examined.offset <= last:
            raise RecordInvalid(
                f"got the offset {examined.offset} after {last}, expected rising offsets in a partition"
            )
        return partition

    def _follow(self, examined: Examined, facts: Facts) -> Fault | None:
        """What the record says, after the earlier ones: 7 to 15."""
        check = _CHAIN
        try:
            chain = self._chains.follow(examined.partition, facts)  # 7
            check = _ONCE
            chain.take(facts.offset)  # 8, 15
            if facts.wrong:  # 9, 10, 11
                check, reason = Check(facts.wrong[0][0]), facts.wrong[0][1]
                raise RecordInvalid(reason)
            check = _CONCLUSION
            self._chains.conclude(facts)  # 12
        except AuditError as error:
            self._usage.broken(facts.agent, facts.partition, at=parse_moment(facts.time))
            with suppress(UsageWrong):
                self._check_usage(facts)
            return self._invalid(_place(examined), str(error), check)
        if self._ledger is not None and facts.outcome.has_decision:
            self._remember(self._ledger, examined, facts)  # 13
        try:
            self._check_usage(facts)  # 14
        except UsageWrong as error:
            return self._invalid(_place(examined), str(error), Check.BUDGETS)
        self._count(facts)
        return None

    def _remember(self, ledger: DecisionLedger, examined: Examined, facts: Facts) -> None:
        if not facts.veil:
            ledger.add_record(_place(examined), facts.subject)
        elif facts.veil in self._unveiler.erased:
            ledger.add_erased()
        else:
            ledger.add_withheld()

    def _count_veil(self, examined: Examined, facts: Facts) -> None:
        if facts.veil == LIFTED:
            self._disclosed += 1
        elif facts.veil is not None and facts.veil in self._unveiler.erased:
            self._erased += 1
        elif facts.veil is not None:
            self._withheld += 1
            if self._unveiler.disclosed is not None:
                self._findings.add(LogVerdict.UNPROVEN, left_out(_place(examined)))

    def _check_usage(self, facts: Facts) -> None:
        if facts.veil and any(used.key is not None for used in facts.budgets):
            # Whose budget it took of is not known, so what this key's windows hold is not either.
            self._usage.broken(facts.agent, facts.partition, at=parse_moment(facts.time))
            return
        if facts.budgets:
            self._usage.add(
                facts.budgets,
                agent=facts.agent,
                partition=facts.partition,
                at=parse_moment(facts.time),
                judged_last=facts.outcome is not Outcome.DENIED,
            )

    def _count(self, facts: Facts) -> None:
        self._outcomes[facts.outcome.value] += 1
        self._agents[facts.agent] += 1
        why = facts.again
        if why == SAME:
            self._same += 1
        elif why is not None:
            is_known = why in self._not_evaluated or len(self._not_evaluated) < MAX_REASONS
            self._not_evaluated[why if is_known else _OTHER_REASONS] += 1

    def _tell_unproven(self, examined: Examined, index: int, standing: Standing) -> None:
        if standing is _SUSPECT:
            reason = "somebody else may have had the key of its agent when witnesses saw it"
            self._findings.add(LogVerdict.SUSPECT, Fault(_place(examined), reason, Check.STANDING.value))
        if self._times is None and standing is _GOOD:
            return
        is_covered = self._times is not None and self._times.covers(examined.partition, index)
        self._covered += is_covered
        if self._times is not None and not is_covered:
            reason = "no witnessed checkpoint covers it yet"
            self._findings.add(LogVerdict.UNPROVEN, Fault(_place(examined), reason, Check.WITNESSED.value))
        elif standing is Standing.UNPROVEN:
            reason = "no witness tells when it was signed, so nobody knows whether its key held"
            self._findings.add(LogVerdict.UNPROVEN, Fault(_place(examined), reason, Check.STANDING.value))

    def _invalid(self, place: Place, reason: str, check: Check) -> Fault:
        fault = Fault(place, reason, check.value)
        self._findings.add(LogVerdict.INVALID, fault)
        return fault


def _place(examined: Examined) -> Place:
    return Place(examined.topic, examined.partition, examined.offset, examined.line)
