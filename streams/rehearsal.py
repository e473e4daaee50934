"""An agent run in memory, without Kafka: events in, decisions out, on a clock that the caller moves.

Rules upheld here: it decides as a worker does, through the same decoding, kernel, policies, budgets, state, timers and
approvals; what a worker would try again or end for is raised; time passes only when the caller says so, and never
backwards. Each event is decided to its end before the next one. Not here: transactions, signatures, the journal of
model calls, and what only shows with many partitions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from jurat.agents.agent import Action, Agent
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.kernel import Use
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, ToolResult
from jurat.audit.approval import Answer, answer_to
from jurat.audit.chain import ChainHead
from jurat.audit.draft import Draft
from jurat.audit.ed25519 import SigningKey
from jurat.audit.keys import PemSigner, Trust, TrustedApprover
from jurat.audit.record import DecisionRecord, Outcome, Rejection, parse
from jurat.policies.engine import PolicyEngine
from jurat.schemas import catalogue
from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.decision import Decision, InputRef, Verdict, decision_id
from jurat.schemas.errors import ConfigurationError, UnknownSchema
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Event, Model
from jurat.schemas.timers import TimerFired
from jurat.streams import topics
from jurat.streams.approving import action_of
from jurat.streams.asking import used
from jurat.streams.deciding import Decider
from jurat.streams.documents import Document, Documents, digest_of, keys_of
from jurat.streams.kafka import KafkaRecord
from jurat.streams.state import PartitionState
from jurat.streams.verdicted import Verdicted

CLUSTER: Final = "rehearsal"
"""Stands where records and decision ids name the Kafka cluster."""

PARTITION: Final = 0
"""All keys are in one partition: what an agent may know of another key, it would know there."""

MAX_FIRED: Final = 10_000
"""Timers that one `advance` fires: an agent that sets a timer for now each time that one fires would never end."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How an event ended.

    Attributes:
        event: the event.
        at: when it was decided.
        outcome: how it ended.
        decision: the decision, None where none was made (rejected, skipped, expired, duplicate).
        action: what was decided, where it is allowed and has an effect; None where it was denied or escalated.
        rejection: why it was rejected.
    """

    event: Event
    at: datetime
    outcome: Outcome
    decision: Decision | None
    action: Action | None
    rejection: Rejection | None
    _draft: Draft = field(repr=False)

    @property
    def record(self) -> DecisionRecord:
        """The audit record, as it would be signed at the beginning of a chain."""
        return parse(self._draft.finish(ChainHead())).predicate


class Rehearsal:
    """Runs one agent in memory.

    Args:
        agent: the agent.
        engine: who judges: the agent's bundle, loaded.
        reasoner: who proposes; None takes the heuristic reasoner.
        at: the moment at which it begins, with a zone.

    Attributes:
        now: the present moment.
    """

    def __init__(
        self, agent: Agent[Any], *, engine: PolicyEngine, at: datetime, reasoner: Reasoner | None = None
    ) -> None:
        _check_zone(at)
        self.now = at
        self._agent = agent
        self._offsets: dict[str, int] = defaultdict(int)
        self._views = _Views(agent)
        self._trust = Trust(())
        self._own_topic = topics.timers(agent.name).name
        self._state = PartitionState(
            agent.state_model, input_topic=agent.topic, timer_topic=self._own_topic, partition=PARTITION
        )
        self._decider = Decider(
            agent=agent,
            reasoner=reasoner or HeuristicReasoner(),
            engine=engine,
            tables=self._views,
            cluster_id=CLUSTER,
            clock=lambda: self.now,
            code="jurat rehearsal",
            trust=lambda: self._trust,
        )

    async def send(
        self,
        event: Event,
        *,
        at: datetime | None = None,
        event_id: str | None = None,
        documents: Mapping[tuple[str, str], Model | None] | None = None,
    ) -> Rehearsed | None:
        """Publish an event: the agent's views fold it, and the agent decides it where it is on its topic.

        Args:
            event: the event.
            at: when it happens, now where nothing is said; a timer that is due before must have been fired (`advance`).
            event_id: its CloudEvents id; None makes one. The same id again is a repeat.
            documents: what the agent finds where it looks things up, by (view, key), from now on; None forgets one.

        Returns:
            How it ended; None for an event that is not on the agent's topic.

        Raises:
            ConfigurationError: time would run backwards or past a timer, or there is no such view.
            UnknownSchema: events of this type are not known, or nothing says on which topic they are.
            JuratError: what a worker would try again, or end for.
        """
        self._move_to(at or self.now)
        for (view, key), model in (documents or {}).items():
            self._views.put(view, key, model)
        record = self._record(event, event_id)
        self._views.fold(event, record)
        if record.topic not in (self._agent.topic, self._own_topic):
            return None
        return await self._decide(event, record)

    async def advance(self, to: datetime) -> tuple[Rehearsed, ...]:
        """Let time pass: timers and time-outs of approvals that are due fire one by one, each at its moment.

        Args:
            to: the moment that is present then.

        Raises:
            ConfigurationError: it is before the present one, or timers go on firing at one moment.
        """
        self._check_onwards(to)
        ended: list[Rehearsed] = []
        while (moment := self._state.next_due) is not None and moment <= to:
            self.now = max(self.now, moment)
            for due in self._state.take_due(self.now):
                if len(ended) >= MAX_FIRED:
                    raise ConfigurationError(
                        f"got more than {MAX_FIRED} timers of {self._agent.name} until {to.isoformat()}, expected an"
                        " agent whose timers come to an end"
                    )
                event = due.event(self._agent.name)
                setter = decision_id(self._agent.name, due.set_by, cluster_id=CLUSTER)
                ended.append(await self._decide(event, self._record(event, f"{setter}/{due.name}")))
        self.now = to
        return tuple(ended)

    async def answer(
        self, decision: Decision, answer: Answer, *, role: str, approver: str = "", why: str = "rehearsed"
    ) -> Rehearsed:
        """Answer a decision that waits for people, as somebody who holds this role.

        Args:
            decision: the escalated decision.
            answer: whether it is granted or refused.
            role: the role, one of those that the decision asks.
            approver: who answers; the role's own name where nothing is said. Two roles are two people.
            why: what the approver says.

        Raises:
            ConfigurationError: the decision does not wait.
        """
        waiting = self._state.waiting.get(decision.id)
        if waiting is None:
            raise ConfigurationError(
                f"got an answer about {decision.id}, which does not wait for one; it is {decision.verdict}"
            )
        name = approver or role
        signer = _signer(name)
        known = next((one for one in self._trust.approvers if one.approver == name), None)
        roles = {role, *(known.roles if known else ())}
        others = tuple(one for one in self._trust.approvers if one.approver != name)
        self._trust = Trust((), (*others, TrustedApprover(name, signer.keyid, tuple(sorted(roles)))))
        event = await answer_to(
            waiting.request(), answer, approver=name, role=role, why=why, at=self.now, signer=signer
        )
        return await self._decide(event, self._record(event, None))

    def state(self, key: str) -> Model | None:
        """The agent's state document of an event key."""
        return self._state.documents.get(key)

    @property
    def next_due(self) -> datetime | None:
        """When the next timer or time-out is due."""
        return self._state.next_due

    def close(self) -> None:
        """Give back what documents take outside of memory."""
        self._state.close()
        self._views.close()

    async def _decide(self, event: Event, record: KafkaRecord) -> Rehearsed:
        ended = await self._decider.decide(record, self._state, calls=_AtOnce())
        self._state.seen.flush()
        self._state.seen.committed()
        return Rehearsed(
            event,
            ended.at,
            ended.outcome,
            ended.decision,
            self._action(ended),
            ended.rejection,
            ended.draft,
        )

    def _action(self, ended: Verdicted) -> Action | None:
        decision = ended.decision
        if decision is None or decision.verdict is not Verdict.ALLOW or not decision.effective:
            return None
        return action_of(self._agent, decision)

    def _record(self, event: Event, event_id: str | None) -> KafkaRecord:
        if type(event) not in catalogue.known():
            raise UnknownSchema(
                f"got an event of the class {type(event).__name__}, which nobody declared as {event.event_type()}; name"
                " it in the project's app, and let tests know the app: pytest -p jurat.testing"
            )
        topic = self._topic_of(event)
        offset = self._offsets[topic]
        self._offsets[topic] += 1
        headers = headers_for(
            event, event_id=event_id or f"{topic}-{offset}", source="/rehearsal", time=self.now
        )
        return KafkaRecord(
            topic,
            PARTITION,
            offset,
            int(self.now.timestamp() * 1_000),
            event.key().encode(),
            encode(event),
            tuple(headers),
        )

    def _topic_of(self, event: Event) -> str:
        if isinstance(event, TimerFired | ApprovalAnswered | ForgetRequested):
            return self._own_topic
        if isinstance(event, self._agent.listens[self._agent.topic]):
            return self._agent.topic
        try:
            return topics.of_event(type(event)).name
        except UnknownSchema as error:
            raise UnknownSchema(
                f"got a {type(event).__name__}, which is neither on the topic of {self._agent.name} nor on any that is"
                " declared"
            ) from error

    def _move_to(self, at: datetime) -> None:
        self._check_onwards(at)
        due = self._state.next_due
        if due is not None and due < at:
            raise ConfigurationError(
                f"got an event at {at.isoformat()}, but a timer is due before it, at {due.isoformat()}: let time pass"
                " first (`advance`)"
            )
        self.now = at

    def _check_onwards(self, to: datetime) -> None:
        _check_zone(to)
        if to < self.now:
            raise ConfigurationError(
                f"got the moment {to.isoformat()}, expected none before the present one, {self.now.isoformat()}"
            )


