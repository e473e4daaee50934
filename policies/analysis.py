"""What can be proved about bundles, one action at a time.

Rules upheld here:
1. "never" is said only where the solver proved it for every request that the engine can be asked (`smt_request.py`),
   and whatever the tests come to that the encoding leaves open;
2. an example is shown only after the real engine was asked about it and said what the encoding says: the verdict, and
   for each policy whether it holds;
3. where they differ and nothing was left open, the encoding is at fault, and that is what is said;
4. everything else is unknown, with the reason.

A scene is one action on one type of resource, in one bundle or in two that are compared. Not here: the questions
(`analysis_check.py`, `analysis_ask.py`, `analysis_diff.py`) and the encoding (`smt_expression.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from jurat.policies import cedar, smt
from jurat.policies.bundle import Bundle, principals
from jurat.policies.declared import Action
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Judgement
from jurat.policies.smt import Term
from jurat.policies.smt_entities import Names
from jurat.policies.smt_expression import Encoder, Gap, PolicyTerms
from jurat.policies.smt_request import APPROVALS, Node, Path, UndecodableError, UnknownRequest, attributes
from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import PolicyInputError

_ADDED_BY_THE_ENGINE = {APPROVALS: Node("Set<String>"), ("context", "now"): Node("datetime")}


@dataclass(frozen=True, slots=True)
class Proved:
    """There is no such request."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request that is such, confirmed by the engine.

    Attributes:
        requests: the request as each bundle of the scene sees it, in the form in which requests are recorded.
        judgements: what each bundle's engine says about it.
    """

    requests: tuple[JsonObject, ...]
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither was found."""

    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """The engine does not confirm what the encoding says, though it left nothing open."""

    message: str


Outcome: TypeAlias = Proved | Example | Unknown | Fault


