"""The requests that an engine can be asked about one action, as unknowns of a solver.

Rules upheld here:
1. the unknowns range over what `PolicyEngine.judge` can be asked: an agent of roles.yaml, a resource of the schema's
   type that is in no other entity, integers below 2**53, moments and durations of 64 bits, any set of approvals; and it
   is asked at a moment of the years 1 to 9999;
2. every assignment turns back into exactly one request, in the form in which requests are recorded, or is refused;
3. an attribute of a type that has no unknown here (`decimal`, entities, sets of sets) gets one fixed value and is named
   by `opaque`: nothing is proved about it.

Not here: what policies say about a request (`smt_expression.py`), the schema's syntax (`declared.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from jurat.policies import smt
from jurat.policies.cedar_schema import USAGE
from jurat.policies.declared import Action, Declared, Named, RecordOf, SetOf, Type
from jurat.policies.normal import instant
from jurat.policies.smt import Sort, Term
from jurat.policies.smt_literals import EPOCH, GREATEST_LONG, LEAST_LONG, MILLISECOND
from jurat.schemas.canonical import MAX_INTEGER, JsonObject, JsonValue

Path: TypeAlias = tuple[str, ...]
"""The way to an attribute: `("resource", "customer", "tier")`."""

APPROVALS: Final[Path] = ("context", "approvals")
NOW: Final[Path] = ("context", "now")

_BOUNDS: Final = {
    "Long": (-MAX_INTEGER, MAX_INTEGER),
    "datetime": (LEAST_LONG, GREATEST_LONG),
    "duration": (LEAST_LONG, GREATEST_LONG),
}
"""What a request can hold, in milliseconds for the last two: more than a model does (`normal.py`)."""

_YEARS: Final = (
    (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND,
    (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND,
)
"""The moments that can be written down: those of the years 1 to 9999."""

SORTS: Final = {
    "Bool": Sort.BOOL,
    "String": Sort.TEXT,
    "Long": Sort.INT,
    "datetime": Sort.INT,
    "duration": Sort.INT,
}
SETS: Final = {"Set<String>": Sort.TEXT, "Set<Long>": Sort.INT}
RECORD: Final = "record"

_FIXED: Final[Mapping[str, JsonValue]] = {
    "decimal": {"__extn": {"fn": "decimal", "arg": "0.0"}},
    "ipaddr": {"__extn": {"fn": "ip", "arg": "127.0.0.1"}},
}

MAX_ALIASES: Final = 32
"""Names of types that stand for each other; Cedar refuses loops."""


_USAGE: Final[Path] = ("context", USAGE)
"""What was used of budgets: never less than nothing."""


class UndecodableError(ValueError):
    """An assignment that no request has."""


@dataclass(frozen=True, slots=True)
class Node:
    """An attribute: its type in Cedar's words (`record` for records), and whether it is always there."""

    type: str
    required: bool = True


@dataclass(slots=True)
class UnknownSet:
    """A set of which only the answers to what was asked are known.

    Attributes:
        asked: the elements that it was asked for.
    """

    members: smt.Predicate
    inhabited: Term
    asked: dict[int, Term]

    def contains(self, element: Term) -> Term:
        """Tell whether it holds an element."""
        self.asked.setdefault(element.key, element)
        return self.members.of(element)

    def constraints(self) -> Iterator[Term]:
        """An empty set holds nothing. A set that is not empty may hold something that nobody asked for.

        What a request cannot hold is in no set.
        """
        for element in self.asked.values():
            within = _between(-MAX_INTEGER, element, MAX_INTEGER) if element.sort is Sort.INT else []
            yield smt.some([smt.every([self.inhabited, *within]), smt.no(self.members.of(element))])

    def elements(self, found: smt.Assignment) -> list[JsonValue]:
        """Its elements under an assignment, sorted."""
        read = found.text if self.members.sort is Sort.TEXT else found.integer
        asked = {read(element): found.truth(self.members.of(element)) for element in self.asked.values()}
        held = [element for element, is_in in asked.items() if is_in]
        if not held and found.truth(self.inhabited):
            other = f"other-{len(asked)}" if self.members.sort is Sort.TEXT else MAX_INTEGER - len(asked)
            while other in asked:
                other = f"{other}-" if isinstance(other, str) else other - 1
            held.append(other)
        return [*sorted(held, key=lambda element: (str(type(element)), element))]


def attributes(declared: Declared, action: Action, *, resource: str) -> dict[Path, Node]:
    """Every attribute that a request for an action on a type of resource may have, by its path."""
    found: dict[Path, Node] = {}
    roots = {"context": declared.record(action.context), "resource": declared.entities[resource].attributes}
    for root, record in roots.items():
        found[root,] = Node(RECORD)
        _collect(declared, record or RecordOf({}), (root,), found)
    return found


def _collect(declared: Declared, record: RecordOf, path: Path, found: dict[Path, Node]) -> None:
    for name, attribute in record.fields.items():
        below = (*path, name)
        type_ = _resolved(declared, attribute.type)
        found[below] = Node(_name(declared, type_), attribute.required)
        if isinstance(type_, RecordOf):
            _collect(declared, type_, below, found)


def _resolved(declared: Declared, type_: Type) -> Type:
    """The type that a name stands for; names of entities and of Cedar's own types stand for themselves."""
    for _ in range(MAX_ALIASES):
        if not isinstance(type_, Named):
            return type_
        full = f"{type_.namespace}::{type_.name}" if type_.namespace else type_.name
        if full in declared.entities or type_.name in declared.entities:
            return Named(full if full in declared.entities else type_.name)
        aliased = declared.types.get(full, declared.types.get(type_.name))
        if aliased is None:
            return Named(type_.name.removeprefix("__cedar::"))
        type_ = aliased
    return type_