class _Views:
    """The agent's views: folded from the events that were sent, or told; satisfies `jurat.streams.documents.Views`."""

    def __init__(self, agent: Agent[Any]) -> None:
        self._agent = agent
        self._views = {view.name: view for view in agent.views}
        self._folded = {view.name: Documents(view) for view in agent.views}
        self._told: dict[tuple[str, str], Document | None] = {}

    def put(self, view: str, key: str, model: Model | None) -> None:
        if view not in self._views:
            known = ", ".join(self._views) or "none"
            raise ConfigurationError(
                f"got a document of the view {view!r}, expected one of {self._agent.name}: {known}"
            )
        topic = self._views[view].topics[0]
        told = None if model is None else Document(model, topic, PARTITION, 0, digest_of(model))
        self._told[view, key] = told

    def fold(self, event: Event, record: KafkaRecord) -> None:
        for view in self._agent.views:
            if record.topic in view.topics:
                keys = keys_of(view, event)
                self._folded[view.name].fold(event, keys, record)
                for key in keys:
                    self._told.pop((view.name, key), None)

    def get(self, view: str, key: str, *, partition: int) -> Document | None:  # noqa: ARG002 - there is one
        if (view, key) in self._told:
            return self._told[view, key]
        return self._folded[view].get(key)

    async def caught_up(self, *, partition: int) -> bool:  # noqa: ARG002 - as above
        return True

    async def open_partition(self, partition: int) -> None:
        """It is open."""

    def close_partition(self, partition: int) -> None:
        """Its documents go with the rehearsal (`close`)."""

    def close(self) -> None:
        for documents in self._folded.values():
            documents.close()


class _AtOnce:
    """Asks reasoner and tools and remembers nothing; satisfies `jurat.streams.asking.Calls`."""

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,  # noqa: ARG002 - for a journal
        decision_id: str,  # noqa: ARG002 - as above
        attempt: int,  # noqa: ARG002 - as above
        ask: int,  # noqa: ARG002 - as above
    ) -> Proposal | ToolCall | None:
        return await reasoner.propose(request)

    async def use(
        self,
        use: Use,
        *,
        where: InputRef,  # noqa: ARG002 - as above
        decision_id: str,  # noqa: ARG002 - as above
        attempt: int,  # noqa: ARG002 - as above
        ask: int,  # noqa: ARG002 - as above
    ) -> ToolResult:
        return await used(use)


def _check_zone(moment: datetime) -> None:
    if moment.tzinfo is None:
        raise ConfigurationError(f"got the moment {moment.isoformat()} without a zone, expected one with it")


def _signer(name: str) -> PemSigner:
    """A key that anybody can make: it is trusted in a rehearsal and nowhere else."""
    return PemSigner(SigningKey(sha256(f"rehearsal of {name}".encode()).digest()))
