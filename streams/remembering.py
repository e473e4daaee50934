"""What inputs and decisions teach, written into the memory of their key.

Rules upheld here: an event teaches before it is decided, so that its own decision knows it; a decision teaches after,
a microsecond later, so that what was known at the moment of the decision is what it saw; duplicates, rejected inputs
and dry runs teach nothing. Only events on the agent's input topic teach, of whatever type, decided or not. What is made
here can be written: it is printed before anything of the state is set.

Not here: what a memory is and how facts end (`jurat.agents.memory`), where it is kept (`state.py`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from jurat.agents.memory import NOTHING, Memory, remember
from jurat.audit.record import ContextRead, Outcome
from jurat.schemas.model import Event
from jurat.streams.documents import digest_of
from jurat.streams.state import MEMORY, Entry

if TYPE_CHECKING:
    from jurat.agents.agent import Action, Situation
    from jurat.schemas.decision import InputRef
    from jurat.streams.deciding import Deciding
    from jurat.streams.verdicted import Verdicted

AFTER: Final = timedelta(microseconds=1)
"""How long after its moment a decision teaches: the smallest step that a timestamp has."""


def known(case: Deciding, event: Event) -> Memory:
    """What is remembered of an event's key."""
    held = case.state.memories.get(event.key())
    return held if isinstance(held, Memory) else NOTHING


def taught(case: Deciding, event: Event) -> Memory:
    """What is remembered of an event's key once the event has taught; nothing is set yet.

    Raises:
        InputRejected: it teaches more than can be kept.
        CanonicalError: a fact cannot be written.
    """
    agent, memory = case.by.agent, known(case, event)
    teach = agent.remembers.from_events.get(type(event)) if agent.remembers else None
    on_input = case.decoded.record.topic == case.state.input_topic
    if teach is None or not on_input or (agent.decides(event) and agent.dry_run(event)):
        return memory
    learned = teach(event, case.decoded.occurred_at)
    return _after(case, event, remember(memory, learned, source=case.decoded.where, learned_at=case.now))


def decided(case: Deciding, situation: Situation[Any], action: Action, *, source: InputRef) -> Memory:
    """What is remembered once an allowed, effective action has taught too; nothing is set yet.

    Raises:
        InputRejected: it teaches more than can be kept.
        CanonicalError: a fact cannot be written.
    """
    remembers = case.by.agent.remembers
    if remembers is None:
        return situation.memory
    learned = remembers.from_decisions(situation, action)
    memory = remember(situation.memory, learned, source=source, learned_at=case.now + AFTER)
    return _after(case, situation.event, memory)


def kept(case: Deciding, event: Event, memory: Memory) -> tuple[Entry, ...]:
    """Set the memory of an event's key, where it changed; what `taught` and `decided` made can be set."""
    if memory == known(case, event):
        return ()
    key, state = event.key(), case.state
    return ((f"{MEMORY}{state.input_topic}/{key}", state.memories.put(key, memory)),)


def ended(case: Deciding, event: Event, outcome: Outcome) -> Verdicted:
    """An input that ends without a decision, but teaches."""
    memory = taught(case, event)
    verdicted = case.ended(outcome)
    return replace(verdicted, changelog=kept(case, event, memory))


def read(case: Deciding, event: Event, memory: Memory) -> tuple[ContextRead, ...]:
    """How a record names the memory that its decision saw; an agent that remembers has one, if an empty one."""
    if case.by.agent.remembers is None:
        return ()
    return (ContextRead(name="memory", key=event.key(), uri=None, sha256=digest_of(memory)),)


def _after(case: Deciding, event: Event, memory: Memory) -> Memory:
    case.state.memories.printed(event.key(), memory)
    return memory
