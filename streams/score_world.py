"""A simulated world that agents are scored in: what happens, and what an action was worth.

Rules upheld here: a world is seeded and pure; it shows an agent only what a real service would publish, and keeps the
truth to itself; the same world is played by an agent and by the static rule that it is compared with, with the same
draws, so that what differs is the decisions. Not here: running the agent, and statistics (`score.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jurat.agents.agent import Action, Agent, Situation
from jurat.schemas.model import Event, Model


@dataclass(frozen=True, slots=True)
class Step:
    """Something happens: an event that the agent decides, learns from, or is no concern of it.

    Attributes:
        event: what the service publishes.
        at: when; never before the step before.
        documents: what the agent finds where it looks things up, by (view, key).
    """

    event: Event
    at: datetime
    documents: Mapping[tuple[str, str], Model | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one run of a world came to; all amounts are integers.

    Attributes:
        value_minor: what was gained less what was spent and lost, in minor units of the world's one currency.
        cases: how many cases were decided.
        right: of them, how many as somebody would who knows the truth; None where there is no such thing.
        promises: promises that were made; None where none are.
        kept: of them, how many were kept.
    """

    value_minor: int
    cases: int
    right: int | None = None
    promises: int | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One domain to be scored in.

    Attributes:
        name: for example `dunning`.
        agent: who is scored.
        rule: the static rule that it is compared with: what a service's hard-coded branch would do, given what the
            agent is given. Its proposals are judged by the same policies.
        rule_title: the rule in plain words, for example `retry after 1, 3 and 7 days`.
        currency: ISO 4217 code of what the tally counts.
        play: one run, given a seed and the number of cases. It yields steps, and is sent the action that was decided
            and allowed, or None where none was (the event is not decided, or it was denied or escalated).
    """

    name: str
    agent: Agent[Any]
    rule: Callable[[Situation[Any]], Action | None]
    rule_title: str
    currency: str
    play: Callable[[int, int], Generator[Step, Action | None, Tally]]
