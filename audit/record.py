"""The decision record: an in-toto Statement v1 whose predicate says how one input was decided.

Rules upheld here: every input ends in exactly one record; the subject is the decision event where there is
one, else the input itself; decision id, chain and input coordinates say the same; a payload has one spelling
(parse then print is identity) and unknown fields are refused; text inside is data and never interpreted.

Specified in `docs/spec/audit-record.md`. Not here: signing (`dsse`), the link to the predecessor (`chain`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from jurat.audit import printing
from jurat.audit.answered import Approval
from jurat.audit.coordinates import Coordinates, KafkaUri, chain_name, parse_uri
from jurat.audit.identity import Identity
from jurat.audit.in_toto import Subject
from jurat.audit.kept import MAX_ALTERNATIVES, MAX_ERROR, MAX_ERRORS, cut
from jurat.audit.reasoning import ModelAsked, Name, ReasonerUsed, Sha256Hex, absent
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.audit.usage import MAX_BUDGETS, BudgetUsed, check_stated
from jurat.schemas.decision import Verdict, decision_id_at
from jurat.schemas.errors import CanonicalError, RecordInvalid
from jurat.schemas.model import Count, Identifier, Model
from jurat.schemas.moments import print_moment
from jurat.schemas.shown import first_fault

GENESIS = "0" * 64
"""`prev` of the first record of a chain."""

MAX_PAYLOAD_BYTES = 65_536
"""Hard bound of one record. The aim is 3.5 KB; a large normalised policy input may take more. 64 KiB stays
far below Kafka's default of 1 MB a message, and bounds what a verifier holds."""

MAX_INPUTS = 16
MAX_CONTEXT = 256
MAX_PROPOSALS = 64
MAX_POLICIES = 256
MAX_MESSAGE = 2000
"""Bounds of lists in one record: far above what an agent produces, below what fits `MAX_PAYLOAD_BYTES`."""

APPROVAL_OF = "approval-of"
"""Under this name a record says which escalated decision it is about."""

FORGOTTEN = "forgotten"
"""Under this name a record says of which event key an agent was asked to forget, with the digest of what is gone."""

FORGET_ASKED_BY = "forget-asked-by"
"""Under this name it says who asked, with the digest of the statement that they signed."""


def check_calendar(text: str) -> str:
    """Check that a calendar has a moment, of which the pattern of `Time` leaves one spelling.

    Raises:
        ValueError: none has it.
    """
    datetime.fromisoformat(text)
    return text


def format_time(moment: datetime) -> str:
    """Print a moment as RFC 3339 in UTC, always with microseconds and `Z`."""
    return print_moment(moment)


