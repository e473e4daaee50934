"""The actions that an agent may propose in a situation, narrowed to what its policies can allow.

Rules upheld here: the policies are asked about real actions, with the facts that the agent itself finds for them, so
what an agent works out from a parameter is right at every point that is asked; an action that its own model refuses is
not asked about; nothing is worked out before somebody asks for it. One base action is varied: the candidate of the
most points, else one that is made up from the models. Not here: what follows from the answers
(`jurat.policies.space_probing`), and the parameters of an action as axes (`action_axes.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, Final, Protocol

from pydantic import BaseModel, ValidationError

from jurat.agents.action_axes import OTHER_TEXTS, Parameter, parameters_of
from jurat.agents.agent import Action, Agent, Judged, Situation
from jurat.policies.bundle import Bundle
from jurat.policies.request import Judgement, PolicyRequest, UsageSource
from jurat.policies.space import Axis, Kind, ParameterSpace
from jurat.policies.space_probing import explore
from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected, ProposalInvalid

MAX_NAMES: Final = 16
"""Names asked about along one text: more than people, or a model, would choose between."""

MAX_TEXTS: Final = 48
"""Texts of a situation that are tried as names; the agent alone is asked which of them it knows."""

MAX_TEXT_LENGTH: Final = 200
"""The longest id: what is longer names nothing."""

MAX_VISITED: Final = 1_000
"""Parts of a situation that are looked through for texts."""


_NO_FACTS: Final = (InputRejected, ProposalInvalid, ArithmeticError, LookupError, ValueError)
"""What an agent raises for a value that it finds no facts for: what is asked here reaches further than proposals do."""


class Explorable(Protocol):
    """Who judges, with the policies to read; the policy engine is one."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that is judged by."""
        ...

    def judge(self, request: PolicyRequest) -> Judgement:
        """Judge one request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpace:
    """What one action may be in a situation.

    Attributes:
        action: the action.
        base: the parameters of the action that was varied, as JSON; None where none could be judged.
        judgement: what the policies say of the base.
        parameters: what each parameter may be while the others are as in the base.
        why: why there is no base.
        is_barred: whether the agent itself refuses it, as the event asks for another action.
    """

    action: type[Action]
    base: JsonObject | None
    judgement: Judgement | None
    parameters: tuple[ParameterSpace, ...] = ()
    why: str = ""
    is_barred: bool = False

    @property
    def name(self) -> str:
        """The action's name."""
        return self.action.action_name

    @property
    def is_offered(self) -> bool:
        """Whether anything of it may be allowed, by the policies alone or with a person's approval."""
        if self.judgement is None:
            return not self.is_barred
        if not self.action.model_fields:
            return self.judgement.verdict is not Verdict.DENY
        return all(space.offered for space in self.parameters)


@dataclass(frozen=True, slots=True)
class DecisionSpace:
    """What an agent may propose in a situation; every action of the agent, in its order."""

    actions: tuple[ActionSpace, ...]

    @property
    def offered(self) -> tuple[ActionSpace, ...]:
        """The actions that are not refused whatever their parameters are."""
        return tuple([space for space in self.actions if space.is_offered])


class LazySpace:
    """The space of a situation, worked out when it is first called for; the arguments are those of `decision_space`."""

    __slots__ = ("_agent", "_engine", "_situation", "_space", "_usage")

    def __init__(
        self,
        agent: Agent[Any],
        situation: Situation[Any],
        engine: Explorable,
        *,
        usage: UsageSource | None = None,
    ) -> None:
        self._agent, self._situation, self._engine = agent, situation, engine
        self._usage = usage
        self._space: DecisionSpace | None = None

    def __call__(self) -> DecisionSpace:
        """The space."""
        if self._space is None:
            self._space = decision_space(self._agent, self._situation, self._engine, usage=self._usage)
        return self._space


def decision_space(
    agent: Agent[Any],
    situation: Situation[Any],
    engine: Explorable,
    *,
    approvals: frozenset[str] = frozenset(),
    usage: UsageSource | None = None,
) -> DecisionSpace:
    """Explore every action of an agent in a situation.

    Args:
        agent: the agent that would act.
        situation: everything that the decision may depend on.
        engine: what judges.
        approvals: roles whose approval has been verified.
        usage: what was used of budgets; without it, what a budget counts is refused.
    """
    exploring = _Exploring(agent, situation, engine, approvals, usage)
    return DecisionSpace(tuple([exploring.space(action) for action in agent.actions]))


