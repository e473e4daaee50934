"""What is wrong with a bundle's policies although each of them is valid Cedar.

Rules upheld here: a finding is proved for every request that can be asked, on every action that the policy concerns;
what could not be proved either way is a finding of its own. Taking away a policy that is found shadowed changes no
verdict and no approver.

==============  =======================================================================================  =======
contradictory   its scope and conditions cannot hold together: it can never apply                        error
erring          it errs, and so denies, wherever its scope and conditions would hold                     error
always true     its conditions hold wherever its scope does, without any approval: they say nothing      warning
shadowed        a forbid: wherever it refuses, forbids without `@escalate` (or with the same role) do    warning
shadowed        a permit: whatever it permits, other permits do, or forbids without `@escalate` refuse   warning
open            one of its tests is not covered by the encoding                                          note
unknown         the solver gave up, or the schema makes an action unaskable                              note
fault           the engine does not confirm the encoding                                                 error
==============  =======================================================================================  =======

Not here: Cedar's own validator and the house rules (`lint.py`), which a bundle passes to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from jurat.policies import smt
from jurat.policies.analysis import Fault, Proved, Scene, Subject, Unknown, scenes, unaskable
from jurat.policies.bundle import Bundle, Policy
from jurat.policies.cedar import PolicyTree, pst
from jurat.policies.smt import Term
from jurat.policies.smt_expression import PolicyTerms

NAMED_AT_MOST = 5
"""Policies named as covering another; more say no more."""


class Level(Enum):
    """How bad a finding is: only errors keep a bundle from being fine."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        text: what was found, with file, line and policy where it is about one.
    """

    level: Level
    text: str


def analyse(bundle: Bundle) -> tuple[Finding, ...]:
    """Everything that analysis finds in a bundle, in the order of its policies' ids."""
    return _Analysis(Subject(bundle)).findings()


class _Stopped(Exception):
    """A question of one policy without a yes or no; carries the finding."""

    def __init__(self, level: Level, text: str) -> None:
        super().__init__(text)
        self.level = level


