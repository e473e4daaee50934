"""The verifier's checks that need one record alone, so that several processes can share them. Pure.

The checks, by their numbers in `verifier.py`: 4. the signature; 5. the form; 6. agent and chain; 9. approvals;
10. the key's standing; 11. the policies, evaluated again. A veiled record is unveiled where its disclosures are at
hand; disclosures that are not its own break 5. Where there are none, 9 and 11 have nothing to look at. What 4 to 6
refuse is no record: nothing that it says goes on. What 9 to 11 refuse, and disclosures do, has its place in the chain
nevertheless, so that it is one fault and not two.

What goes on is small and made of plain values: it may travel between processes.

Not here: whatever depends on other records (`verifier.py`, `verifier_chain.py`).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeAlias

from jurat.audit import dsse
from jurat.audit import standing as standings
from jurat.audit.approval import check_recorded
from jurat.audit.coordinates import Coordinates, chain_name, parse_uri
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed, Statement, concluded, is_unjudged
from jurat.audit.record_reader import read_any
from jurat.audit.standing import Standing
from jurat.audit.usage import BudgetUsed
from jurat.audit.verifier_report import Check
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import AuditError, RecordInvalid

_VERDICTS = {
    Outcome.DECIDED: Verdict.ALLOW,
    Outcome.DENIED: Verdict.DENY,
    Outcome.ESCALATED: Verdict.ESCALATE,
}
# Under names of their own, as in `verifier.py`.
_SIGNATURE, _FORM, _AGENT = Check.SIGNATURE, Check.FORM, Check.AGENT
_GOOD = Standing.GOOD

SAME = ""
"""Judged again, with the same verdict by the same policies."""

LIFTED = ""
"""It was veiled, and its disclosures are its own."""

VEILED = "they are veiled, and not disclosed"
"""Why the policies of a record cannot be asked again."""


class Again(NamedTuple):
    """What policies say of a recorded input now."""

    verdict: Verdict
    policies: tuple[str, ...]


class Rejudge(Protocol):
    """Evaluates policies again; what travels to other processes takes it along."""

    def __call__(self, digest: str, normalised: dict[str, Any]) -> Again | str:
        """Judge a recorded policy input by the bundle with this digest.

        Returns:
            What it says; or why it cannot be asked, in few words that many records have in common.

        Raises:
            RecordInvalid: no policies can ever have been asked this.
        """
        ...


class StandingOf(Protocol):
    """What the signature of a key over a record is worth (`jurat.audit.standing`)."""

    def __call__(self, key: TrustedKey, record: DecisionRecord, *, witnessed_at: int | None) -> Standing:
        """Judge a signature.

        Raises:
            AuditError: the key did not hold then, or not for this.
        """
        ...


Wrong: TypeAlias = tuple[int, str]
"""The number of a check, and what does not hold."""


class Facts(NamedTuple):
    """What a record says that other records are compared with.

    Attributes:
        digest: hex SHA-256 of its payload.
        clusters: ids of the Kafka clusters that its inputs stand on, each once.
        partition: the number of its first input's partition.
        offset: of its first input.
        about: the chain and offset of the escalated input that it decides again, and the URI.
        subject: hex SHA-256 of what it is about.
        wrong: what 9 to 11 refuse, in the order of the checks.
        standing: what its signature is worth.
        again: `SAME`; why policies were not evaluated again; None where none were asked then, or none are now.
        veil: the decision's id, where it is veiled and not disclosed; `LIFTED` where it is disclosed; None where it is
            not veiled.
    """

    agent: str
    outcome: Outcome
    chain: str
    seq: int
    prev: str
    digest: str
    clusters: tuple[str, ...]
    partition: int
    offset: int
    about: tuple[str, int, str] | None
    subject: str
    time: str
    budgets: tuple[BudgetUsed, ...]
    wrong: tuple[Wrong, ...]
    standing: Standing
    again: str | None
    veil: str | None


class Examined(NamedTuple):
    """One entry, as far as it can be checked alone.

    Attributes:
        leaf: its leaf hash.
        witnessed_at: the T by which its key was judged.
        facts: what it says; None where it is no record.
        refused: why it is none.
    """

    topic: str
    partition: int
    offset: int
    line: int | None
    leaf: bytes
    witnessed_at: int | None
    facts: Facts | None
    refused: Wrong | None


class Examiner:
    """Checks entries one by one.

    Args:
        trust: the trusted keys.
        rejudge: evaluates policies again; None where none are given.
        standing: what signatures are worth.
        unveiler: lifts veils; by default, no disclosures are at hand.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        rejudge: Rejudge | None = None,
        standing: StandingOf = standings.standing,
        unveiler: Unveiler | None = None,
    ) -> None:
        self._trust = trust
        self._unveiler = unveiler or Unveiler()
        self._rejudge = rejudge
        self._standing = standing

    def examine(self, entry: LogEntry, *, witnessed_at: int | None = None) -> Examined:
        """Check an entry.

        Args:
            entry: the entry.
            witnessed_at: T, the earliest moment at which a quorum of witnesses vouched for a tree that holds it.

        Returns:
            What is known of it.
        """
        digest = sha256(entry.record.payload).hexdigest()
        leaf = entry.leaf(digest)
        where = (entry.topic, entry.partition, entry.offset, entry.line, leaf, witnessed_at)
        check = _SIGNATURE
        try:
            verified = dsse.verify(entry.record, self._trust)  # 4
            check = _FORM
            statement = read_any(verified.payload)  # 5
            check = _AGENT
            _check_agent(entry, statement.predicate, verified.key)  # 6
        except AuditError as error:
            reason = str(error)
            if check is _SIGNATURE:
                reason += _older(entry, self._trust)
            return Examined(*where, None, (check.value, reason))
        wrong: list[Wrong] = []
        veil = statement.predicate.decision_id if statement.is_veiled else None
        try:
            statement = self._unveiler.lift(statement)
        except AuditError as error:
            wrong.append((Check.FORM.value, str(error)))
        if veil is not None and not statement.is_veiled:
            veil = LIFTED
        facts = self._facts(statement, verified.key, digest, witnessed_at, wrong=wrong, veil=veil)
        return Examined(*where, facts, None)

    def _facts(
        self,
        statement: Statement,
        key: TrustedKey,
        digest: str,
        witnessed_at: int | None,
        *,
        wrong: list[Wrong],
        veil: str | None,
    ) -> Facts:
        record = statement.predicate
        standing, again = _GOOD, None
        try:
            if not statement.is_veiled:
                check_recorded(record, self._trust)  # 9
        except AuditError as error:
            wrong.append((Check.APPROVALS.value, str(error)))
        try:
            standing = self._standing(key, record, witnessed_at=witnessed_at)  # 10
        except AuditError as error:
            wrong.append((Check.STANDING.value, str(error)))
        if self._rejudge is not None:
            try:
                again = self._again(statement, self._rejudge)  # 11
            except AuditError as error:
                wrong.append((Check.EVALUATED.value, str(error)))
        at, request = parse_uri(record.inputs[0].uri), concluded(record)
        about = None
        if request is not None:
            about = (
                chain_name(record.agent, request.topic, request.partition),
                request.offset,
                request.uri(),
            )
        return Facts(
            record.agent,
            record.outcome,
            record.chain,
            record.seq,
            record.prev,
            digest,
            _clusters(record, at),
            at.partition,
            at.offset,
            about,
            statement.subject[0].digest.sha256,
            record.time,
            _budgets(record),
            tuple(wrong),
            standing,
            again,
            veil,
        )

    @staticmethod
    def _again(statement: Statement, rejudge: Rejudge) -> str | None:
        record = statement.predicate
        if statement.is_veiled:
            return VEILED if was_judged(record) else None
        return check_again(record, rejudge)