class Subject:
    """A bundle made ready for analysis."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.engine = PolicyEngine(bundle)
        self.schema = cedar.parse_schema(bundle.schema_text)
        self.trees = {
            id_: t for name in bundle.actions for id_, t in bundle.compiled.policies_of(name).items()
        }
        self.hard = frozenset(
            id_
            for id_, policy in bundle.policies.items()
            if policy.effect == "forbid" and not policy.escalate
        )
        self._probe = self.compile(self.trees)

    def compile(self, policies: Mapping[str, cedar.PolicyTree]) -> cedar.Compiled:
        """Policies as permits, so that the engine names every one that holds."""
        permits = {id_: dataclasses.replace(tree, effect="permit") for id_, tree in policies.items()}
        entities = principals(self.bundle.agents, self.bundle.namespace)
        return cedar.Compiled(permits, schema=self.schema, entities=entities)

    def action(self, name: str) -> Action:
        """What the schema declares of an action."""
        return self.schema.declared.actions[f'{self.bundle.namespace}::Action::"{name}"']

    def resources(self, action: str) -> tuple[str, ...]:
        """The types of resource that an agent may do an action to, by their short names."""
        declared = self.action(action)
        if f"{self.bundle.namespace}::Agent" not in declared.principals:
            return ()
        return tuple(self._short(full) for full in declared.resources)

    def _short(self, full: str) -> str:
        """A type's name, without the namespace where it is in the bundle's own."""
        name = full.removeprefix(f"{self.bundle.namespace}::")
        return full if "::" in name else name

    def full(self, resource: str) -> str:
        """The full name of a type that `resources` named; types of no namespace have none."""
        within = f"{self.bundle.namespace}::{resource}"
        return within if "::" not in resource and within in self.schema.declared.entities else resource

    def holding(self, request: JsonObject) -> frozenset[str]:
        """The policies that hold for a request, by the engine."""
        return holding(self._probe, request)


def holding(compiled: cedar.Compiled, request: JsonObject) -> frozenset[str]:
    """The policies among permits that hold for a request, by the engine."""
    uids = {name: request[name] for name in ("principal", "action", "resource")}
    case = compiled.open(uids, orjson.dumps(request["entities"]).decode())  # type: ignore[arg-type]  # our own shape
    found = (
        case
        if isinstance(case, cedar.Evaluation)
        else case.evaluate(orjson.dumps(request["context"]).decode())
    )
    return frozenset(found.reasons)


class Side:
    """What one bundle says about the request of a scene."""

    def __init__(self, subject: Subject, names: Names, request: UnknownRequest) -> None:
        self.subject = subject
        self.names = names
        concerned = subject.bundle.compiled.policies_of(names.action)
        self.encoder = Encoder(names, request)
        self.policies = {id_: self.encoder.policy(id_, tree) for id_, tree in concerned.items()}
        lifted = self._lifted(concerned)
        permits = [id_ for id_, tree in concerned.items() if tree.effect == "permit"]
        forbids = [id_ for id_, tree in concerned.items() if tree.effect == "forbid"]
        hard = [id_ for id_ in forbids if id_ in subject.hard]
        self.errs = smt.some([errs(self.policies), self._twice(request)])
        # The numbers are those of the judgement in `engine.py`.
        self.allows = smt.every(  # 2
            [smt.no(self.errs), holds(self.policies, permits), smt.no(holds(self.policies, forbids))]
        )
        self.escalates = smt.every(  # 3
            [
                *(smt.no(self.errs), holds(self.policies, forbids), smt.no(holds(self.policies, hard))),
                *(smt.no(errs(lifted)), holds(lifted, permits), smt.no(holds(lifted, forbids))),
            ]
        )

    def _lifted(self, concerned: Mapping[str, cedar.PolicyTree]) -> dict[str, PolicyTerms]:
        """The policies with the roles of those that refuse granted, and no other role: it could uncover an error."""
        asking: dict[str, list[str]] = {}
        for id_ in concerned:
            role = self.subject.bundle.policies[id_].escalate
            if role is not None:
                asking.setdefault(role, []).append(id_)
        granted = {role: holds(self.policies, ids) for role, ids in asking.items()}
        granting = Encoder(self.names, self.encoder.request, granted=granted)
        return {id_: granting.policy(id_, tree) for id_, tree in concerned.items()}

    def _twice(self, request: UnknownRequest) -> Term:
        """Tell whether the resource is an agent or a role that the bundle knows: Cedar takes no entity twice."""
        agents, namespace = self.names.agents, self.names.namespace
        known = {
            f"{namespace}::Agent": sorted(agents),
            f"{namespace}::Role": sorted({role for roles in agents.values() for role in roles}),
        }
        ids = known.get(self.names.resource, [])
        return smt.some(smt.equal(request.resource_id, smt.text(id_)) for id_ in ids)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The tests that were left open."""
        return tuple(self.encoder.gaps)

    def verdict(self, verdict: Verdict) -> Term:
        """Tell whether it judges so."""
        match verdict:
            case Verdict.ALLOW:
                return self.allows
            case Verdict.ESCALATE:
                return self.escalates
        return smt.no(smt.some([self.allows, self.escalates]))

    def disagreement(self, found: smt.Assignment, request: JsonObject, judgement: Judgement) -> str | None:
        """What the engine says otherwise than the encoding, None where nothing."""
        expected = next(verdict for verdict in Verdict if found.truth(self.verdict(verdict)))
        if expected is not judgement.verdict:
            return f"{judgement.verdict}, where the encoding says {expected}"
        if found.truth(self.errs):
            return None if judgement.errors else "no error, where the encoding says that there is one"
        says = {id_ for id_, policy in self.policies.items() if found.truth(policy.holds)}
        differ = sorted(says ^ self.subject.holding(request))
        return f"otherwise whether these hold: {', '.join(differ)}" if differ else None


