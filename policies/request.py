"""What is asked of the policies and what they answer, as frozen values.

Rules upheld here: a policy sees only what an agent declares (an `Entity` for the resource, a `Facts` model for the
context), so the Cedar schema can be generated from these models; an answer always carries every determining policy.
Not here: the engine (`engine.py`) and anything that knows Cedar's calls (`cedar.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol

from jurat.schemas.decision import Verdict
from jurat.schemas.model import Identifier, Model, Timestamp

if TYPE_CHECKING:
    from jurat.schemas.canonical import JsonObject


class Entity(Model):
    """A resource as policies see it; every field but `id` becomes an attribute.

    Attributes:
        entity_type: the Cedar type name without the namespace, for example `Order`.
    """

    entity_type: ClassVar[str]

    id: Identifier


class Facts(Model):
    """The Cedar context of one action: its parameters as policies judge them, and facts derived from what was read.

    The engine adds `now` (datetime), `approvals` (Set<String>) and, where budgets count the action, `usage` (a record
    of Long); a model must not declare these itself.

    A model that declares `confidence: Percent = 100` is told how sure the reasoner is of its proposal, so that a policy
    can escalate what was decided on a thin margin; 100 where the reasoner makes no such claim, and where the action
    space is asked for before anybody proposed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a budget counts; how much of it is allowed is the policies' to say.

    Attributes:
        name: policies read it as `context.usage.<name>`.
        title: what it is, in plain words.
        of: the path of the integer that is summed; None where actions are counted.
        actions: the actions that it counts.
        by: the path of the string that it tells apart; None for one budget over everything.
        window: how long an action counts.
        shares: partitions that it is cut into equal shares for; None where its key is the event's, so that one
            partition sees all of it.
    """

    name: str
    title: str
    of: str | None
    actions: frozenset[str]
    by: str | None
    window: timedelta
    shares: int | None


@dataclass(frozen=True, slots=True)
class Charge:
    """What one action would take of a budget.

    Attributes:
        key: what stands at `budget.by`.
        amount: what it takes if it is allowed: 1, or what stands at `budget.of`.
        used: what was taken within the window before, in this partition.
    """

    budget: Budget
    key: str | None
    amount: int
    used: int

    @property
    def stated(self) -> int:
        """What the policies are told was used.

        A budget in shares is told as if every partition had taken what this one will have: so the limit holds for all
        of them together, whatever the others take.
        """
        shares = self.budget.shares or 1
        return shares * self.used + (shares - 1) * self.amount


class UsageUnknownError(ValueError):
    """What was used of a budget cannot be told, so that nothing may be taken of it; the message says why."""


class UsageSource(Protocol):
    """Knows what was used of budgets; a partition of a worker does."""

    def used(self, budget: Budget, key: str | None, *, now: Timestamp) -> int:
        """What was taken of a budget under a key within the window that ends now.

        Raises:
            UsageUnknownError: that cannot be told.
        """
        ...


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """One question to the policies: may this agent do this action to this resource, given these facts?

    Attributes:
        agent: the agent's name; the Cedar principal.
        action: the action's name; the Cedar action.
        now: the moment of the decision, given by the caller.
        approvals: roles whose approval of exactly this action has been verified.
        usage: what was used of budgets; an action that a budget counts is denied without it.
    """

    agent: str
    action: str
    resource: Entity
    facts: Facts
    now: Timestamp
    approvals: frozenset[str] = frozenset()
    usage: UsageSource | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The policies' answer.

    Attributes:
        verdict: allow, deny or escalate.
        policies: ids of every determining policy, sorted; empty where no permit applied.
        reasons: their titles in the same order; where `policies` is empty, one sentence that says why.
        approvers: roles that may lift the escalation, sorted; empty for other verdicts.
        errors: what went wrong inside the engine; any error means deny.
        normalised: the exact input that was evaluated, as canonical JSON types: who replays it gets the same verdict.
        charges: what the action takes of budgets once it is decided; sorted by the budgets' names.
        evaluated: false where no policy was evaluated, as the bundle has no words for the request: an unknown agent or
            action, or an input that does not fit its schema. It is denied all the same.
    """

    verdict: Verdict
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    approvers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    normalised: JsonObject = field(default_factory=dict)
    charges: tuple[Charge, ...] = ()
    evaluated: bool = True