def _clusters(record: DecisionRecord, first: Coordinates) -> tuple[str, ...]:
    if len(record.inputs) == 1:
        return (first.cluster_id,)
    return tuple(sorted({parse_uri(one.uri).cluster_id for one in record.inputs}))


def _budgets(record: DecisionRecord) -> tuple[BudgetUsed, ...]:
    """What it says of budgets, as values that may travel, however the record was read."""
    if record.policy is None or not record.policy.budgets:
        return ()
    return tuple([BudgetUsed.model_validate(one, from_attributes=True) for one in record.policy.budgets])


def was_judged(record: DecisionRecord) -> bool:
    """Whether policies judged what became the decision: a veiled record shows that too."""
    return record.policy is not None and bool(record.proposals) and not is_unjudged(record)


def _older(entry: LogEntry, trust: Trust) -> str:
    """A hint, where the trust log at hand may be too old for the key; it rests on what nobody verified."""
    if trust.statements is None or entry.record.signatures[0].keyid in trust.by_keyid:
        return ""
    try:
        told = parse_any(entry.record.payload).predicate.identity
    except AuditError:
        return ""
    if told is None or told.trust.size <= trust.statements:
        return ""
    return f"; the record claims to know {told.trust.size} statements"


def _check_agent(entry: LogEntry, record: DecisionRecord, key: TrustedKey) -> None:
    if record.agent != key.agent:
        raise RecordInvalid(
            f"got a record of the agent {record.agent!r} signed by the key of {key.agent!r}",
            keyid=key.keyid,
        )
    if entry.record.chain != record.chain:
        raise RecordInvalid(f"got the chain {entry.record.chain[:200]!r} outside, expected {record.chain!r}")