def action_space(
    agent: Agent[Any],
    situation: Situation[Any],
    engine: Explorable,
    action: type[Action],
    *,
    approvals: frozenset[str] = frozenset(),
    usage: UsageSource | None = None,
) -> ActionSpace:
    """Explore one action; the other arguments are those of `decision_space`."""
    return _Exploring(agent, situation, engine, approvals, usage).space(action)


@dataclass
class _Exploring:
    """One situation being explored."""

    agent: Agent[Any]
    situation: Situation[Any]
    engine: Explorable
    approvals: frozenset[str]
    usage: UsageSource | None

    def space(self, action: type[Action]) -> ActionSpace:
        """The space of one action."""
        likely = self._likely.get(action, ())
        base = likely[0] if likely else self._invented(action)
        if base is None:
            return ActionSpace(
                action=action, base=None, judgement=None, why="no example of it could be made up"
            )
        seen = self.seen(base)
        if not isinstance(seen, Judged):
            barred = self._bars(base)
            return ActionSpace(action=action, base=None, judgement=None, why=seen, is_barred=barred)
        probe = _Probe(self, action, {name: getattr(base, name) for name in action.model_fields})
        judgement = self.judge(base, seen)
        axes = [self._axis(parameter, likely, probe) for parameter in parameters_of(action)]
        return ActionSpace(
            action=action,
            base=base.model_dump(mode="json"),
            judgement=judgement,
            parameters=explore(self.engine.bundle, action.action_name, axes, base=judgement, ask=probe.ask),
        )

    def judge(self, action: Action, seen: Judged) -> Judgement:
        """Ask the policies about an action."""
        return self.engine.judge(
            PolicyRequest(
                agent=self.agent.name,
                action=action.action_name,
                resource=seen.resource,
                facts=seen.facts,
                now=self.situation.now,
                approvals=self.approvals,
                usage=self.usage,
            )
        )

    def seen(self, action: Action) -> Judged | str:
        """What policies would see of an action, or why the agent finds no facts for it."""
        try:
            return self.agent.judged(self.situation, action)
        except _NO_FACTS as error:
            return str(error) or type(error).__name__

    def _bars(self, action: Action) -> bool:
        """Whether the event asks for another action, and the agent refuses this one for that."""
        if self._requested in (None, type(action)):
            return False
        try:
            self.agent.judged(self.situation, action)
        except ProposalInvalid:
            return True
        except _NO_FACTS:
            return False
        return False

    @cached_property
    def _requested(self) -> type[Action] | None:
        """What the event asks for, where events ask."""
        if self.agent.requested is None:
            return None
        try:
            return type(self.agent.requested(self.situation))
        except InputRejected:
            return None

    @cached_property
    def _likely(self) -> Mapping[type[Action], tuple[Action, ...]]:
        """The agent's own candidates, best first."""
        try:
            candidates = self.agent.candidates(self.situation)
        except InputRejected:
            return {}
        ranked = sorted(candidates, key=lambda candidate: -candidate.score)
        found: dict[type[Action], tuple[Action, ...]] = {}
        for candidate in ranked:
            kind = type(candidate.action)
            found[kind] = (*found.get(kind, ()), candidate.action)
        return found

    def _invented(self, action: type[Action]) -> Action | None:
        """An action made up from its model; where the agent finds no facts for it, with a name that it knows."""
        parameters = parameters_of(action)
        fields = {parameter.name: parameter.example(self.situation.now) for parameter in parameters}
        base = _built(action, fields)
        if base is None or isinstance(self.seen(base), Judged):
            return base
        for parameter in parameters:
            if parameter.axis.kind is not Kind.TEXT:
                continue
            for text in self._texts:
                named = _built(action, {**fields, parameter.name: text})
                if named is not None and isinstance(self.seen(named), Judged):
                    return named
        return base

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """Texts of the situation, those first by which something was looked up."""
        situation = self.situation
        keys = [key for _, key in situation.documents]
        parts = [*situation.documents.values(), situation.state, situation.event]
        found = dict.fromkeys([*keys, *_texts_in(parts)])
        return tuple(islice((text for text in found if 0 < len(text) <= MAX_TEXT_LENGTH), MAX_TEXTS))

    def _axis(self, parameter: Parameter, likely: tuple[Action, ...], probe: _Probe) -> Axis:
        """The axis with the values that are worth asking about in this situation."""
        axis = parameter.axis
        if axis.kind is Kind.CHOICE:
            return axis
        values = [probe.base[axis.name], *(getattr(one, axis.name) for one in likely)]
        known: list[str] = []
        if axis.kind is Kind.TEXT:
            known = [*probe.known(parameter, self._texts)]
            values += known
        elif axis.kind is Kind.OPEN:
            values = [value for value in values if _is_texts(value)]
            values += [(), *((text,) for text in (OTHER_TEXTS[0], *self._texts))]
        worth = dict.fromkeys([*axis.values, *map(parameter.on_axis, values)])
        names = [one for one in parameters_of(probe.action) if one.axis.kind in (Kind.TEXT, Kind.OPEN)]
        is_alone = len(names) == 1 and (bool(known) or (not likely and probe.turns(parameter, self._texts)))
        is_guessed = not likely and axis.kind in (Kind.TEXT, Kind.OPEN) and not is_alone
        return replace(axis, values=tuple(islice(worth, MAX_NAMES)), is_guessed=is_guessed)


