"""How an agent is declared.

Rules upheld here: an agent is a value, all of its parts are pure functions over frozen values; what it may read, do
and keep is declared, never reached for. Not here: the loop that decides (`kernel.py`) and who proposes (`reasoner.py`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar

from jurat.agents.memory import NOTHING, Memory, Remembering
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event, Model
from jurat.schemas.timers import TimerFired

APPROVAL_WITHIN = timedelta(hours=24)
"""How long an escalated decision waits for people, unless its agent says otherwise: everybody has been at work once."""

MAX_PROPOSALS = 3
"""Proposals per decision: a reasoner that is refused three times will not get better by asking again."""

MAX_TOOL_CALLS = 4
"""Uses of tools, and wishes for what is no tool, per decision: each is another question to a reasoner that may be paid
for, and an agent has a handful of tools; who still looks things up after that is going round in circles."""

MAX_TOOL_NAME = 100
"""Characters of a tool's name: an agent's own are shorter, and what a reasoner makes up is cut to it."""

_TOOL = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOOL_NAME}}}")

R = TypeVar("R")
E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)


class Action(Model):
    """Base of what an agent may propose; its fields are the parameters.

    Attributes:
        action_name: the name in policies, decisions and prompts, for example `refund_buyer`.
        title: what it does, in plain words.
        resource: the entity type it acts on.
        facts: the model of the Cedar context that policies judge it by.
    """

    action_name: ClassVar[str]
    title: ClassVar[str]
    resource: ClassVar[type[Entity]]
    facts: ClassVar[type[Facts]]


@dataclass(frozen=True, slots=True)
class View:
    """Documents by key, folded from the events of topics, that an agent may read while deciding.

    Declare one of its two kinds: a `GlobalTable` or a `ContextTable`.

    Attributes:
        name: the view's name, for example `orders`.
        topics: the topics it is folded from, without namespace.
        keys: the keys of the documents that an event concerns; none when the event does not concern this view.
        fold: the document of one of these keys after the event. It must not depend on the order of events of
            different topics, and an event that is folded twice must change nothing the second time.
        document: the class of the documents, which are printed and read again where there are many.
    """

    name: str
    topics: tuple[str, ...]
    keys: Callable[[Event], tuple[str, ...]]
    fold: Callable[[Model | None, Event, str], Model]
    document: type[Model]


@dataclass(frozen=True, slots=True)
class GlobalTable(View):
    """A view that every worker reads whole: reference data, or documents under other keys than the input's."""


@dataclass(frozen=True, slots=True)
class ContextTable(View):
    """A view joined by key: its topics are keyed and partitioned as the agent's input is.

    A worker reads only the partitions that it serves. An event concerns the document of its own key or none, and an
    input sees the document of its own key only. A record without a value forgets the document of its key.
    """


@dataclass(frozen=True, slots=True)
class Lookup:
    """A document that deciding an event needs; `required` ones that do not exist make the input rejected."""

    view: str
    key: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Situation(Generic[E_co]):
    """Everything that a decision may depend on.

    Attributes:
        event: the input.
        now: the moment of the decision.
        occurred_at: when the event happened, as its envelope says, else when Kafka took it.
        documents: what was read, by (view, key); None where there is no such document.
        state: the agent's own state for this event's key, None before its first effect.
        memory: what the agent remembers of this event's key.
    """

    event: E_co
    now: datetime
    occurred_at: datetime | None = None
    documents: Mapping[tuple[str, str], Model | None] = field(default_factory=dict)
    state: Model | None = None
    memory: Memory = NOTHING
    _worked_out: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, work: Callable[[Situation[Any]], R]) -> R:
        """What a pure function makes of this situation, worked out when first asked for and kept as long as it."""
        try:
            kept: R = self._worked_out[work]
        except KeyError:
            kept = self._worked_out[work] = work(self)
        return kept


@dataclass(frozen=True, slots=True)
class Signal:
    """One reason for or against a candidate, in points; positive speaks for it.

    Attributes:
        name: what it is, in plain words.
        points: what it is worth where all goals of the agent's objectives weigh the same.
        serves: the goal of the objectives that it serves, for example `promise`; empty where it serves none.
    """

    name: str
    points: int
    serves: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An action that could be taken, with the signals that score it."""

    action: Action
    signals: tuple[Signal, ...]

    @property
    def score(self) -> int:
        """The sum of the signals' points, where all goals weigh the same."""
        return sum([signal.points for signal in self.signals])