class _Analysis:
    """One bundle, all its scenes encoded."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._policies = subject.bundle.policies
        self._scenes = scenes(subject)

    def findings(self) -> tuple[Finding, ...]:
        found = [Finding(Level.NOTE, reason) for reason in self._unaskable()]
        for id_, policy in self._policies.items():
            where = f"{policy.file}:{policy.line}: {id_}:"
            concerned = [scene for scene in self._scenes if id_ in scene.sides[0].policies]
            gaps = {gap: None for scene in concerned for gap in scene.sides[0].gaps if gap.policy == id_}
            found += [
                Finding(Level.NOTE, f"{where} `{gap.test}` is left open by the analysis: {gap.why}")
                for gap in gaps
            ]
            try:
                found += [Finding(level, f"{where} {text}") for level, text in self._about(policy, concerned)]
            except _Stopped as stop:
                found.append(Finding(stop.level, f"{where} {stop}"))
        return tuple(found)

    def _unaskable(self) -> Iterator[str]:
        for action in self._subject.bundle.actions:
            for resource in self._subject.resources(action):
                reason = unaskable(self._subject, action, resource)
                if reason is not None:
                    yield reason

    def _about(self, policy: Policy, concerned: list[Scene]) -> Iterator[tuple[Level, str]]:
        if not concerned:
            return
        if all(_never(scene, [scene.sides[0].policies[policy.id].holds]) for scene in concerned):
            yield (
                Level.ERROR,
                _why_never([(scene, scene.sides[0].policies[policy.id]) for scene in concerned]),
            )
            return
        if _conditional(self._subject.trees[policy.id]) and all(
            _never(scene, _fails(scene, policy.id)) for scene in concerned
        ):
            yield Level.WARNING, "its conditions are always true where its scope matches: they say nothing"
        # A policy that errs denies by that alone, whatever covers it.
        if all(_never(scene, [scene.sides[0].policies[policy.id].errs]) for scene in concerned):
            yield from self._shadowed(policy, concerned)

    def _shadowed(self, policy: Policy, concerned: list[Scene]) -> Iterator[tuple[Level, str]]:
        if policy.effect == "forbid":
            covering = _covering(policy.id, concerned, self._peers(policy))
            if covering is not None:
                yield Level.WARNING, f"shadowed: wherever it refuses, {covering} refuses too"
            return
        permits = [i for i, p in self._policies.items() if p.effect == "permit" and i != policy.id]
        covering = _covering(policy.id, concerned, permits)
        if covering is not None:
            yield Level.WARNING, f"shadowed: whatever it permits, {covering} permits too"
        covering = _covering(policy.id, concerned, self._subject.hard)
        if covering is not None:
            yield Level.WARNING, f"shadowed: whatever it permits, {covering} refuses for good"

    def _peers(self, policy: Policy) -> list[str]:
        """The forbids that say all that this one says: those that nobody lifts, and those of the same role."""
        return [
            id_
            for id_, other in self._policies.items()
            if other.effect == "forbid" and id_ != policy.id and other.escalate in (None, policy.escalate)
        ]


def _covering(id_: str, concerned: list[Scene], others: Iterable[str]) -> str | None:
    """The policies of which one holds wherever a policy does, None where none need hold.

    Requests that another policy denies by an error do not count: they are denied with it and without it.

    Raises:
        _Stopped: it is not known.
    """
    named: set[str] = set()
    for scene in concerned:
        policies = scene.sides[0].policies
        there = [other for other in others if other in policies]
        cause = smt.cause(
            [*scene.request.constraints(), policies[id_].holds, smt.no(scene.sides[0].errs)],
            [smt.no(policies[other].holds) for other in there],
        )
        if isinstance(cause, smt.GaveUp):
            raise _Stopped(Level.NOTE, f"unknown whether it is shadowed, because {cause.reason}")
        if cause is None:
            return None
        named |= {there[place] for place in cause}
    if not named:  # it holds only where an error denies, so nothing covers it
        return None
    shown = sorted(named)[:NAMED_AT_MOST]
    more = f" or one of {len(named) - len(shown)} more" if len(named) > len(shown) else ""
    return " or ".join(shown) + more


def _why_never(concerned: list[tuple[Scene, PolicyTerms]]) -> str:
    """Why a policy never holds; one that errs denies by that, so that without it more may be allowed.

    Raises:
        _Stopped: it is not known.
    """
    if not all(_never(scene, [terms.met]) for scene, terms in concerned):
        return "it always errs where it would hold, and so denies: it can never apply"
    why = "its conditions contradict each other or its scope: it can never apply"
    if all(_never(scene, [terms.errs]) for scene, terms in concerned):
        return why
    return f"{why}; where it errs, it denies all the same"


def _fails(scene: Scene, id_: str) -> list[Term]:
    terms = scene.sides[0].policies[id_]
    return [terms.scope, smt.no(terms.holds), scene.request.nobody_approved]


def _never(scene: Scene, claims: list[Term]) -> bool:
    """Tell whether no request of a scene is such.

    Raises:
        _Stopped: it is not known.
    """
    match scene.find(claims):
        case Proved():
            return True
        case Unknown(because) if because != scene.open:
            raise _Stopped(Level.NOTE, f"unknown, because {'; '.join(because)}")
        case Fault(message):
            raise _Stopped(Level.ERROR, f"the analysis is at fault, please report it: {message}")
    return False


def _conditional(policy: PolicyTree) -> bool:
    """Tell whether a policy has conditions besides the approval that lifts it."""
    return any(not (isinstance(clause, pst.Unless) and _is_lifting(clause.expr)) for clause in policy.clauses)


def _is_lifting(expression: pst.Expr) -> bool:
    match expression:
        case pst.BinaryOp("contains", pst.GetAttr(pst.Var("context"), "approvals"), _):
            return True
    return False
