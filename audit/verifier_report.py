"""What the verifier says: verdicts, the checks by number, and the report with what was found. Pure.

Rules upheld here: the worst finding is the verdict; every verdict but `VALID` has a finding that names the first place
and the reason; every check has a number, and is told as run or as not run and why, so that a report never claims more
than was looked at.

Not here: the checks themselves (`verifier.py`, `verifier_record.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Final

from jurat.audit.disclosure_reader import VeilCounts
from jurat.audit.log import Fault, Place, TreeHead
from jurat.audit.origin import Origin


class LogVerdict(StrEnum):
    """What the verifier says of a log, the worst last.

    `UNPROVEN`: nothing is wrong, but there was nothing to prove, no witness vouches for it yet, or disclosures were
    given and some of them left out. `INCOMPLETE`: an input has no record.
    `SUSPECT`: somebody else may have had a key when it signed. `INVALID`: something does not hold.
    """

    VALID = "VALID"
    UNPROVEN = "UNPROVEN"
    INCOMPLETE = "INCOMPLETE"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


WORST_FIRST: Final = (LogVerdict.INVALID, LogVerdict.SUSPECT, LogVerdict.INCOMPLETE, LogVerdict.UNPROVEN)
"""Every verdict that needs a finding."""


class Check(IntEnum):
    """The checks, by the numbers that stand in `verifier.py`."""

    ORDER = 1
    TREE = 2
    WITNESSED = 3
    SIGNATURE = 4
    FORM = 5
    AGENT = 6
    CHAIN = 7
    ONCE = 8
    APPROVALS = 9
    STANDING = 10
    EVALUATED = 11
    CONCLUSION = 12
    DECISIONS = 13
    BUDGETS = 14
    INPUTS = 15


TITLES: Final[Mapping[Check, str]] = {
    Check.ORDER: "offsets rise in each partition of one topic",
    Check.TREE: "tree heads noted earlier are met",
    Check.WITNESSED: "witnessed checkpoints are met, and cover every record",
    Check.SIGNATURE: "every record is signed by a trusted key",
    Check.FORM: "every record is in its one form and does not contradict itself",
    Check.AGENT: "the key speaks for the agent, the envelope for the chain",
    Check.CHAIN: "seq and prev follow, a chain stands in one partition, inputs are of one cluster",
    Check.ONCE: "no input has two records",
    Check.APPROVALS: "approvals prove themselves, and policies were told of no other",
    Check.STANDING: "keys held when witnesses saw the record",
    Check.EVALUATED: "policies say the same again",
    Check.CONCLUSION: "what decides again follows an escalation, once",
    Check.DECISIONS: "decision events and records have each other",
    Check.BUDGETS: "budgets add up",
    Check.INPUTS: "every input has a record",
}

NOT_GIVEN: Final[Mapping[Check, str]] = {
    Check.TREE: "no tree head was given",
    Check.WITNESSED: "no witness policy was given",
    Check.EVALUATED: "no policies were given",
    Check.DECISIONS: "no decision events were given",
    Check.INPUTS: "no inputs were given",
}
"""The checks that need something beside the log and the trusted keys, and why they were not run without it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found for one verdict: how often, and the first of them."""

    verdict: LogVerdict
    count: int
    first: Fault


class Findings:
    """Counts what was found and keeps the first of each verdict."""

    def __init__(self) -> None:
        self._counts: dict[LogVerdict, int] = {}
        self._first: dict[LogVerdict, Fault] = {}

    def add(self, verdict: LogVerdict, fault: Fault, *, count: int = 1) -> None:
        """Note something."""
        self._counts[verdict] = self._counts.get(verdict, 0) + count
        self._first.setdefault(verdict, fault)

    def all(self) -> tuple[Finding, ...]:
        """What was found, the worst first."""
        return tuple(
            Finding(verdict, self._counts[verdict], self._first[verdict])
            for verdict in WORST_FIRST
            if verdict in self._counts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsChecked:
    """What was compared with inputs.

    Attributes:
        partitions: input partitions of agents.
        inputs: that stand there below what the agent committed.
        missing: of them, how many have no record.
        deleted: offsets that Kafka does not hold any more: whether they had records cannot be told.
        open: records that handed a decision to people and were not concluded: they wait, or were dry runs.
    """

    partitions: int = 0
    inputs: int = 0
    missing: int = 0
    deleted: int = 0
    open: int = 0

    def with_open(self, count: int) -> InputsChecked:
        """The same, with how many decisions are open at the log's end."""
        return replace(self, open=count)

    def to_json(self) -> dict[str, object]:
        """As JSON types."""
        return {
            "partitions": self.partitions,
            "inputs": self.inputs,
            "missing": self.missing,
            "deleted": self.deleted,
            "open": self.open,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Of the decisions that policies judged: how many were judged again, and why the others were not."""

    same: int
    not_evaluated: dict[str, int]

    def to_json(self) -> dict[str, object]:
        """As JSON types."""
        return {"same": self.same, "notEvaluated": self.not_evaluated}


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a verification.

    Attributes:
        findings: what was found, the worst first; none where the log is valid.
        not_run: the checks that were not run, and why.
        witnessed: records that a witnessed checkpoint covers; None without a witness policy.
        witnessed_until: seconds since 1970: each log's latest checkpoint was witnessed then or later; None where nobody
            knows.
        veiled: how many records are, and how many of them could be read.
    """

    records: int
    findings: tuple[Finding, ...]
    outcomes: dict[str, int]
    agents: dict[str, int]
    tree_heads: tuple[TreeHead, ...]
    decisions: int | None
    not_run: Mapping[Check, str] = field(default_factory=dict)
    witnessed: int | None = None
    witnessed_until: int | None = None
    evaluated: Evaluated | None = None
    inputs: InputsChecked | None = None
    veiled: VeilCounts = field(default_factory=VeilCounts)
    by_verdict: dict[LogVerdict, Finding] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_verdict", {one.verdict: one for one in self.findings})

    @property
    def verdict(self) -> LogVerdict:
        """The worst of the findings."""
        return self.findings[0].verdict if self.findings else LogVerdict.VALID

    @property
    def faults(self) -> int:
        """How many things do not hold."""
        found = self.by_verdict.get(LogVerdict.INVALID)
        return found.count if found else 0

    @property
    def first_fault(self) -> Fault | None:
        """The first thing that does not hold."""
        found = self.by_verdict.get(LogVerdict.INVALID)
        return found.first if found else None

    def to_json(self) -> dict[str, object]:
        """The report as JSON types, as `jurat audit verify --json` prints it."""
        return {
            "verdict": self.verdict.value,
            "records": self.records,
            "faults": self.faults,
            "firstFault": _fault(self.first_fault),
            "findings": [
                {
                    "verdict": one.verdict.value,
                    "count": one.count,
                    "check": one.first.check,
                    "first": _fault(one.first),
                }
                for one in self.findings
            ],
            "checks": [
                {
                    "number": check.value,
                    "title": TITLES[check],
                    "run": check not in self.not_run,
                    "why": self.not_run.get(check),
                }
                for check in Check
            ],
            "outcomes": self.outcomes,
            "agents": self.agents,
            "treeHeads": [str(head) for head in self.tree_heads],
            "decisions": self.decisions,
            "witnessed": self.witnessed,
            "witnessedUntil": self.witnessed_until,
            "evaluatedAgain": None if self.evaluated is None else self.evaluated.to_json(),
            "inputs": None if self.inputs is None else self.inputs.to_json(),
            "veiled": self.veiled.to_json(),
        }


def no_checkpoint(named: Origin) -> Fault:
    """The finding for a log that a policy names and of which there is no checkpoint."""
    return Fault(
        Place(named.topic, named.partition),
        f"there is no checkpoint of {named}, which the witness policy names: a whole partition was left out, or no"
        " notary has signed it yet",
        Check.WITNESSED.value,
    )


def left_out(place: Place) -> Fault:
    """The finding for a veiled record without disclosures, where others have theirs."""
    return Fault(
        place,
        "its disclosures are not among those at hand, and no trusted person states that they were erased, so nobody"
        " knows what it hides",
        Check.FORM.value,
    )


def not_run(given: Iterable[Check]) -> dict[Check, str]:
    """The checks that need something and did not get it."""
    has = set(given)
    return {check: why for check, why in NOT_GIVEN.items() if check not in has}


def _fault(fault: Fault | None) -> dict[str, object] | None:
    if fault is None:
        return None
    place = fault.place
    return {
        "topic": place.topic,
        "partition": place.partition,
        "offset": place.offset,
        "line": place.line,
        "reason": fault.reason,
    }
