"""What an agent remembers of a subject: facts with where they come from, as a frozen document.

Rules upheld here: a fact says what, since when, from which event and for which purpose; it comes from a decision or
from a projection that the agent declares, never from a reasoner's free text; a newer fact of the same name ends the one
before, which stays for those who ask what was known then; both are bounded. "Newer" is the order in which facts are
learned, which is that of the subject's inputs, not `since`: Kafka's order is the same for everybody who reads it again.
The subject is the key of the agent's events, so that one partition holds all that is remembered of it.

Not here: where memory is kept and forgotten (`jurat.streams`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from jurat.schemas.decision import InputRef
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Model, Timestamp

if TYPE_CHECKING:
    from jurat.agents.agent import Action, Situation
    from jurat.schemas.model import Event

MAX_FACTS: Final = 200
"""Facts kept of one subject, ended ones included: what a prompt can carry, and a state entry of some 60 KB."""

MAX_VALUE_CHARS: Final = 300
MAX_NAME_CHARS: Final = 64
"""Characters of a text that is remembered, and of a fact's name or purpose. With these, `MAX_FACTS` facts fit the
512 KiB of a changelog entry whatever they say, 2,621 bytes each: at worst a character takes six bytes in canonical JSON
(a control character), one of a name two, the rest some 450. So a long history never makes an input fail."""

FactName = Annotated[str, Field(pattern=rf"^[ -~]{{1,{MAX_NAME_CHARS}}}$")]
"""Printable ASCII: names and purposes are written by who declares the agent."""

Value = bool | int | Annotated[str, Field(max_length=MAX_VALUE_CHARS)]


@dataclass(frozen=True, slots=True)
class Learned:
    """What is to be remembered.

    Attributes:
        name: what it is about, for example `champion_promoted`; it ends the fact of this name that stood before.
        value: what is known, a text of at most `MAX_VALUE_CHARS`; None ends the fact that stood without a new one.
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

    name: FactName
    value: Value
    since: Timestamp
    learned_at: Timestamp
    source: InputRef
    purpose: FactName
    ended_at: Timestamp | None = None


class Memory(Model):
    """Everything that is remembered of one subject, in the order in which it was learned.

    Attributes:
        facts: those that stand, and those that ended.
        trimmed_at: when facts were last left out for want of room; None while everything is still there.
    """

    facts: Annotated[tuple[Fact, ...], Field(max_length=MAX_FACTS)] = ()
    trimmed_at: Timestamp | None = None

    def known(self, name: str) -> Fact | None:
        """The fact of this name that stands."""
        return next(
            (fact for fact in reversed(self.facts) if fact.name == name and fact.ended_at is None), None
        )

    def whole_at(self, moment: datetime) -> bool:
        """Whether nothing is missing of what was remembered at a moment, so that `as_of` gives exactly that."""
        return self.trimmed_at is None or self.trimmed_at <= moment


NOTHING: Final = Memory()


def remember(memory: Memory, learned: Sequence[Learned], *, source: InputRef, learned_at: datetime) -> Memory:
    """Write down what an input taught; of several things with one name the last counts.

    Doing it again for the same source changes nothing. Above `MAX_FACTS` the facts that ended go first, then those that
    stand, each time the one learned first: a subject with a long history must not make its next input fail, and what
    was learned last is what it teaches.

    Args:
        memory: what was remembered before.
        learned: what is to be remembered.
        source: the input that it comes from.
        learned_at: the present moment; what ends, ends then.

    Raises:
        InputRejected: one input teaches more than is kept.
        ValidationError: (pydantic's) a name, value or purpose is not what a fact holds.
    """
    latest = {one.name: one for one in learned}
    if len(latest) > MAX_FACTS:
        raise InputRejected(
            f"got an input that teaches {len(latest)} facts, expected at most {MAX_FACTS}; remember less of it"
        )
    facts = list(memory.facts)
    for at, fact in enumerate(facts):
        one = latest.get(fact.name)
        if one is None or fact.ended_at is not None:
            continue
        if fact.source == source and _said(fact) == _said(one):
            del latest[fact.name]  # written down before
        else:
            facts[at] = fact.model_copy(update={"ended_at": learned_at})
    facts += [
        Fact(
            name=one.name,
            value=one.value,
            since=one.since,
            learned_at=learned_at,
            source=source,
            purpose=one.purpose,
        )
        for one in latest.values()
        if one.value is not None
    ]
    excess = len(facts) - MAX_FACTS
    if excess <= 0:
        return Memory(facts=tuple(facts), trimmed_at=memory.trimmed_at)
    ended_first = sorted(range(len(facts)), key=lambda at: (facts[at].ended_at is None, at))
    gone = frozenset(ended_first[:excess])
    return Memory(
        facts=tuple([fact for at, fact in enumerate(facts) if at not in gone]), trimmed_at=learned_at
    )


def as_of(memory: Memory, moment: datetime) -> Memory:
    """What was remembered at a moment, as it stood: what was learned later is left out, what ended later stands.

    It is exact where `memory.whole_at(moment)`; before that, facts that were left out since are missing.
    """
    return Memory(
        facts=tuple(
            [
                fact
                if fact.ended_at is None or fact.ended_at <= moment
                else fact.model_copy(update={"ended_at": None})
                for fact in memory.facts
                if fact.learned_at <= moment
            ]
        ),
        trimmed_at=memory.trimmed_at if memory.whole_at(moment) else None,
    )


def _said(known: Fact | Learned) -> tuple[object, ...]:
    """What is known; 1 and true are two values."""
    return (type(known.value), known.value, known.since, known.purpose)


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