class Scene:
    """One action on one type of resource, in one bundle or in two."""

    def __init__(self, action: str, resource: str, subjects: Sequence[Subject]) -> None:
        """Encode.

        Args:
            action: an action of every bundle.
            resource: the name of the resource's type, as `Subject.resources` has it.
            subjects: the bundles; attributes that more than one declares have the same type in all of them.
        """
        self.action, self.resource = action, resource
        known = [own_attributes(subject, action, resource) for subject in subjects]
        self.agents = sorted(set.intersection(*(set(subject.bundle.agents) for subject in subjects)))
        self.request = UnknownRequest(self.agents, _merged(known))
        alike = len({(s.bundle.schema_text, str(s.bundle.agents)) for s in subjects}) == 1
        self.sides = tuple(
            Side(
                subject,
                Names(
                    namespace=subject.bundle.namespace,
                    agents=subject.bundle.agents,
                    action=action,
                    groups=subject.schema.actions[action],
                    resource=subject.full(resource),
                    nested=subject.schema.declared.entities[subject.full(resource)].nested,
                    nodes=nodes,
                    family="all" if alike else str(place),
                ),
                self.request,
            )
            for place, (subject, nodes) in enumerate(zip(subjects, known, strict=True))
        )

    @property
    def open(self) -> tuple[str, ...]:
        """What the encoding leaves open, in words."""
        gaps = [gap for side in self.sides for gap in side.gaps]
        return (
            *(f"{gap.policy}: `{gap.test}`: {gap.why}" for gap in dict.fromkeys(gaps)),
            *(f"{path}, which the analysis has no values for" for path in self.request.opaque),
        )

    def _excused(self, judgement: Judgement) -> bool:
        """Tell whether what was left open may be why the engine says otherwise."""
        return any(side.gaps for side in self.sides) or bool(self.request.opaque and judgement.errors)

    def find(self, claims: Iterable[Term], *, prefer: Iterable[Term] = ()) -> Outcome:
        """Look for a request of which all claims hold.

        Args:
            claims: terms about this scene.
            prefer: what an example shall be like besides, where it can be: each is kept if those before it allow it.
        """
        if not self.agents:
            return Proved()
        required = [*claims, *self.request.constraints()]
        found = smt.solve([*required, *self.request.writable])
        if isinstance(found, smt.Assignment):
            required += self.request.writable
        elif self.request.writable:
            found = smt.solve(required)
        if found is None:
            return Proved()  # 1
        if isinstance(found, smt.GaveUp):
            return Unknown((found.reason,))
        for wish in prefer:
            nicer = smt.solve([*required, wish])
            if isinstance(nicer, smt.Assignment):
                found = nicer
                required.append(wish)
        return self._confirmed(found)

    def _confirmed(self, found: smt.Assignment) -> Outcome:
        requests: list[JsonObject] = []
        judgements: list[Judgement] = []
        for side in self.sides:
            try:
                request = self.request.normalised(
                    found,
                    namespace=side.names.namespace,
                    action=self.action,
                    resource=side.names.resource,
                    paths=side.names.nodes,
                )
            except UndecodableError as error:
                return Unknown((str(error),))
            try:
                judgement = side.subject.engine.rejudge(request)
            except PolicyInputError as error:
                return Unknown((f"the engine cannot be asked about the solver's example: {error}",))
            different = side.disagreement(found, request, judgement)
            if different is not None and self._excused(judgement):
                return Unknown(self.open)  # 4
            if different is not None:
                shown = orjson.dumps(request).decode()
                return Fault(f"the engine says {different}, about {shown}")  # 3
            requests.append(request)
            judgements.append(judgement)
        return Example(tuple(requests), tuple(judgements))  # 2


def scenes(subject: Subject) -> list[Scene]:
    """All scenes of one bundle."""
    return [
        Scene(action, resource, [subject])
        for action in subject.bundle.actions
        for resource in subject.resources(action)
        if unaskable(subject, action, resource) is None
    ]


def unaskable(subject: Subject, action: str, resource: str) -> str | None:
    """Why no request for an action can be judged at all, None where it can."""
    nodes = own_attributes(subject, action, resource)
    for path, node in _ADDED_BY_THE_ENGINE.items():
        if nodes.get(path) != node:
            return f"the schema's action {action} has no `{path[-1]}: {node.type}` in its context: every request errs"
    return None


def own_attributes(subject: Subject, action: str, resource: str) -> dict[Path, Node]:
    """The attributes that a bundle's schema declares for an action on a type of resource."""
    return attributes(subject.schema.declared, subject.action(action), resource=subject.full(resource))


def holds(policies: Mapping[str, PolicyTerms], ids: Iterable[str]) -> Term:
    """Tell whether one of these policies holds."""
    return smt.some(policies[id_].holds for id_ in ids)


def errs(policies: Mapping[str, PolicyTerms]) -> Term:
    """Tell whether evaluating one of the policies errs."""
    return smt.some(policy.errs for policy in policies.values())


def _merged(known: Sequence[Mapping[Path, Node]]) -> dict[Path, Node]:
    """What a request has that all bundles can judge: an attribute is always there if one of them says so."""
    merged: dict[Path, Node] = {}
    for nodes in known:
        for path, node in nodes.items():
            required = node.required or (path in merged and merged[path].required)
            merged[path] = Node(node.type, required)
    return merged
