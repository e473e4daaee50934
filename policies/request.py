"""What is asked of the policies and what they answer, as frozen values.

Rules upheld here: a policy sees only what an agent declares (an `Entity` for the resource, a `Facts` model for the
context), so the Cedar schema can be generated from these models; an answer always carries every determining policy.
Not here: the engine (`engine.py`) and anything that knows Cedar's calls (`cedar.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

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

    The engine adds `now` (datetime) and `approvals` (Set<String>); a model must not declare these itself.
    """


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """One question to the policies: may this agent do this action to this resource, given these facts?

    Attributes:
        agent: the agent's name; the Cedar principal.
        action: the action's name; the Cedar action.
        now: the moment of the decision, given by the caller.
        approvals: roles whose approval of exactly this action has been verified.
    """

    agent: str
    action: str
    resource: Entity
    facts: Facts
    now: Timestamp
    approvals: frozenset[str] = frozenset()


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
        evaluated: false where no policy was evaluated, as the bundle has no words for the request: an unknown agent or
            action, or an input that does not fit its schema. It is denied all the same.
    """

    verdict: Verdict
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    approvers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    normalised: JsonObject = field(default_factory=dict)
    evaluated: bool = True
