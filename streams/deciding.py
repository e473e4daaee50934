"""From one input record to what will be committed about it: the kernel, driven with a reasoner, tables and state.

Rules upheld here: whatever a record holds, one `Verdicted` comes out of it; only faults of ours or of Kafka raise.
Not here: signing and committing (`partition.py`), as `seq` and `prev` are known only at the commit.
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jurat.agents.agent import Agent, Lookup, Situation
from jurat.agents.kernel import Answer, Ask, Decided, decide
from jurat.agents.reasoner import JudgedProposal, Reasoner
from jurat.audit.draft import Draft, draft
from jurat.audit.record import (
    GENESIS,
    ContextRead,
    DecisionRecord,
    Outcome,
    PolicyUsed,
    ProposalJudged,
    ReasonerUsed,
    Rejection,
    chain_name,
    format_time,
    kept_errors,
)
from jurat.policies.engine import PolicyEngine
from jurat.schemas.codec import SchemaIds, encode
from jurat.schemas.decision import Decision, Verdict, decision_id
from jurat.schemas.errors import (
    BrokerUnreachable,
    CanonicalError,
    InputRejected,
    JuratError,
    ProposalInvalid,
    ReasonerError,
    RecordInvalid,
    SchemaError,
)
from jurat.schemas.model import Event, Model
from jurat.streams.decoding import Decoded, decode_record
from jurat.streams.kafka import KafkaRecord
from jurat.streams.state import PartitionState
from jurat.streams.tables import Document, Tables, digest_of

log = logging.getLogger(__name__)

MAX_RATIONALE_CHARS: Final = 4_000
"""As much as a decision event carries; a model may say more."""

OUTCOME_OF: Final = {
    Verdict.ALLOW: Outcome.DECIDED,
    Verdict.DENY: Outcome.DENIED,
    Verdict.ESCALATE: Outcome.ESCALATED,
}


@dataclass(frozen=True, slots=True)
class Verdicted:
    """What is to be committed about one input.

    Attributes:
        decoded: the input.
        at: when it was decided.
        draft: the audit record, complete but for its place in the chain.
        decision: the decision event, None for rejected and skipped inputs.
        decision_value: the decision event's bytes.
        rejection: why it was rejected.
        changelog: the state record to commit, if the decision had an effect.
    """

    decoded: Decoded
    at: datetime
    draft: Draft
    decision: Decision | None = None
    decision_value: bytes | None = None
    rejection: Rejection | None = None
    changelog: tuple[bytes, bytes] | None = None

    @property
    def traceparent(self) -> str | None:
        """The trace that the input belongs to."""
        return self.decoded.attributes.traceparent if self.decoded.attributes else None


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides the inputs of one agent.

    Attributes:
        agent: the agent.
        reasoner: who proposes.
        engine: who judges.
        tables: the views that the agent reads.
        cluster_id: the Kafka cluster's id; part of every decision's id.
        clock: the present moment.
        code: version of the program, for the records.
        ids: a Schema Registry's ids, if one is configured.
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    tables: Tables
    cluster_id: str
    clock: Callable[[], datetime]
    code: str
    ids: SchemaIds | None = None

    async def decide(self, record: KafkaRecord, state: PartitionState) -> Verdicted:
        """Decide one input; a changed state document is put into `state` at once."""
        decoded = decode_record(record, ids=self.ids)
        now = self.clock()
        if decoded.event is None:
            return self._rejected(decoded, now, decoded.error or SchemaError("the record holds no event"))
        if not self.agent.decides(decoded.event):
            return self._ended(decoded, now, Outcome.SKIPPED)
        try:
            return await self._judged(decoded, decoded.event, state, now)
        except (CanonicalError, InputRejected, ProposalInvalid, RecordInvalid) as error:
            return self._rejected(decoded, now, error)
        except JuratError:
            raise  # not the input's fault: the partition is opened anew and tries again
        except Exception as error:  # noqa: BLE001 - an agent's own code may raise anything, and would again
            # The frames alone: the message of an error may quote what the event holds.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error(  # noqa: TRY400
                "agent failed agent=%s offset=%d error=%s\n%s",
                self.agent.name,
                record.offset,
                type(error).__name__,
                frames,
            )
            return self._rejected(
                decoded,
                now,
                InputRejected(f"the agent's own code failed on this input: {type(error).__name__}"),
            )

    async def _judged(
        self, decoded: Decoded, event: Event, state: PartitionState, now: datetime
    ) -> Verdicted:
        situation, context = await self._situation(decoded, event, state, now)
        decided = await self._reason(situation)
        decision = self._decision(decoded, event, decided, now)
        value = encode(decision, ids=self.ids)
        record = self._record(
            decoded,
            now,
            OUTCOME_OF[decision.verdict],
            attempts=len(decided.proposals),
            context=context,
            reasoner=ReasonerUsed(name=self.reasoner.name, deterministic=self.reasoner.deterministic),
            proposals=tuple(_described(judged) for judged in decided.proposals),
            policy=PolicyUsed(
                bundle=self.agent.bundle,
                digest=self.engine.digest,
                engine=self.engine.version,
                input=decided.chosen.judgement.normalised,
            ),
        )
        made = draft(record, decision.id, hashlib.sha256(value).hexdigest())
        # The effect comes last: whatever fails before leaves the state as it was.
        changelog = self._effect(situation, decided, decision, state)
        return Verdicted(decoded, now, made, decision=decision, decision_value=value, changelog=changelog)

    def _rejected(self, decoded: Decoded, now: datetime, error: Exception) -> Verdicted:
        return self._ended(decoded, now, Outcome.REJECTED, rejection=Rejection.of(error))

    def _ended(
        self, decoded: Decoded, now: datetime, outcome: Outcome, *, rejection: Rejection | None = None
    ) -> Verdicted:
        record = self._record(decoded, now, outcome, rejection=rejection)
        source = record.inputs[0]
        return Verdicted(decoded, now, draft(record, source.uri, source.sha256), rejection=rejection)

    def _record(
        self,
        decoded: Decoded,
        now: datetime,
        outcome: Outcome,
        *,
        attempts: int = 0,
        context: tuple[ContextRead, ...] = (),
        reasoner: ReasonerUsed | None = None,
        proposals: tuple[ProposalJudged, ...] = (),
        policy: PolicyUsed | None = None,
        rejection: Rejection | None = None,
    ) -> DecisionRecord:
        where = decoded.where
        return DecisionRecord(
            decision_id=decision_id(self.agent.name, where, cluster_id=self.cluster_id),
            agent=self.agent.name,
            outcome=outcome,
            chain=chain_name(self.agent.name, where.topic, where.partition),
            seq=0,
            prev=GENESIS,
            time=format_time(now),
            attempts=attempts,
            trace=decoded.attributes.traceparent if decoded.attributes else None,
            inputs=(decoded.described(self.cluster_id),),
            context=context,
            reasoner=reasoner,
            proposals=proposals,
            policy=policy,
            approvals=(),
            code=self.code,
            rejection=rejection,
        )

    async def _situation(
        self, decoded: Decoded, event: Event, state: PartitionState, now: datetime
    ) -> tuple[Situation[Any], tuple[ContextRead, ...]]:
        documents: dict[tuple[str, str], Model | None] = {}
        read: list[ContextRead] = []
        for lookup in self.agent.reads(event):
            document = await self._look_up(lookup)
            documents[lookup.view, lookup.key] = document.model if document else None
            read.append(self._read(lookup, document))
        own = state.get(event.key())
        if own is not None:
            read.append(ContextRead(name="state", key=event.key(), uri=None, sha256=digest_of(own)))
        situation = Situation(
            event=event, now=now, occurred_at=decoded.occurred_at, documents=documents, state=own
        )
        return situation, tuple(read)

    async def _look_up(self, lookup: Lookup) -> Document | None:
        document = self.tables.get(lookup.view, lookup.key)
        if document is None and lookup.required:
            # It may have been published just before this event: believe its absence only at the topics' present end.
            if not await self.tables.caught_up():
                raise BrokerUnreachable(
                    f"the topics of the view {lookup.view} could not be read to their end in time; a document that is"
                    " missing from it may be there"
                )
            document = self.tables.get(lookup.view, lookup.key)
            if document is None:
                raise InputRejected(
                    f"got an event that names {lookup.key!r}, which is not in {lookup.view}; publish it first"
                )
        return document

    def _read(self, lookup: Lookup, document: Document | None) -> ContextRead:
        if document is None:
            return ContextRead(name=lookup.view, key=lookup.key, uri=None, sha256=None)
        uri = f"kafka://{self.cluster_id}/{document.topic}/{document.partition}/{document.offset}"
        return ContextRead(name=lookup.view, key=lookup.key, uri=uri, sha256=document.sha256)

    async def _reason(self, situation: Situation[Any]) -> Decided:
        steps = decide(self.agent, self.engine, situation)
        answer: Answer = None
        try:
            ask: Ask = next(steps)
            while True:
                try:
                    answer = await self.reasoner.propose(ask.request)
                except ReasonerError as error:
                    answer = error
                ask = steps.send(answer)
        except StopIteration as done:
            decided: Decided = done.value
            return decided

    def _decision(self, decoded: Decoded, event: Event, decided: Decided, now: datetime) -> Decision:
        where = decoded.where
        chosen = decided.chosen
        action = chosen.proposal.action
        event_id = decoded.attributes.id if decoded.attributes else ""
        return Decision(
            id=decision_id(self.agent.name, where, cluster_id=self.cluster_id),
            request_id=self.agent.request_id(event) or event_id,
            agent=self.agent.name,
            subject=self.agent.subject(event),
            verdict=chosen.judgement.verdict,
            action=action.action_name,
            parameters=action.model_dump(mode="json"),
            policies=chosen.judgement.policies,
            reasons=chosen.judgement.reasons,
            approvers=chosen.judgement.approvers,
            rationale=chosen.proposal.rationale[:MAX_RATIONALE_CHARS],
            confidence=chosen.proposal.confidence,
            reasoner=self.reasoner.name,
            attempts=len(decided.proposals),
            effective=not self.agent.dry_run(event),
            input=where,
            policy_digest=self.engine.digest,
            decided_at=now,
        )

    def _effect(
        self, situation: Situation[Any], decided: Decided, decision: Decision, state: PartitionState
    ) -> tuple[bytes, bytes] | None:
        if self.agent.effect is None or decision.verdict is not Verdict.ALLOW or not decision.effective:
            return None
        after = self.agent.effect(situation, decided.chosen.proposal.action)
        return state.put(situation.event.key(), after)


def _described(judged: JudgedProposal) -> ProposalJudged:
    return ProposalJudged(
        action=judged.proposal.action.action_name,
        parameters=judged.proposal.action.model_dump(mode="json"),
        verdict=judged.judgement.verdict,
        policies=judged.judgement.policies,
        reasons=judged.judgement.reasons,
        errors=kept_errors(judged.judgement.errors),
    )