Time = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z$"),
    AfterValidator(check_calendar),
]
Traceparent = Annotated[str, Field(pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
JsonObject = dict[str, Any]
"""Checked against the canonical JSON profile when the record is printed."""


class Outcome(StrEnum):
    """How an input ended.

    `expired`: it was older than its agent decides. `duplicate`: the same event was decided before; the record's
    `context` names that decision.
    """

    DECIDED = "decided"
    DENIED = "denied"
    ESCALATED = "escalated"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"

    @property
    def has_decision(self) -> bool:
        """Whether a decision event was emitted with this record."""
        return self in _WITH_DECISION


_WITH_DECISION = (Outcome.DECIDED, Outcome.DENIED, Outcome.ESCALATED)


class Input(Model):
    """An event that was decided upon.

    Attributes:
        uri: `kafka://<cluster id>/<topic>/<partition>/<offset>`.
        event_id: CloudEvents id; None where the envelope could not be read.
        event_type: CloudEvents type; None where the envelope could not be read.
        sha256: of the record's value; of no bytes where it had none.
        schema_id: `avro:` and the fingerprint in hex, `registry:` and the id, `json`, or None where the value
            could not be read.
    """

    uri: KafkaUri
    event_id: Name | None
    event_type: Name | None
    sha256: Sha256Hex
    schema_id: Name | None


class ContextRead(Model):
    """Something that was looked up; `uri` and `sha256` are None where nothing was found."""

    name: Name
    key: Name
    uri: KafkaUri | None
    sha256: Sha256Hex | None


class ProposalJudged(Model):
    """One proposal with its verdict; refused ones are kept.

    `alternatives`, `call`, `fallback` and `reasoner` are printed only where they hold something, so that records from
    before keep their form.

    Attributes:
        errors: what went wrong inside the policy engine, which then denies; cut by `kept_errors`.
        alternatives: names of the actions that were considered and not chosen, each once; cut by `kept_alternatives`.
        call: the model call that it came with.
        reasoner: who really proposed it, where the one that was asked passed the question on.
        fallback: why the agent put forward its own fallback instead: a failure's class, or in words.
    """

    action: Name
    parameters: JsonObject
    verdict: Verdict
    policies: Annotated[tuple[Name, ...], Field(max_length=MAX_POLICIES)]
    reasons: Annotated[tuple[str, ...], Field(max_length=MAX_POLICIES)]
    errors: Annotated[tuple[Annotated[str, Field(max_length=MAX_ERROR)], ...], Field(max_length=MAX_ERRORS)]
    alternatives: Annotated[tuple[Name, ...], Field(max_length=MAX_ALTERNATIVES, exclude_if=absent)] = ()
    call: Annotated[ModelAsked | None, Field(exclude_if=absent)] = None
    reasoner: Annotated[str, Field(max_length=200, exclude_if=absent)] = ""
    fallback: Annotated[str, Field(max_length=200, exclude_if=absent)] = ""


class PolicyUsed(Model):
    """Under which policies the proposal that became the decision was judged, and on exactly which input.

    `budgets` and `shadow` are printed only where they hold something, so that records from before keep their form.

    Attributes:
        budgets: what was used of budgets, and what the decision takes of them; sorted by name.
        shadow: what the bundle said that is active beside; None where there is none, or no room for it.
    """

    bundle: Name
    digest: Sha256Hex
    engine: Name
    input: JsonObject
    budgets: Annotated[tuple[BudgetUsed, ...], Field(max_length=MAX_BUDGETS, exclude_if=absent)] = ()
    shadow: Annotated[ShadowVerdict | None, Field(exclude_if=absent)] = None


class Rejection(Model):
    """Why an input could not be decided."""

    error: Name
    message: Annotated[str, Field(max_length=MAX_MESSAGE)]

    @classmethod
    def of(cls, error: Exception, *, attempts: int = 0) -> Rejection:
        """Name an error's class and message, cut to their bounds; `attempts` is how often it was tried in vain."""
        said = f"tried {attempts} times; at last: {error}" if attempts else str(error)
        return cls(error=type(error).__name__[:200], message=cut(said, MAX_MESSAGE))


class DecisionRecord(Model):
    """What happened to one input.

    Attributes:
        decision_id: derived from agent, cluster and the first input; see
        `jurat.schemas.decision.decision_id`.
        agent: the agent's name.
        outcome: how the input ended.
        chain: `<agent>/<topic>/<partition>` of the first input.
        seq: 0, 1, 2, ... in the chain.
        prev: hex SHA-256 of the payload before this one in the chain, 64 zeros for the first.
        time: when the worker decided it, by its own clock: a claim.
        attempts: proposals that were judged, the fallback included.
        trace: W3C traceparent of the input.
        inputs: the first one is what this record ends; others were taken into account.
        context: what was looked up.
        reasoner: None where nobody was asked.
        proposals: every one that was judged, in order.
        policy: None where no policy was asked (rejected, skipped).
        approvals: answers of people that counted.
        code: version of the program that decided.
        rejection: given for `rejected`, None otherwise.
        identity: the credential of the key that signs it; left out where that is a pinned one.
    """

    decision_id: Identifier
    agent: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    outcome: Outcome
    chain: Identifier
    seq: Count
    prev: Sha256Hex
    time: Time
    attempts: Annotated[int, Field(ge=0, le=100)]
    trace: Traceparent | None
    inputs: Annotated[tuple[Input, ...], Field(min_length=1, max_length=MAX_INPUTS)]
    context: Annotated[tuple[ContextRead, ...], Field(max_length=MAX_CONTEXT)]
    reasoner: ReasonerUsed | None
    proposals: Annotated[tuple[ProposalJudged, ...], Field(max_length=MAX_PROPOSALS)]
    policy: PolicyUsed | None
    approvals: Annotated[tuple[Approval, ...], Field(max_length=MAX_PROPOSALS)]
    code: Name
    rejection: Rejection | None
    identity: Annotated[Identity | None, Field(exclude_if=absent)] = None


class Statement(Model):
    """in-toto Statement v1 around a decision record."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: tuple[Subject]
    predicate_type: Annotated[
        Literal["urn:jurat:decision-record:v1", "urn:jurat:veiled-decision-record:v1"],
        Field(alias="predicateType"),
    ]
    predicate: DecisionRecord

    @property
    def is_veiled(self) -> bool:
        """Whether commitments stand for what is personal; `parse` hands out none that are."""
        return self.predicate_type == printing.VEILED_TYPE


def concluded(record: DecisionRecord) -> Coordinates | None:
    """The escalated input that this record decides again, after an answer or a time-out; None where it does not."""
    again = bool(record.approvals) or any(read.name == APPROVAL_OF for read in record.context)
    return parse_uri(record.inputs[1].uri) if again and len(record.inputs) > 1 else None


def build(record: DecisionRecord, subject_name: str, subject_sha256: str) -> bytes:
    """Print a record as the payload that gets signed.

    Args:
        record: the record.
        subject_name: the decision id; for `rejected` and `skipped` the URI of the first input.
        subject_sha256: hex SHA-256 of the decision event's value; for `rejected` and `skipped` of the
        input's value.

    Raises:
        RecordInvalid: it contradicts itself, does not fit the canonical profile, or is too large.
    """
    check_coherence(record, subject_name, subject_sha256)
    try:
        payload = printing.whole(record, subject_name, subject_sha256)
    except CanonicalError as error:
        raise RecordInvalid(
            f"the record cannot be printed: {error}", decision_id=record.decision_id
        ) from error
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RecordInvalid(
            f"got a record of {len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}; put bulk behind"
            " digests",
            decision_id=record.decision_id,
        )
    return payload


def parse(payload: bytes) -> Statement:
    """Read a payload, refusing everything that `build` would not print.

    Raises:
        RecordInvalid: not canonical, an unknown field or version, or it contradicts itself; or it is veiled.
    """
    statement = parse_signed(payload)
    if statement.is_veiled:
        raise RecordInvalid(
            "got a veiled record, expected one whose values stand in it: disclosures are needed to read it, see"
            " docs/erasure.md",
            decision_id=statement.predicate.decision_id,
        )
    return statement


def parse_signed(payload: bytes) -> Statement:
    """Read a payload, veiled or not; what is veiled is for `jurat.audit.disclosure` to check further.

    Raises:
        RecordInvalid: not canonical, an unknown field or version, or it contradicts itself.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RecordInvalid(f"got a record of {len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}")
    try:
        statement = Statement.model_validate_json(payload)
    except ValidationError as error:
        raise RecordInvalid(f"the payload breaks its schema: {first_fault(error)}") from error
    subject = statement.subject[0]
    try:
        one_form = printing.whole(
            statement.predicate, subject.name, subject.digest.sha256, kind=statement.predicate_type
        )
    except CanonicalError as error:
        raise RecordInvalid(f"the payload is outside the canonical JSON profile: {error}") from error
    if one_form != payload:
        raise RecordInvalid(
            "the payload is not in its one form: a field left out, another key order, white space, a"
            " repeated key or"
            " other escapes; expected the exact bytes of docs/spec/audit-record.md"
        )
    if statement.is_veiled:
        check_parts(statement.predicate, subject.name, subject.digest.sha256)
    else:
        check_coherence(statement.predicate, subject.name, subject.digest.sha256)
    return statement


def check_coherence(record: DecisionRecord, subject_name: str, subject_sha256: str) -> None:
    """Check that the parts of a record say the same.

    Raises:
        RecordInvalid: two of them contradict each other.
    """
    check_parts(record, subject_name, subject_sha256)
    if record.policy is not None:
        # One that ends a waiting decision unjudged tells of no budget: the record of the escalation does.
        told = {} if is_unjudged(record) else record.policy.input
        check_stated(told, record.policy.budgets, decided=record.outcome is Outcome.DECIDED)


def check_parts(record: DecisionRecord, subject_name: str, subject_sha256: str) -> None:
    """Check it as `check_coherence` does, as far as a veiled record shows it too.

    Raises:
        RecordInvalid: two of its parts contradict each other.
    """
    first = record.inputs[0]
    at = parse_uri(first.uri)
    expected_chain = chain_name(record.agent, at.topic, at.partition)
    if record.chain != expected_chain:
        raise RecordInvalid(
            f"got the chain {record.chain!r}, expected {expected_chain!r} from agent and input"
        )
    expected_id = decision_id_at(
        record.agent, at.cluster_id, topic=at.topic, partition=at.partition, offset=at.offset
    )
    if record.decision_id != expected_id:
        raise RecordInvalid(
            f"got the decision id {record.decision_id!r}, expected {expected_id!r} from agent and input"
        )
    if (record.seq == 0) != (record.prev == GENESIS):
        raise RecordInvalid(
            "got a first record with a predecessor or a later one without; prev is zeros for seq 0 only"
        )
    if (record.rejection is not None) != (record.outcome is Outcome.REJECTED):
        raise RecordInvalid("got a rejection with another outcome or none with `rejected`; they go together")
    has_decision = record.outcome.has_decision
    if has_decision != (record.policy is not None):
        raise RecordInvalid("got no policy with a judged outcome, or one with an outcome that is not judged")
    if has_decision:
        if subject_name != record.decision_id:
            raise RecordInvalid(
                f"got the subject {subject_name!r}, expected the decision id {record.decision_id!r}"
            )
    elif (subject_name, subject_sha256) != (first.uri, first.sha256):
        raise RecordInvalid("got another subject than the input itself, though no decision event was emitted")


def is_unjudged(record: DecisionRecord) -> bool:
    """Whether it denies what was escalated before, as people or time did; what is judged is never so."""
    last = record.proposals[-1].verdict if record.proposals else None
    return record.outcome is Outcome.DENIED and last is Verdict.ESCALATE