def _name(declared: Declared, type_: Type) -> str:
    match type_:
        case Named(name):
            return name
        case SetOf(element):
            return f"Set<{_name(declared, _resolved(declared, element))}>"
        case RecordOf():
            return RECORD


class UnknownRequest:
    """The unknowns of one request."""

    def __init__(self, agents: Sequence[str], nodes: Mapping[Path, Node]) -> None:
        """Make unknowns.

        Args:
            agents: who may ask.
            nodes: the attributes of context and resource; `context.approvals` is one of them.
        """
        self.agents = tuple(agents)
        self.nodes = nodes
        self.agent = smt.variable(Sort.INT, "agent")
        self.resource_id = smt.variable(Sort.TEXT, "resource id")
        self.terms: dict[Path, Term] = {}
        self.presence: dict[Path, Term] = {}
        self.sets: dict[Path, UnknownSet] = {}
        self.opaque: list[str] = []
        self.writable: list[Term] = []
        self._bounds = [
            smt.at_most(smt.integer(0), self.agent),
            smt.less(self.agent, smt.integer(len(self.agents))),
            smt.no(smt.equal(self.resource_id, smt.text(""))),
        ]
        for path, node in nodes.items():
            self._declare(path, node)

    def _declare(self, path: Path, node: Node) -> None:
        name = ".".join(path)
        if not node.required:
            self.presence[path] = smt.variable(Sort.BOOL, f"has {name}")
        if node.type in SORTS:
            term = self.terms[path] = smt.variable(SORTS[node.type], name)
            if node.type in _BOUNDS:
                low, high = _BOUNDS[node.type]
                if path[:-1] == _USAGE:
                    low = 0
                self._bounds += _between(low, term, high)
            if node.type == "datetime":
                (self._bounds if path == NOW else self.writable).extend(_between(_YEARS[0], term, _YEARS[1]))
        elif node.type in SETS:
            inhabited = smt.variable(Sort.BOOL, f"inhabited {name}")
            self.sets[path] = UnknownSet(smt.predicate(SETS[node.type], f"in {name}"), inhabited, {})
        elif node.type != RECORD:
            self.opaque.append(f"{name} is of the type {node.type}")

    @property
    def nobody_approved(self) -> Term:
        """No approval at all."""
        return smt.no(self.sets[APPROVALS].inhabited)

    def constraints(self) -> list[Term]:
        """What holds for every request, about all that has been asked of its sets so far."""
        return [*self._bounds, *(term for asked in self.sets.values() for term in asked.constraints())]

    def normalised(
        self,
        found: smt.Assignment,
        *,
        namespace: str,
        action: str,
        resource: str,
        paths: Iterable[Path],
    ) -> JsonObject:
        """The request of an assignment, in the form in which requests are recorded.

        Args:
            found: the assignment.
            namespace: of the bundle that is to judge it.
            action: the action's name.
            resource: the full name of the resource's type.
            paths: the attributes that this bundle knows.

        Raises:
            UndecodableError: a text of it is not Unicode, or a moment outside of the years 1 to 9999.
        """
        uid: JsonObject = {"type": resource, "id": _text(found.text(self.resource_id))}
        roots: dict[str, JsonObject] = {"context": {}, "resource": {}}
        records: dict[Path, JsonObject] = {(name,): record for name, record in roots.items()}
        for path in sorted(paths):
            if len(path) == 1 or path[:-1] not in records:
                continue  # a root, or within a record that is absent
            if path in self.presence and not found.truth(self.presence[path]):
                continue
            value = self._value(path, found)
            records[path[:-1]][path[-1]] = value
            if isinstance(value, dict) and self.nodes[path].type == RECORD:
                records[path] = value
        agent = self.agents[found.integer(self.agent)]
        return {
            "principal": {"type": f"{namespace}::Agent", "id": agent},
            "action": {"type": f"{namespace}::Action", "id": action},
            "resource": uid,
            "context": roots["context"],
            "entities": [{"uid": uid, "attrs": roots["resource"], "parents": []}],
        }

    def _value(self, path: Path, found: smt.Assignment) -> JsonValue:
        type_ = self.nodes[path].type
        match type_:
            case "Bool":
                return found.truth(self.terms[path])
            case "Long":
                return found.integer(self.terms[path])
            case "String":
                return _text(found.text(self.terms[path]))
            case "datetime":
                return _moment(found.integer(self.terms[path]))
            case "duration":
                return {"__extn": {"fn": "duration", "arg": f"{found.integer(self.terms[path])}ms"}}
            case "record":
                return {}
        if path in self.sets:
            return [_text(e) if isinstance(e, str) else e for e in self.sets[path].elements(found)]
        if type_.startswith("Set<"):
            return []
        return _FIXED.get(type_, {"__entity": {"type": type_, "id": "x"}})


def _between(low: int, term: Term, high: int) -> list[Term]:
    return [smt.at_most(smt.integer(low), term), smt.at_most(term, smt.integer(high))]


def _moment(milliseconds: int) -> JsonValue:
    low, high = _YEARS
    if not low <= milliseconds <= high:
        raise UndecodableError("the solver's example holds a moment outside of the years 1 to 9999")
    return instant(EPOCH + milliseconds * MILLISECOND)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UndecodableError("the solver's example holds a text that is not Unicode") from error
    return value
