"""Finding an action space: the engine is asked along one parameter after the other.

Rules upheld here:
1. a verdict in a space is the engine's own answer at a point that was asked, or follows from two such answers with
   nothing between them at which a policy could turn (`space_points.py`);
2. parameters are varied one at a time, the others as in one action that is named with the result (the base);
3. a refusal is called firm only where it holds whatever the other parameters are: a policy that no approval lifts
   gives it, and looks at nothing that another parameter moves. Only firm refusals are ever left out of an offer, so
   what the engine allows is not hidden;
4. what a policy does with a parameter and is not understood makes it opaque: ranges that it could turn have no verdict
   here, they are offered and checked afterwards.

A fact counts as moved by a parameter when it differs from the base at any point that was asked. The fact that has the
parameter's name, and its value at every such point, is the parameter as policies see it; all other facts that move
were worked out from it by the agent, and a policy that looks at one of them is opaque.

Not here: what a space is (`space.py`), which actions there are and how their facts are found
(`jurat.agents.action_space`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias

from jurat.policies.bundle import Bundle
from jurat.policies.cedar import PolicyTree
from jurat.policies.cedar_schema import OWN_CONTEXT
from jurat.policies.request import Judgement
from jurat.policies.space import ORDERED, AnythingElse, Axis, Kind, Only, ParameterSpace, Range, Span
from jurat.policies.space_points import points, reads
from jurat.policies.space_terms import decoded
from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict

MAX_PROBES: Final = 300
"""Questions to the engine about one parameter, some 30 ms; policies that turn more often than this are opaque."""

MIN_SAMPLES: Final = 2
"""Values of a list or record that show what it moves; of fewer, it counts as moving everything."""

MAX_LISTED: Final = 32
"""A range of at most this many whole values is asked value by value, and nothing about it is opaque."""

Ask: TypeAlias = Callable[[str, object], Judgement | None]
"""Judge the base with one parameter changed; None where the action cannot have that value at all."""


def explore(
    bundle: Bundle, action: str, axes: Iterable[Axis], *, base: Judgement, ask: Ask
) -> tuple[ParameterSpace, ...]:
    """Explore the parameters of one action in one situation, one at a time.

    Args:
        bundle: what is judged by.
        action: the action's name.
        axes: its parameters.
        base: the judgement of the base action.
        ask: asks the real engine about the base with one parameter changed.

    Returns:
        A space for each parameter, in the order given.
    """
    policies = bundle.compiled.policies_of(action)
    charts = [_Chart(axis, base, ask, policies) for axis in axes]
    for chart in charts:
        chart.fill()
    refusals = _Refusals(bundle, policies)
    return tuple([_space(chart, refusals, _suspects(chart, charts)) for chart in charts])


@dataclass(slots=True)
class _Chart:
    """What was asked along one parameter, and what moved."""

    axis: Axis
    base: Judgement
    ask: Ask
    policies: Mapping[str, PolicyTree]
    answers: dict[object, Judgement] = field(default_factory=dict)
    other: tuple[str, Judgement] | None = None
    moves: set[str] = field(default_factory=set)
    is_mirrored: bool = False
    opaque: tuple[str, ...] = ()
    _asked: set[object] = field(default_factory=set)

    @property
    def is_listed(self) -> bool:
        """Whether every value is asked."""
        axis = self.axis
        return axis.kind is Kind.CHOICE or (axis.kind in ORDERED and axis.high - axis.low < MAX_LISTED)

    def fill(self) -> None:
        """Ask at all points that matter; what turns out to move may add points, which are asked too."""
        axis = self.axis
        self.is_mirrored = axis.kind is not Kind.OPEN
        self._ask(axis.values)
        if axis.is_guessed or (axis.kind is Kind.OPEN and len(self.answers) < MIN_SAMPLES):
            self.moves = {"resource", *_facts(self.base.normalised)}
        if axis.kind in ORDERED:
            self._ask(range(axis.low, axis.high + 1) if self.is_listed else (axis.low, axis.high))
        self._ask_other()
        read: tuple[bool, frozenset[str]] | None = None
        # What is read depends on what moves alone, so it is read again only after something more has moved.
        while not self.is_listed and read != (self.is_mirrored, frozenset(self.moves)):
            read = self.is_mirrored, frozenset(self.moves)
            found = points(
                self.policies,
                self.base.normalised,
                parameter=axis.name if self.is_mirrored else None,
                is_text=axis.kind is Kind.TEXT,
                moving=read[1],
            )
            self.opaque = found.opaque
            wanted = self._around(found.at)
            if len(self._asked.union(wanted)) > MAX_PROBES:
                self.opaque = tuple(sorted(self.policies))
                break
            self._ask(wanted)
            self._ask_other()

    def _around(self, at: Iterable[int | str]) -> list[object]:
        """The points themselves, and one step either side where there are sides."""
        axis = self.axis
        if axis.kind is Kind.TEXT:
            return [*sorted(point for point in at if isinstance(point, str))]
        if axis.kind not in ORDERED:
            return []
        near = {point + step for point in at if isinstance(point, int) for step in (-1, 0, 1)}
        return [*sorted(point for point in near if axis.low <= point <= axis.high)]

    def _ask(self, values: Iterable[object]) -> None:
        """Ask about each value that the action can have, once."""
        for value in values:
            if value in self._asked:
                continue
            self._asked.add(value)
            if self.other is not None and self.other[0] == value:
                self.other = None  # a policy names it: it stands for nothing else any more
            answer = self.ask(self.axis.name, value)
            if answer is not None:
                self.answers[value] = answer
                self._look(value, answer)

    def _ask_other(self) -> None:
        """Ask about a text that nothing names, where none was asked yet."""
        if self.axis.kind is not Kind.TEXT or self.other is not None:
            return
        for text in self.axis.others:
            if text not in self._asked and (answer := self.ask(self.axis.name, text)) is not None:
                self.other = text, answer
                self._look(text, answer)
                return

    def _look(self, value: object, answer: Judgement) -> None:
        """Note what differs from the base, and whether policies still see the parameter as it is."""
        if "context" not in answer.normalised:
            return
        moved = set(_differences(self.base.normalised, answer.normalised))
        own = f"context.{self.axis.name}"
        seen = _attribute_of(answer, self.axis.name)
        if self.is_mirrored and type(seen) is type(value) and seen == value:
            moved.discard(own)
        elif self.is_mirrored:
            self.is_mirrored = False
            if seen is not None or _attribute_of(self.base, self.axis.name) is not None:
                moved.add(own)
        self.moves |= moved


def _attribute_of(judgement: Judgement, name: str) -> object:
    context = judgement.normalised.get("context")
    return decoded(context[name]) if isinstance(context, dict) and name in context else None


def _facts(normalised: JsonObject) -> Iterator[str]:
    context = normalised.get("context")
    if isinstance(context, dict):
        yield from (f"context.{name}" for name in context if name not in OWN_CONTEXT)


def _differences(base: JsonObject, other: JsonObject) -> Iterator[str]:
    if base.get("resource") != other.get("resource"):
        yield "resource"
    for prefix, before, after in (
        ("context", base.get("context"), other.get("context")),
        ("resource", _resource(base), _resource(other)),
    ):
        if isinstance(before, dict) and isinstance(after, dict) and before != after:
            for name in before.keys() | after.keys():
                if before.get(name) != after.get(name):
                    yield f"{prefix}.{name}"


def _resource(normalised: JsonObject) -> object:
    match normalised.get("entities"):
        case [{"attrs": dict(attributes)}, *_]:
            return attributes
    return None


def _suspects(chart: _Chart, charts: Iterable[_Chart]) -> frozenset[str]:
    """What the other parameters move, and what this one moves with them perhaps: none where it is alone."""
    others = [other for other in charts if other is not chart]
    moved = {fact for other in others for fact in (*other.moves, f"context.{other.axis.name}")}
    return frozenset(moved | chart.moves if others else ())


class _Refusals:
    """Puts answers into spans, and tells which refusals are firm."""

    def __init__(self, bundle: Bundle, policies: Mapping[str, PolicyTree]) -> None:
        self._bundle = bundle
        self._policies = policies

    @cached_property
    def _reads(self) -> Mapping[str, frozenset[str]]:
        return {id_: reads(policy) for id_, policy in self._policies.items()}

    def span(
        self,
        of: Range | Only | AnythingElse,
        judgement: Judgement | None,
        *,
        suspects: frozenset[str],
        opaque: tuple[str, ...] = (),
    ) -> Span:
        """The span of an answer; without a verdict where an opaque policy may say something else."""
        is_example = isinstance(of, AnythingElse)
        if judgement is None or (is_example and "context" not in judgement.normalised):
            return Span(of=of, verdict=None)
        firm = self._is_firm(judgement, suspects, opaque)
        if opaque and not firm:
            return Span(of=of, verdict=None)
        told = [
            (id_, reason)
            for id_, reason in zip(judgement.policies, judgement.reasons, strict=False)
            if id_ not in opaque
        ]
        return Span(
            of=of,
            verdict=judgement.verdict,
            policies=tuple([id_ for id_, _ in told]),
            reasons=tuple([reason for _, reason in told]) or judgement.reasons,
            approvers=judgement.approvers,
            errors=judgement.errors,
            firm=firm,
        )

    def _is_firm(self, judgement: Judgement, suspects: frozenset[str], opaque: tuple[str, ...]) -> bool:
        """Tell whether a refusal holds whatever the suspects are, and whatever the opaque policies say."""
        if judgement.verdict is not Verdict.DENY or "context" not in judgement.normalised:
            return False
        if not suspects and not opaque:
            return True
        if judgement.errors:
            return False
        known = self._bundle.policies
        if judgement.policies:
            return any(
                known[id_].escalate is None and self._stands(id_, suspects, opaque)
                for id_ in judgement.policies
            )
        return all(
            self._stands(id_, suspects, opaque) for id_ in self._policies if known[id_].effect == "permit"
        )

    def _stands(self, id_: str, suspects: frozenset[str], opaque: tuple[str, ...]) -> bool:
        return id_ not in opaque and not any(
            fact in suspects or fact.partition(".")[0] in suspects for fact in self._reads[id_]
        )


def _space(chart: _Chart, refusals: _Refusals, suspects: frozenset[str]) -> ParameterSpace:
    axis, opaque = chart.axis, chart.opaque
    singles = [
        refusals.span(Only(value), answer, suspects=suspects)
        for value, answer in chart.answers.items()
        if isinstance(value, bool | int | str | None) and (axis.kind not in ORDERED or value is None)
    ]
    match axis.kind:
        case Kind.OPEN:
            spans = [refusals.span(AnythingElse(), chart.base, suspects=suspects, opaque=opaque)]
        case Kind.TEXT:
            example = None if chart.other is None else chart.other[1]
            other = refusals.span(AnythingElse(), example, suspects=suspects, opaque=opaque)
            spans = [*singles, other]
        case Kind.CHOICE:
            spans = singles
        case _:
            numbers = sorted(value for value in chart.answers if isinstance(value, int))
            asked = [
                (
                    number,
                    refusals.span(
                        Range(number, number), chart.answers[number], suspects=suspects, opaque=opaque
                    ),
                )
                for number in numbers
            ]
            spans = [*_joined(asked), *singles]
    return ParameterSpace(
        name=axis.name,
        kind=axis.kind,
        spans=tuple(spans),
        moves=tuple(sorted(chart.moves)),
        opaque=opaque,
        probes=len(chart.answers) + (chart.other is not None),
    )


def _joined(asked: list[tuple[int, Span]]) -> Iterator[Span]:
    """Join neighbours that say the same. What lies between two that do not was not asked, and nothing is claimed."""
    if not asked:
        return
    low, current = asked[0]
    for (before, _), (after, span) in pairwise(asked):
        if _said(span) == _said(current):
            continue
        yield replace(current, of=Range(low, before))
        if after - before > 1:
            yield Span(of=Range(before + 1, after - 1), verdict=None)
        low, current = after, span
    yield replace(current, of=Range(low, asked[-1][0]))


def _said(span: Span) -> tuple[object, ...]:
    return span.verdict, span.policies, span.approvers, bool(span.errors), span.firm