def check_again(record: DecisionRecord, rejudge: Rejudge) -> str | None:
    """Evaluate the policies of a record again, those that decided and those beside.

    Returns:
        `SAME`; why it cannot be told; None where no policies were asked.

    Raises:
        RecordInvalid: they say something else than the record.
    """
    used = record.policy
    if used is None or not was_judged(record):
        return None
    verdict = _VERDICTS[record.outcome]
    chosen = record.proposals[0 if verdict is Verdict.DENY else -1]
    said = rejudge(used.digest, used.input)
    if isinstance(said, Again):
        _check_asked(record, used, chosen.action)
        if (said.verdict, said.policies) != (verdict, chosen.policies):
            raise _other("the policies", used.digest, (verdict, chosen.policies), said)
        if chosen.verdict is not verdict:
            raise RecordInvalid(
                f"got the outcome {record.outcome} of a proposal that was judged {chosen.verdict}"
            )
    beside = used.shadow
    if beside is None or beside.errors:
        return said if isinstance(said, str) else SAME
    shadowed = rejudge(beside.digest, used.input)
    if isinstance(shadowed, Again) and (shadowed.verdict, shadowed.policies) != (
        beside.verdict,
        beside.policies,
    ):
        raise _other("the policies beside", beside.digest, (beside.verdict, beside.policies), shadowed)
    return next((one for one in (said, shadowed) if isinstance(one, str)), SAME)


def _check_asked(record: DecisionRecord, used: PolicyUsed, action: str) -> None:
    """The policies were asked about this agent and this action, and no other."""
    if "unfit" in used.input:
        return  # it could not even be asked, and was denied
    for name, expected in (("principal", record.agent), ("action", action)):
        uid = used.input.get(name)
        got = uid.get("id") if isinstance(uid, dict) else None
        if got != expected:
            raise RecordInvalid(
                f"the policies were asked about the {name} {str(got)[:100]!r}, but the record is of {expected!r}"
            )


def _other(what: str, digest: str, stated: tuple[Verdict, tuple[str, ...]], said: Again) -> RecordInvalid:
    verdict, policies = stated
    return RecordInvalid(
        f"{what} {digest[:16]}... say {said.verdict} by {', '.join(said.policies) or 'no policy'} of the"
        f" recorded input, but the record says {verdict} by {', '.join(policies) or 'no policy'}"
    )
