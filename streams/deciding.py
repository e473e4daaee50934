"""From one input record to what will be committed about it: the kernel, driven with a reasoner, tables and state.

Rules upheld here: whatever a record holds, one `Verdicted` comes out of it; what may pass (`Retryable`) raises and is
tried again, what will not pass rejects the input; only faults of ours or of Kafka end the worker. The effect on state
comes last, so that whatever fails before leaves the state as it was.

Not here: signing and committing (`outputs.py`), as `seq` and `prev` are known only then; waiting (`partition.py`).
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from jurat.agents.agent import Agent, Lookup, Situation
from jurat.agents.kernel import Decided
from jurat.agents.memory import Memory
from jurat.agents.reasoner import Reasoner
from jurat.audit.disclosure import Salts
from jurat.audit.draft import draft
from jurat.audit.keys import Trust
from jurat.audit.record import ContextRead, DecisionRecord, Outcome, Rejection
from jurat.policies.engine import PolicyEngine
from jurat.schemas.cloudevents import Attributes
from jurat.schemas.codec import SchemaIds, encode
from jurat.schemas.decision import Decision, InputRef, Verdict, decision_id
from jurat.schemas.errors import (
    BrokerUnreachable,
    CanonicalError,
    InputRejected,
    JuratError,
    ProposalInvalid,
    RecordInvalid,
    SchemaError,
)
from jurat.schemas.model import Event, Model
from jurat.streams import approving, forgetting, remembering
from jurat.streams.asking import Calls, reason
from jurat.streams.decoding import Decoded, decode_record
from jurat.streams.documents import Document, Views, digest_of
from jurat.streams.evidence import Texts, Vault
from jurat.streams.kafka import KafkaRecord
from jurat.streams.recording import Recorder
from jurat.streams.shadow import Shadow
from jurat.streams.state import STATE, TIMER, USAGE, Entry, PartitionState
from jurat.streams.timers import standing_timers
from jurat.streams.tracing import OFF, DecisionTrace, Tracing
from jurat.streams.usage import Counted
from jurat.streams.verdicted import Verdicted
from jurat.streams.waiting import check_end_fits

log = logging.getLogger(__name__)

FIRST: Final = "duplicate-of"
"""Under this name a duplicate's record says which decision came first."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides the inputs of one agent, under one bundle.

    Attributes:
        agent: the agent.
        reasoner: who proposes.
        engine: who judges.
        tables: the views that the agent reads.
        cluster_id: the Kafka cluster's id; part of every decision's id.
        clock: the present moment.
        code: version of the program, for the records.
        ids: a Schema Registry's ids, if one is configured.
        tracing: who makes spans of it.
        shadow: whose verdicts are recorded beside the engine's.
        trust: the keys that people answer with, or ask to forget; asked for at each answer and request.
        permits: raises what speaks against signing a decision.
        vault: seals what is personal, in veiled records; None leaves it in the records.
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    tables: Views
    cluster_id: str
    clock: Callable[[], datetime]
    code: str
    ids: SchemaIds | None = None
    tracing: Tracing = OFF
    shadow: Shadow | None = None
    trust: Callable[[], Trust] = lambda: Trust(())
    permits: Callable[[DecisionRecord], None] = lambda _record: None
    vault: Vault | None = None
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        recorder = Recorder(self.agent, self.reasoner, self.engine, self.cluster_id, self.code, self.shadow)
        object.__setattr__(self, "recorder", recorder)

    async def decide(
        self, record: KafkaRecord, state: PartitionState, *, calls: Calls, attempt: int = 0
    ) -> Verdicted:
        """Decide one input; what of the state changes is changed at once.

        Args:
            record: the input.
            state: what its partition remembers.
            calls: who puts requests to the reasoner.
            attempt: how often deciding it failed before.

        Raises:
            Retryable: what failed may pass.
            JuratError: a fault that is not the input's.
        """
        decoded = decode_record(record, ids=self.ids)
        attributes = decoded.attributes
        with self.tracing.decision(
            attributes.traceparent if attributes else None,
            where=decoded.where,
            event_id=attributes.id if attributes else None,
        ) as trace:
            texts = None if self.vault is None else Texts()
            one = Deciding(self, decoded, state, calls, attempt, trace, self.clock(), texts)
            verdicted = await one.decide()
            trace.ended(verdicted.outcome.value, verdicted.draft.decision_id)
        return verdicted

    def given_up(
        self, record: KafkaRecord, error: JuratError, state: PartitionState, *, attempts: int
    ) -> Verdicted:
        """Reject an input that failed too often, or that cannot wait for its first attempt."""
        decoded = decode_record(record, ids=self.ids)
        told = Rejection.of(error, attempts=attempts)
        read = approving.about(self, decoded, state)
        traceparent = decoded.attributes.traceparent if decoded.attributes else None
        return self.ended(
            decoded, Outcome.REJECTED, at=self.clock(), traceparent=traceparent, context=read, rejection=told
        )

    def ended(
        self,
        decoded: Decoded,
        outcome: Outcome,
        *,
        at: datetime,
        traceparent: str | None,
        context: tuple[ContextRead, ...] = (),
        rejection: Rejection | None = None,
    ) -> Verdicted:
        """An input that ends without a decision."""
        name = self.recorder.id_of(decoded)
        record = self.recorder.ended(decoded, outcome, name=name, at=at, context=context, rejection=rejection)
        source = record.inputs[0]
        made = draft(record, source.uri, source.sha256, salts=self.salts)
        texts = {} if self.vault is None else {source.sha256: decoded.record.value or b""}
        return Verdicted(decoded, at, outcome, made, traceparent, rejection=rejection, texts=texts)

    @property
    def salts(self) -> Salts | None:
        """Where the salts of veiled records come from; None where records are not veiled."""
        return None if self.vault is None else self.vault.draw

    def uri(self, where: InputRef) -> str:
        """Where something stands, for a record."""
        return f"kafka://{self.cluster_id}/{where.topic}/{where.partition}/{where.offset}"


