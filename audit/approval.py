"""What a person signs: a grant or a refusal of one exact action, under one policy bundle. Pure.

Rules upheld here: the statement is bound to the decision, to every parameter of the action, to the resource and to the
policies that asked; it has one spelling (parse then print is identity); name and roles come from the trusted key, never
from the statement; it is handed out after its signature was verified, never before.

One check, step by step (the numbers come back in the code): 1. the payload type is ours and there is one signature;
2. the statement is in its one form; 3. the key is a trusted approver's, who signed exactly this; 4. the approver's name
and role are those of the key.

Specified in `docs/spec/approval.md`. Not here: whether a decision waits for it (`jurat.streams.approving`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from jurat.audit import dsse
from jurat.audit.answered import Approval
from jurat.audit.coordinates import parse_uri
from jurat.audit.in_toto import Subject
from jurat.audit.keys import Signer, Trust
from jurat.audit.reasoning import Name, Sha256Hex
from jurat.audit.record import DecisionRecord, Time, format_time
from jurat.audit.statement import print_statement, read_statement, signed_by
from jurat.schemas import canonical
from jurat.schemas.approvals import MAX_STATEMENT_BYTES, ApprovalAnswered, ApprovalRequested
from jurat.schemas.decision import decision_id_at
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import RecordInvalid, SignatureInvalid
from jurat.schemas.model import Model

MAX_WHY_CHARS: Final = 500
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:jurat:approval:v1"

_WHAT: Final = "the statement of the approval"


class Answer(StrEnum):
    """What an approver says."""

    GRANT = "grant"
    REFUSE = "refuse"


class ApprovalPredicate(Model):
    """Who answers what, for which role, under which policies; see the specification."""

    agent: Name
    answer: Answer
    answered_at: Time
    approver: Name
    policy_digest: Sha256Hex
    role: Name
    why: Annotated[str, Field(max_length=MAX_WHY_CHARS)]


class ApprovalStatement(Model):
    """in-toto Statement v1 around an answer; its subject is the decision with the digest of its action."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: tuple[Subject]
    predicate_type: Annotated[Literal["urn:jurat:approval:v1"], Field(alias="predicateType")]
    predicate: ApprovalPredicate


@dataclass(frozen=True, slots=True)
class VerifiedApproval:
    """An answer whose signature holds, by an approver who has the role that it speaks for.

    Attributes:
        action_sha256: the digest of the action that it is about.
        recorded: as it goes into the audit record.
    """

    decision_id: str
    action_sha256: str
    said: ApprovalPredicate
    recorded: Approval

    @property
    def answered_at(self) -> datetime:
        """When it was given, by the approver's clock."""
        return datetime.fromisoformat(self.said.answered_at)


def action_digest(
    *,
    agent: str,
    decision_id: str,
    action: str,
    parameters: Mapping[str, Any],
    resource_type: str,
    resource_id: str,
) -> str:
    """Name an exact action, by the lower-case hex SHA-256 of its canonical JSON.

    Raises:
        CanonicalError: the parameters have no canonical form.
    """
    return canonical.digest(
        {
            "action": action,
            "agent": agent,
            "decision_id": decision_id,
            "parameters": dict(parameters),
            "resource": {"id": resource_id, "type": resource_type},
        }
    )


def requested_digest(request: ApprovalRequested) -> str:
    """The digest of the action that a request shows, computed from what it shows.

    Raises:
        RecordInvalid: the request names another digest: it does not ask for what it shows.
    """
    shown = action_digest(
        agent=request.agent,
        decision_id=request.decision_id,
        action=request.action,
        parameters=request.parameters,
        resource_type=request.resource_type,
        resource_id=request.resource_id,
    )
    if shown != request.action_sha256:
        raise RecordInvalid(
            f"the request {request.decision_id} shows an action with the digest {shown}, but asks about"
            f" {request.action_sha256[:64]}: it was not written by the agent; approve nothing",
            decision_id=request.decision_id,
        )
    return shown


async def answer_to(
    request: ApprovalRequested,
    answer: Answer,
    *,
    approver: str,
    role: str,
    why: str,
    at: datetime,
    signer: Signer,
) -> ApprovalAnswered:
    """Sign the answer to a request.

    Args:
        request: what was shown to the approver.
        answer: what they say.
        approver: their name in the trust file.
        role: the role that they speak for.
        why: their reason.
        at: the present moment.
        signer: their key.

    Raises:
        RecordInvalid: the request contradicts itself, or an argument is outside its bounds.
    """
    digest = requested_digest(request)
    said = {
        "_type": STATEMENT_TYPE,
        "predicate": {
            "agent": request.agent,
            "answer": answer.value,
            "answered_at": format_time(at),
            "approver": approver,
            "policy_digest": request.policy_digest,
            "role": role,
            "why": why,
        },
        "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": digest}, "name": request.decision_id}],
    }
    payload = print_statement(said, what=_WHAT)
    parse_statement(payload)
    signature = await signer.sign(dsse.pae(dsse.PAYLOAD_TYPE, payload))
    return ApprovalAnswered(
        agent=request.agent,
        event_key=request.event_key,
        decision_id=request.decision_id,
        payload_type=dsse.PAYLOAD_TYPE,
        payload=payload,
        signatures=(Signature(keyid=signer.keyid, sig=signature),),
    )


