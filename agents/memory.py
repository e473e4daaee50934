"""What an agent remembers of a subject: facts with where they come from, as a frozen document.

Rules upheld here: a fact says what, since when, from which event and for which purpose; it comes from a decision or
from a projection that the agent declares, never from a reasoner's free text; a newer fact of the same name ends the one
before, which stays for those who ask what was known then; both are bounded. The subject is the key of the agent's
events, so that one partition holds all that is remembered of it.

Not here: where memory is kept and forgotten (`jurat.streams`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from jurat.schemas.decision import InputRef
from jurat.schemas.model import Identifier, Model, Text, Timestamp

if TYPE_CHECKING:
    from jurat.agents.agent import Action, Situation
    from jurat.schemas.model import Event

MAX_FACTS: Final = 200
"""Facts kept of one subject, ended ones included: what a prompt can carry, and a state entry of some 60 KB."""

Value = bool | int | Text


@dataclass(frozen=True, slots=True)
class Learned:
    """What is to be remembered.

    Attributes:
        name: what it is about, for example `champion_promoted`; it ends the fact of this name that stood before.
        value: what is known; None ends the fact that stood without a new one.
        since: since when it is true, as the event says.
        purpose: what it may be used for, for example `retention`.
    """

    name: str
    value: bool | int | str | None
    since: datetime
    purpose: str


class Fact(Model):
    """One thing that is known of a subject.

    Attributes:
        name: what it is about.
        value: what is known.
        since: since when it is true, as its event says.
        learned_at: when it was written down.
        source: the input that it comes from.
        purpose: what it may be used for.
        ended_at: when another took its place; None while it stands.
    """

    name: Identifier
    value: Value
    since: Timestamp
    learned_at: Timestamp
    source: InputRef
    purpose: Identifier
    ended_at: Timestamp | None = None


class Memory(Model):
    """Everything that is remembered of one subject, in the order in which it was learned."""

    facts: Annotated[tuple[Fact, ...], Field(max_length=MAX_FACTS)] = ()

    def known(self, name: str) -> Fact | None:
        """The fact of this name that stands."""
        return next(
            (fact for fact in reversed(self.facts) if fact.name == name and fact.ended_at is None), None
        )


NOTHING: Final = Memory()


@dataclass(frozen=True, slots=True)
class Remembering:
    """What an agent remembers.

    Attributes:
        from_events: by event type, what an event teaches, given the moment when it happened. The type need not be one
            that the agent decides: one that it only learns from ends `skipped`.
        from_decisions: what an allowed, effective action teaches.
    """

    from_events: Mapping[type[Event], Callable[[Any, datetime], tuple[Learned, ...]]] = field(
        default_factory=dict
    )
    from_decisions: Callable[[Situation[Any], Action], tuple[Learned, ...]] = lambda _situation, _action: ()