@dataclass(frozen=True, slots=True)
class Deciding:
    """One input on its way; the names are those of `Decider.decide`."""

    by: Decider
    decoded: Decoded
    state: PartitionState
    calls: Calls
    attempt: int
    trace: DecisionTrace
    now: datetime
    texts: Texts | None = None

    async def decide(self) -> Verdicted:
        """Take it to its end."""
        event = self.decoded.event
        if event is None:
            return self._rejected(self.decoded.error or SchemaError("the record holds no event"))
        try:
            verdicted = await approving.answered(self, event) or forgetting.requested(self, event)
            verdicted = verdicted or self._ended_unheard(event)
            if verdicted is None:
                verdicted = await self._judged(event)
        except (CanonicalError, InputRejected, ProposalInvalid, RecordInvalid) as error:
            return self._rejected(error)
        except JuratError:
            raise  # not the input's fault: it is tried again, or ends the worker
        except Exception as error:  # noqa: BLE001 - an agent's own code may raise anything, and would again
            return self._rejected(self._defect(error))
        if verdicted.outcome is not Outcome.DUPLICATE:
            self._remember()
        return verdicted

    def _ended_unheard(self, event: Event) -> Verdicted | None:
        """How an input ends about which nobody needs to be asked; None when somebody must."""
        agent, record = self.by.agent, self.decoded.record
        attributes = self._repeatable()
        if attributes is not None:
            first = self.state.seen.first(attributes.source, attributes.id, timestamp_ms=record.timestamp_ms)
            # After a crash the window may hold an input that had ended but was not committed: that is no repeat.
            if first is not None and first.offset != record.offset:
                where = InputRef(topic=record.topic, partition=record.partition, offset=first.offset)
                name = decision_id(agent.name, where, cluster_id=self.by.cluster_id)
                read = ContextRead(name=FIRST, key=name, uri=self.by.uri(where), sha256=first.sha256)
                return self.ended(Outcome.DUPLICATE, context=(read,))
        if not agent.decides(event):
            return remembering.ended(self, event, Outcome.SKIPPED)
        limit = agent.expires_after
        if limit is not None and self.now - self.decoded.occurred_at > limit:
            return remembering.ended(self, event, Outcome.EXPIRED)
        return None

    async def _judged(self, event: Event) -> Verdicted:
        recorder = self.by.recorder
        name = recorder.id_of(self.decoded)
        situation, context = await self.situation(event, remembering.taught(self, event))
        decided = await reason(self, situation, name)
        decision = recorder.decision(self.decoded, event, decided, name=name, at=self.now)
        record = recorder.judged(self.decoded, decided, decision, context)

        def change() -> approving.Changes:
            follow = self.effect(situation, decided, decision)
            entries, asked = approving.ask(self, decided, decision)
            return (*entries, *follow()), asked

        return self.finished(decision, record, change)

    def finished(
        self, decision: Decision, record: DecisionRecord, change: Callable[[], approving.Changes]
    ) -> Verdicted:
        """A decision with its record; `change` changes the state, once nothing else can fail."""
        self.by.permits(record)
        value = encode(decision, ids=self.by.ids)
        made = draft(record, decision.id, hashlib.sha256(value).hexdigest(), salts=self.by.salts)
        if self.texts is not None:
            self.texts.keep(self.decoded.record.value or b"")
            self.texts.keep(value)
        check_end_fits(decision, made)
        changelog, asked = change()
        return Verdicted(
            self.decoded,
            self.now,
            record.outcome,
            made,
            self.trace.traceparent,
            decision=decision,
            decision_value=value,
            changelog=changelog,
            asked=asked,
            texts={} if self.texts is None else self.texts.held,
        )

    async def situation(self, event: Event, memory: Memory) -> tuple[Situation[Any], tuple[ContextRead, ...]]:
        """What deciding an event depends on, and what of it was looked up."""
        documents: dict[tuple[str, str], Model | None] = {}
        read: list[ContextRead] = []
        for lookup in self.by.agent.lookups(event):
            document = await self._look_up(lookup)
            documents[lookup.view, lookup.key] = document.model if document else None
            read.append(self._read(lookup, document))
        own = self.state.documents.get(event.key())
        if own is not None:
            read.append(ContextRead(name="state", key=event.key(), uri=None, sha256=digest_of(own)))
        read.extend(remembering.read(self, event, memory))
        situation = Situation(event, self.now, self.decoded.occurred_at, documents, own, memory)
        if self.texts is not None:
            for model in (*documents.values(), own, memory):
                self.texts.keep_model(model)
        return situation, tuple(read)

    async def _look_up(self, lookup: Lookup) -> Document | None:
        tables, partition = self.by.tables, self.decoded.record.partition
        document = tables.get(lookup.view, lookup.key, partition=partition)
        if document is None and lookup.required:
            # It may have been published just before this event: believe its absence only at the topics' present end.
            if not await tables.caught_up(partition=partition):
                raise BrokerUnreachable(
                    f"the topics of the view {lookup.view} could not be read to their end in time; a document that is"
                    " missing from it may be there"
                )
            document = tables.get(lookup.view, lookup.key, partition=partition)
            if document is None:
                raise InputRejected(
                    f"got an event that names {lookup.key!r}, which is not in {lookup.view}; publish it first"
                )
        return document

    def _read(self, lookup: Lookup, document: Document | None) -> ContextRead:
        if document is None:
            return ContextRead(name=lookup.view, key=lookup.key, uri=None, sha256=None)
        where = InputRef(topic=document.topic, partition=document.partition, offset=document.offset)
        return ContextRead(name=lookup.view, key=lookup.key, uri=self.by.uri(where), sha256=document.sha256)

    def judge(self, situation: Situation[Any]) -> Counted:
        """Who judges a situation: the policies, told what its partition took of budgets."""
        return Counted(self.trace.judging(self.by.engine), self.state.usage, situation.event.key())

    def effect(
        self, situation: Situation[Any], decided: Decided, decision: Decision
    ) -> Callable[[], tuple[Entry, ...]]:
        """What follows from a decision, made and checked; called, it changes the state.

        Raises:
            InputRejected, CanonicalError, TypeError: it cannot be written; nothing was set.
        """
        agent, state, event, memory = self.by.agent, self.state, situation.event, situation.memory
        key, action = event.key(), decided.chosen.proposal.action
        allowed = decision.verdict is Verdict.ALLOW
        after: Model | None = None
        timers: Mapping[str, datetime] | None = None
        if allowed and decision.effective:
            after = agent.effect(situation, action) if agent.effect is not None else None
            timers = agent.timers(situation, action) if agent.timers is not None else None
            memory = remembering.decided(self, situation, action, source=decision.input)
        elif decision.verdict is Verdict.ESCALATE and decision.effective and agent.meanwhile is not None:
            waits = agent.meanwhile(situation, action)
            after, timers = waits.state, waits.timers
            state.documents.printed(key, after)  # other things are set before it
        standing = standing_timers(timers or {}, set_by=decision.input)

        def follow() -> tuple[Entry, ...]:
            changed: list[Entry] = []
            if after is not None:
                changed.append((f"{STATE}{state.input_topic}/{key}", state.documents.put(key, after)))
            if timers is not None:
                changed.append((f"{TIMER}{state.input_topic}/{key}", state.timers.replace(key, standing)))
            if allowed and decision.effective:
                taken = state.usage.take(decided.chosen.judgement.charges, where=decision.input, at=self.now)
                changed += [(f"{USAGE}{name}", value) for name, value in taken]
            return (*changed, *remembering.kept(self, event, memory))

        return follow

    def _rejected(self, error: Exception) -> Verdicted:
        return self.ended(Outcome.REJECTED, rejection=Rejection.of(error))

    def ended(
        self,
        outcome: Outcome,
        *,
        context: tuple[ContextRead, ...] = (),
        rejection: Rejection | None = None,
    ) -> Verdicted:
        """The input ends without a decision."""
        return self.by.ended(
            self.decoded,
            outcome,
            at=self.now,
            traceparent=self.trace.traceparent,
            context=context,
            rejection=rejection,
        )

    def _defect(self, error: Exception) -> InputRejected:
        # The frames alone: the message of an error may quote what the event holds.
        frames = "".join(traceback.format_tb(error.__traceback__))
        record = self.decoded.record
        log.error(
            "agent failed agent=%s topic=%s partition=%d offset=%d error=%s\n%s",
            self.by.agent.name,
            record.topic,
            record.partition,
            record.offset,
            type(error).__name__,
            frames,
        )
        return InputRejected(f"the agent's own code failed on this input: {type(error).__name__}")

    def _repeatable(self) -> Attributes | None:
        """The input's envelope, if it may come twice; timers that fired are written in transactions of ours."""
        return self.decoded.attributes if self.decoded.record.topic == self.state.input_topic else None

    def _remember(self) -> None:
        attributes, record = self._repeatable(), self.decoded.record
        if attributes is not None:
            self.state.seen.remember(
                attributes.source,
                attributes.id,
                offset=record.offset,
                sha256=hashlib.sha256(record.value or b"").hexdigest(),
                timestamp_ms=record.timestamp_ms,
            )