@dataclass(slots=True)
class _Probe:
    """The base action, with one parameter changed at a time."""

    exploring: _Exploring
    action: type[Action]
    base: Mapping[str, object]

    def ask(self, name: str, value: object) -> Judgement | None:
        """Judge the base with one parameter changed; None where the action's model refuses it."""
        parameter = next(one for one in parameters_of(self.action) if one.name == name)
        changed = self._changed(name, parameter.in_model(value))
        if changed is None:
            return None
        seen = self.exploring.seen(changed)
        if isinstance(seen, Judged):
            return self.exploring.judge(changed, seen)
        return Judgement(Verdict.DENY, (), (seen,), errors=(seen,))

    def known(self, parameter: Parameter, texts: tuple[str, ...]) -> Iterator[str]:
        """The texts that mean something to the agent: it finds other facts for them than for any other text."""
        if not parameter.axis.others:
            return
        other = parameter.axis.others[0]
        unknown = self._facts_of(parameter.name, other)
        for text in texts:
            found = self._facts_of(parameter.name, text)
            pairs = [(seen, unknown.get(fact)) for fact, seen in found.items()]
            if any(seen != before and (seen, before) != (text, other) for seen, before in pairs):
                yield text

    def turns(self, parameter: Parameter, texts: tuple[str, ...]) -> bool:
        """Whether policies look at the text itself: they say something else of one of these than of any other text."""
        others = [self.ask(parameter.name, text) for text in parameter.axis.others[:1]]
        known = (self.ask(parameter.name, text) for text in (texts if others else ()))
        return any(
            one is not None and other is not None and one.policies != other.policies
            for other in others
            for one in known
        )

    def _changed(self, name: str, value: object) -> Action | None:
        return _built(self.action, {**self.base, name: value})

    def _facts_of(self, name: str, text: str) -> Mapping[str, object]:
        """What policies would see, by name; nothing where the agent finds no facts."""
        changed = self._changed(name, text)
        seen = None if changed is None else self.exploring.seen(changed)
        if not isinstance(seen, Judged):
            return {}
        found = {f"resource.{fact}": value for fact, value in seen.resource}
        return {**found, **dict(seen.facts)}


def _built(action: type[Action], fields: Mapping[str, object]) -> Action | None:
    try:
        return action(**fields)
    except ValidationError:
        return None


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _texts_in(parts: list[Any]) -> Iterator[str]:
    """The texts within models, nearer ones first."""
    waiting: deque[Any] = deque(parts)
    for _ in range(MAX_VISITED):
        if not waiting:
            return
        match waiting.popleft():
            case str() as text:
                yield str.__str__(text)
            case BaseModel() as model:
                waiting += [value for _, value in model]
            case Mapping() as mapping:
                waiting += [*mapping.keys(), *mapping.values()]
            case tuple() | list() as items:
                waiting += items
