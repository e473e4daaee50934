"""An agent run in memory: events into views, requests through kernel and policy engine, effects into state.

It does what a worker does between Kafka and Kafka, one input at a time, so that a test can say what an agent decides.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jurat.agents.agent import Agent, Situation
from jurat.agents.kernel import Decided, Resolution, decide
from jurat.agents.reasoner import Proposal, Reasoner
from jurat.agents.requested import RequestedReasoner
from jurat.policies.engine import PolicyEngine
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Event, Model

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

Documents = dict[tuple[str, str], Model]


def folded(agent: Agent[Any], events: Iterable[Event], into: Documents | None = None) -> Documents:
    """The documents of an agent's views after these events."""
    documents: Documents = {} if into is None else into
    for event in events:
        for view in agent.views:
            for key in view.keys(event):
                documents[view.name, key] = view.fold(documents.get((view.name, key)), event, key)
    return documents


@dataclass
class Driver:
    """One agent with its documents and its states by key."""

    agent: Agent[Any]
    engine: PolicyEngine
    documents: Documents
    reasoner: Reasoner = field(default_factory=RequestedReasoner)
    states: dict[str, Model] = field(default_factory=dict)

    def situation(self, event: Event) -> Situation[Any]:
        """What the agent knows when it decides an event; a missing required document rejects it."""
        documents: dict[tuple[str, str], Model | None] = {}
        for lookup in self.agent.reads(event):
            found = self.documents.get((lookup.view, lookup.key))
            if found is None and lookup.required:
                raise InputRejected(f"got no {lookup.view} {lookup.key}")
            documents[lookup.view, lookup.key] = found
        return Situation(event, NOW, NOW, documents, self.states.get(event.key()))

    def decide(self, event: Event) -> Decided:
        """Decide an event; what an allowed one changes holds for the next one, unless it is a dry run."""
        situation = self.situation(event)
        steps = decide(self.agent, self.engine, situation)
        answer: Proposal | None = None
        try:
            ask = next(steps)
            while True:
                answer = _run(self.reasoner.propose(ask.request))
                ask = steps.send(answer)
        except StopIteration as done:
            decided: Decided = done.value
        allowed = decided.resolution is Resolution.DECIDED
        if allowed and not self.agent.dry_run(event) and self.agent.effect is not None:
            self.states[event.key()] = self.agent.effect(situation, decided.chosen.proposal.action)
        return decided


def _run(proposing: Coroutine[Any, Any, Proposal | None]) -> Proposal | None:
    """Take the answer of a reasoner that waits for nothing; an event loop of its own where it does."""
    try:
        proposing.send(None)
    except StopIteration as done:
        answer: Proposal | None = done.value
        return answer
    proposing.close()
    raise AssertionError("got a reasoner that waits for something, expected one that answers at once")