@dataclass(frozen=True, slots=True)
class Judged:
    """What the policies are to judge an action by."""

    resource: Entity
    facts: Facts


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a reasoner may use before it proposes: a look-up, a calculation, a question to a service.

    What it answers is journalled and digested into the record, so that a decision is not made twice on two answers.

    Attributes:
        name: its name, for example `carrier_quote`.
        title: what it answers, in plain words for the prompt.
        arguments: the model of its arguments.
        result: the model of its answer.
        use: answers. It must change nothing in the world: it may be used again after a crash.
    """

    name: str
    title: str
    arguments: type[Model]
    result: type[Model]
    use: Callable[[Situation[Any], Any], Awaitable[Model]]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What holds while people are asked about an action.

    Attributes:
        state: the state of the event's key.
        timers: the timers of the event's key, by name, with the moments when they are due; those that stood before are
            replaced.
    """

    state: Model
    timers: Mapping[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent(Generic[E]):
    """A reasoning agent, declared.

    Attributes:
        name: the agent's name: its Cedar principal, consumer group, decision topic and signing identity.
        listens: the topic that it reads (without namespace) and the event types on it that it decides.
        subject: what a decision is about, taken from the event.
        actions: the action models it may propose.
        bundle: the folder of its policy bundle below `policies/`.
        judged: the resource and facts of an action in a situation, for the policies.
        candidates: the actions that make sense in a situation, scored; what the heuristic reasoner chooses from.
        requested: the action that the event itself asks for, where events ask (`InputRejected` when it is malformed).
        views: the views it may read.
        reads: the documents that deciding an event needs.
        state_model: the model of its keyed state, None for a stateless agent.
        effect: the state after an allowed, effective action; required with `state_model`.
        timers: the timers of the event's key that stand after an allowed, effective action, by name, with the moments
            when they are due; those that stood before are replaced. One that is due comes back as a `TimerFired`.
        meanwhile: what holds once an effective action was escalated, until it is allowed or something else is decided;
            needed where a key must not be left without a timer when people refuse or say nothing. When they agree, the
            same event meets this state, and must not count twice. None leaves state and timers as they are.
        expires_after: an input that is older than this when its turn comes ends `expired`; None decides it anyway.
        approval_within: an escalated decision that nobody approved within this time is denied.
        request_id: the id by which the asking service knows its request; None means the CloudEvents id.
        dry_run: whether the event asks for a judgement without effect.
        fallback: the action to propose when the reasoner is down or out of attempts.
        tools: what its reasoner may use before it proposes.
        remembers: what it keeps in memory; None for an agent without memory.
    """

    name: str
    listens: Mapping[str, tuple[type[Event], ...]]
    subject: Callable[[E], str]
    actions: tuple[type[Action], ...]
    bundle: str
    judged: Callable[[Situation[E], Action], Judged]
    candidates: Callable[[Situation[E]], tuple[Candidate, ...]]
    requested: Callable[[Situation[E]], Action] | None = None
    views: tuple[View, ...] = ()
    reads: Callable[[E], tuple[Lookup, ...]] = lambda _event: ()
    state_model: type[Model] | None = None
    effect: Callable[[Situation[E], Action], Model] | None = None
    timers: Callable[[Situation[E], Action], Mapping[str, datetime]] | None = None
    meanwhile: Callable[[Situation[E], Action], Meanwhile] | None = None
    expires_after: timedelta | None = None
    approval_within: timedelta = APPROVAL_WITHIN
    request_id: Callable[[E], str | None] = lambda _event: None
    dry_run: Callable[[E], bool] = lambda _event: False
    fallback: Callable[[Situation[E]], Action | None] = lambda _situation: None
    tools: tuple[Tool, ...] = ()
    remembers: Remembering | None = None

    def __post_init__(self) -> None:
        names = [action.action_name for action in self.actions]
        if len(set(names)) != len(names) or not names:
            raise ConfigurationError(
                f"agent {self.name}: got the actions {names}, expected at least one, each once"
            )
        tools = [tool.name for tool in self.tools]
        if len(set(tools)) != len(tools) or not all(_TOOL.fullmatch(name) for name in tools):
            raise ConfigurationError(
                f"agent {self.name}: got the tools {tools}, expected each once, named by at most {MAX_TOOL_NAME}"
                " letters, digits, `_` and `-`"
            )
        if (self.state_model is None) != (self.effect is None):
            raise ConfigurationError(
                f"agent {self.name}: state_model and effect go together, got one of them"
            )
        if self.meanwhile is not None and (self.state_model is None or self.timers is None):
            raise ConfigurationError(
                f"agent {self.name}: got meanwhile without state_model and timers, expected both beside it"
            )
        if self.approval_within <= timedelta():
            raise ConfigurationError(
                f"agent {self.name}: got approval_within={self.approval_within}, expected a time to answer in"
            )
        if len(self.listens) != 1:
            raise ConfigurationError(
                f"agent {self.name}: got {len(self.listens)} topics to listen to, expected exactly one;"
                " declare one agent per topic"
            )

    @property
    def topic(self) -> str:
        """The topic that the agent reads, without namespace."""
        return next(iter(self.listens))

    def lookups(self, event: E) -> tuple[Lookup, ...]:
        """The documents that deciding an event needs.

        Raises:
            ConfigurationError: the agent reads a view that it does not declare, or a context table by another key
                than the event's: that document may be in another partition, with another worker.
        """
        lookups = self.reads(event)
        for lookup in lookups:
            view = next((view for view in self.views if view.name == lookup.view), None)
            if view is None:
                raise ConfigurationError(
                    f"agent {self.name}: reads {lookup.view!r}, which is none of its views"
                )
            if isinstance(view, ContextTable) and lookup.key != event.key():
                raise ConfigurationError(
                    f"agent {self.name}: reads the context table {view.name!r} by another key than that of the"
                    " event, expected the event's key; declare a GlobalTable to read by any key"
                )
        return lookups

    def decides(self, event: Event) -> bool:
        """Tell whether the agent decides events of this type; its own timers where it sets any."""
        if isinstance(event, TimerFired):
            return self.timers is not None and event.agent == self.name
        return isinstance(event, self.listens[self.topic])