def parse_statement(payload: bytes) -> ApprovalStatement:
    """Read a statement, refusing every spelling but its one.

    Raises:
        RecordInvalid: not canonical, an unknown field or version, out of bounds, or a refusal without a reason.
    """
    statement = read_statement(
        ApprovalStatement,
        payload,
        what=_WHAT,
        specified="docs/spec/approval.md",
        max_bytes=MAX_STATEMENT_BYTES,
    )
    if statement.predicate.answer is Answer.REFUSE and not statement.predicate.why.strip():
        raise RecordInvalid("got a refusal without a reason, expected `why` to say it")
    return statement


def verify_answer(
    payload_type: str, payload: bytes, signatures: Sequence[Signature], trust: Trust
) -> VerifiedApproval:
    """Check an answer and hand out what it says.

    Raises:
        RecordInvalid: another payload type or number of signatures, or a statement that is not in its one form.
        SignatureInvalid: the key is no approver's, did not sign this, or speaks for somebody else.
    """
    if payload_type != dsse.PAYLOAD_TYPE:  # 1
        raise RecordInvalid(f"got the payload type {payload_type[:100]!r}, expected {dsse.PAYLOAD_TYPE!r}")
    if len(signatures) != 1:
        raise RecordInvalid(f"got {len(signatures)} signatures, expected one")
    statement = parse_statement(payload)  # 2
    keyid, said = signatures[0].keyid, statement.predicate
    approver = signed_by(payload_type, payload, signatures[0], trust)  # 3
    if said.approver != approver.approver:  # 4
        raise SignatureInvalid(
            f"got an answer in the name of {said.approver!r} signed by the key of {approver.approver!r}",
            keyid=keyid,
        )
    if said.role not in approver.roles:
        raise SignatureInvalid(
            f"got an answer of {said.approver!r} as {said.role!r}, expected one of the roles that the trust file gives"
            f" this key: {', '.join(approver.roles)}",
            keyid=keyid,
        )
    subject = statement.subject[0]
    recorded = Approval(
        role=said.role,
        approver=said.approver,
        answer=said.answer.value,
        keyid=keyid,
        sha256=sha256(payload).hexdigest(),
        statement=payload.decode(),
        sig=signatures[0].sig.hex(),
    )
    return VerifiedApproval(subject.name, subject.digest.sha256, said, recorded)


def check_recorded(record: DecisionRecord, trust: Trust) -> None:
    """Check the approvals of a record: each proves itself, and the policies were told of no other.

    Raises:
        RecordInvalid: an approval is of something else than this record decides, or is told to the policies unproven.
        SignatureInvalid: a signature does not hold.
    """
    told = _told_to_policies(record)
    granted: dict[str, str] = {}
    for one in record.approvals:
        verified = verify_recorded(one, trust)
        _check_about(record, verified)
        if verified.said.answer is Answer.GRANT:
            granted[one.role] = one.approver
    if told != granted.keys():
        raise RecordInvalid(
            f"the policies were told of approvals by {sorted(told)}, but the record proves those of {sorted(granted)}"
        )
    if len(set(granted.values())) != len(granted):
        raise RecordInvalid("got two grants of one person, expected one person for each role")


def verify_recorded(one: Approval, trust: Trust) -> VerifiedApproval:
    """Check an approval as a record holds it.

    Raises:
        RecordInvalid: its parts contradict each other.
        SignatureInvalid: it does not hold.
    """
    signature = Signature(keyid=one.keyid, sig=bytes.fromhex(one.sig))
    verified = verify_answer(dsse.PAYLOAD_TYPE, one.statement.encode(), (signature,), trust)
    if verified.recorded != one:
        raise RecordInvalid("got an approval whose statement says something else than stands beside it")
    return verified


def _check_about(record: DecisionRecord, verified: VerifiedApproval) -> None:
    """The approval is of this decision, this action, and for grants these policies."""
    if len(record.inputs) < 2 or record.policy is None or not record.proposals:
        raise RecordInvalid("got approvals in a record of no decision that was escalated before")
    at = parse_uri(record.inputs[1].uri)
    expected = decision_id_at(
        record.agent, at.cluster_id, topic=at.topic, partition=at.partition, offset=at.offset
    )
    if (verified.decision_id, verified.said.agent) != (expected, record.agent):
        raise RecordInvalid(f"got an approval of {verified.decision_id!r}, expected one of {expected!r}")
    resource = record.policy.input.get("resource")
    if not isinstance(resource, dict):
        raise RecordInvalid("got a policy input without the resource that the approval is about")
    last = record.proposals[-1]
    digest = action_digest(
        agent=record.agent,
        decision_id=expected,
        action=last.action,
        parameters=last.parameters,
        resource_type=str(resource.get("type")),
        resource_id=str(resource.get("id")),
    )
    if verified.action_sha256 != digest:
        raise RecordInvalid(f"got an approval of another action: {verified.action_sha256}, expected {digest}")
    if verified.said.answer is Answer.GRANT and verified.said.policy_digest != record.policy.digest:
        raise RecordInvalid(
            f"got a grant under the policies {verified.said.policy_digest}, expected {record.policy.digest}"
        )


def _told_to_policies(record: DecisionRecord) -> set[str]:
    context = record.policy.input.get("context") if record.policy is not None else None
    told = context.get("approvals", []) if isinstance(context, dict) else []
    return {str(role) for role in told} if isinstance(told, list) else set()
