"""What the entities in a policy stand for: the agents and roles of roles.yaml, the action, and the resource.

Rules upheld here: agents and roles are those that the bundle knows, and no others exist; a resource is in itself and in
nothing else where the schema lets its type be in nothing, and otherwise what it is in is not covered.
Not here: attributes (`smt_expression.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jurat.policies import smt
from jurat.policies.cedar import pst
from jurat.policies.smt import NotCoveredError, Term
from jurat.policies.smt_request import Node, Path, UnknownRequest


@dataclass(frozen=True, slots=True)
class Names:
    """What the names in a bundle's policies stand for.

    Attributes:
        namespace: the bundle's.
        agents: the roles of every agent.
        action: the action that is asked about.
        groups: the names of all actions and groups that it is in, itself included.
        resource: the full name of the resource's type.
        nested: whether the schema lets such resources be in other entities.
        nodes: the attributes that the bundle's schema declares for the action.
        family: who shares the unknowns of tests that are left open.
    """

    namespace: str
    agents: Mapping[str, Iterable[str]]
    action: str
    groups: frozenset[str]
    resource: str
    nested: bool
    nodes: Mapping[Path, Node]
    family: str


@dataclass(frozen=True, slots=True)
class Entity:
    """The principal, the action or the resource of the request, or an entity that a policy names (`uid`)."""

    which: str
    uid: pst.EntityUid | None = None


class Entities:
    """Answers `==`, `in` and `is` about the entities of one request."""

    def __init__(self, names: Names, request: UnknownRequest) -> None:
        self._names = names
        self._request = request
        self._types = {
            "principal": f"{names.namespace}::Agent",
            "action": f"{names.namespace}::Action",
            "resource": names.resource,
        }

    def type_of(self, entity: Entity) -> str:
        """The full name of an entity's type."""
        return self._types[entity.which] if entity.uid is None else str(entity.uid.type)

    def named(self, entity: Entity, uid: pst.EntityUid) -> Term:
        """Tell whether an entity is the one that is named."""
        if entity.uid is not None:
            return smt.truth(entity.uid == uid)
        if self.type_of(entity) != str(uid.type):
            return smt.truth(value=False)
        if entity.which == "resource":
            return smt.equal(self._request.resource_id, smt.text(uid.id))
        if entity.which == "action":
            return smt.truth(uid.id == self._names.action)
        return self._agent_among([uid.id])

    def within(self, entity: Entity, uid: pst.EntityUid) -> Term:
        """Tell whether an entity is the one that is named, or in it.

        Raises:
            NotCoveredError: the entity is not one of the request, or a resource that may be in others.
        """
        names, type_ = self._names, str(uid.type)
        if entity.uid is not None:
            raise NotCoveredError("`in` of an entity that is named is not covered")
        if entity.which == "principal" and type_ == f"{names.namespace}::Role":
            return self._agent_among(agent for agent, roles in names.agents.items() if uid.id in roles)
        if entity.which == "action" and type_ == self.type_of(entity):
            return smt.truth(uid.id in names.groups)
        if entity.which == "resource" and names.nested:
            raise NotCoveredError(
                f"the schema lets a {names.resource} be in other entities, which is not covered"
            )
        return self.named(entity, uid)

    def scope(self, entity: Entity, constraint: pst.PrincipalOrResourceConstraint) -> Term:
        """Tell whether an entity matches a policy's scope.

        Raises:
            NotCoveredError: the policy is a template.
        """
        match constraint:
            case pst.ScopeAny():
                return smt.truth(value=True)
            case pst.ScopeEq(pst.EntityUid() as uid):
                return self.named(entity, uid)
            case pst.ScopeIn(pst.EntityUid() as uid):
                return self.within(entity, uid)
            case pst.ScopeIs(type_):
                return smt.truth(self.type_of(entity) == str(type_))
            case pst.ScopeIsIn(type_, pst.EntityUid() as uid):
                of_type = smt.truth(self.type_of(entity) == str(type_))
                return smt.every([of_type, self.within(entity, uid)])
        raise NotCoveredError("a template is not covered")

    def _agent_among(self, agents: Iterable[str]) -> Term:
        places = [self._request.agents.index(agent) for agent in agents if agent in self._request.agents]
        return smt.some(smt.equal(self._request.agent, smt.integer(place)) for place in places)
