"""The agents and reasoners that this process knows, by name: those that come with jurat, or those of a project.

Rules upheld here: a project's agents take the place of the shipped ones, so that what is run, made or listed for every
agent is the project's own; it may name shipped ones among its agents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.agent import Agent
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.dunning import DUNNING
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.notifier import NOTIFIER
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR
from jurat.agents.ranker import RANKER
from jurat.agents.reasoner import Reasoner
from jurat.agents.requested import RequestedReasoner
from jurat.agents.retention import RETENTION
from jurat.agents.trust_scorer import TRUST_SCORER
from jurat.agents.upgrade_adviser import UPGRADE_ADVISER

SHIPPED: Final[Mapping[str, Agent[Any]]] = {
    agent.name: agent
    for agent in (
        AFTER_SALES,
        DISPUTE_MEDIATOR,
        DUNNING,
        FULFILMENT_ROUTER,
        NOTIFIER,
        PAYMENT_RETRIER,
        PROMISE_NEGOTIATOR,
        RANKER,
        RETENTION,
        TRUST_SCORER,
        UPGRADE_ADVISER,
    )
}

_known: Final[dict[str, Agent[Any]]] = dict(SHIPPED)

AGENTS: Final[Mapping[str, Agent[Any]]] = MappingProxyType(_known)
"""The agents that this process knows."""

REASONERS: Mapping[str, Callable[[], Reasoner]] = {
    "heuristic": HeuristicReasoner,
    "requested": RequestedReasoner,
}


def use(agents: Iterable[Agent[Any]]) -> None:
    """Know these agents from now on, and no others."""
    named = {agent.name: agent for agent in agents}
    _known.clear()
    _known.update(named)
