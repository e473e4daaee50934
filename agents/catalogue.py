"""The agents and reasoners that come with jurat, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.agent import Agent
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.ranker import RANKER
from jurat.agents.reasoner import Reasoner
from jurat.agents.requested import RequestedReasoner
from jurat.agents.trust_scorer import TRUST_SCORER

AGENTS: Mapping[str, Agent[Any]] = {
    agent.name: agent
    for agent in (AFTER_SALES, DISPUTE_MEDIATOR, FULFILMENT_ROUTER, PAYMENT_RETRIER, RANKER, TRUST_SCORER)
}

REASONERS: Mapping[str, Callable[[], Reasoner]] = {
    "heuristic": HeuristicReasoner,
    "requested": RequestedReasoner,
}
