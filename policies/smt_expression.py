"""What Cedar's policies say about an unknown request, as terms of a solver.

Rules upheld here:
1. integers are Cedar's: a result outside of 64 bits is an error, and so is an absent attribute; an error counts only
   where Cedar would have come to it (`&&`, `||` and `if` stop early);
2. a policy holds when its scope and its conditions do and nothing erred;
3. a test that is not covered is left open: true, false or an error, as the solver likes. So what is proved holds
   whatever the test comes to; and the test is named, as a `Gap`;
4. the same test left open twice is the same unknown: it is asked of the same request.

Covered: Bool, Long, String, datetime, duration and records of these; `has`; `like`; sets by `contains`, `isEmpty`,
`containsAny` and `containsAll` of elements that are written out; principal, action and resource by `==`, `in` and `is`.
Not covered: decimal, IP addresses, tags, attributes that are entities, equality of sets and records.
Source: https://docs.cedarpolicy.com/policies/syntax-operators.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from jurat.policies import cedar, smt
from jurat.policies.cedar import PolicyTree, pst
from jurat.policies.smt import NotCoveredError, Term
from jurat.policies.smt_entities import Entities, Entity, Names
from jurat.policies.smt_literals import DAY_MS, GREATEST_LONG, LEAST_LONG, datetime_ms, duration_ms
from jurat.policies.smt_request import APPROVALS, RECORD, SORTS, Path, UnknownRequest


@dataclass(frozen=True, slots=True)
class Gap:
    """A test that was left open: the policy that makes it, as Cedar writes it, and why."""

    policy: str
    test: str
    why: str


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """What a policy says: whether its scope matches, whether it holds, whether evaluating it errs.

    Attributes:
        met: whether it would hold if no error counted.
    """

    scope: Term
    met: Term
    holds: Term
    errs: Term


@dataclass(frozen=True, slots=True)
class _Scalar:
    type: str
    term: Term


@dataclass(frozen=True, slots=True)
class _Set:
    contains: Callable[[Term], Term]
    inhabited: Term
    written: tuple[Term, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    path: Path


_Value: TypeAlias = _Scalar | _Set | _Record | Entity

COMPARISONS: Final[dict[str, Callable[[Term, Term], Term]]] = {
    "less": smt.less,
    "less_eq": smt.at_most,
    "greater": lambda left, right: smt.less(right, left),
    "greater_eq": lambda left, right: smt.at_most(right, left),
}
ARITHMETIC: Final[dict[str, tuple[str, Callable[[Term, Term], Term]]]] = {
    "add": ("Long", smt.plus),
    "sub": ("Long", smt.minus),
    "mul": ("Long", smt.times),
    "offset": ("datetime", smt.plus),
    "duration_since": ("duration", smt.minus),
}
UNITS_MS: Final = {
    "to_milliseconds": 1,
    "to_seconds": 1_000,
    "to_minutes": 60_000,
    "to_hours": 3_600_000,
    "to_days": DAY_MS,
}
_TESTS: Final = frozenset(
    {*COMPARISONS, "eq", "not_eq", "and", "or", "in", "contains", "contains_all", "contains_any"}
)


class Encoder:
    """Turns the policies of one bundle into terms about one request."""

    def __init__(
        self, names: Names, request: UnknownRequest, *, granted: Mapping[str, Term] | None = None
    ) -> None:
        """Prepare.

        Args:
            names: what the names in the policies stand for.
            request: the unknowns.
            granted: roles that approved besides those of the request, and whether they did.
        """
        self._names = names
        self.request = request
        self._entities = Entities(names, request)
        self._granted = granted or {}
        self._policy = ""
        self._errors: list[Term] = []
        self.gaps: dict[Gap, None] = {}

    def policy(self, id_: str, tree: PolicyTree) -> PolicyTerms:
        """The terms of a policy whose scope may match the action."""
        self._policy, self._errors = id_, []
        so_far = scope = smt.every(
            [self._scope("principal", tree.principal), self._scope("resource", tree.resource)]
        )
        for clause in tree.clauses:
            met = self.truth(clause.expr, so_far)
            so_far = smt.every([so_far, smt.no(met) if isinstance(clause, pst.Unless) else met])
        errs = smt.some(self._errors)
        return PolicyTerms(scope, so_far, smt.every([so_far, smt.no(errs)]), errs)

    def _scope(self, which: str, constraint: pst.PrincipalOrResourceConstraint) -> Term:
        try:
            return self._entities.scope(Entity(which), constraint)
        except NotCoveredError as error:
            self.gaps[Gap(self._policy, f"{which} in the scope", str(error))] = None
            return smt.variable(smt.Sort.BOOL, f"scope: {self._names.family} {constraint}")

    def truth(self, node: pst.Expr, when: Term) -> Term:
        """The term of a test, which is made only where `when` holds."""
        match node:
            case pst.BinaryOp("and", left, right):
                first = self.truth(left, when)
                return smt.every([first, self.truth(right, smt.every([when, first]))])
            case pst.BinaryOp("or", left, right):
                first = self.truth(left, when)
                return smt.some([first, self.truth(right, smt.every([when, smt.no(first)]))])
            case pst.UnaryOp("not", arg):
                return smt.no(self.truth(arg, when))
            case pst.IfThenElse(condition, then, other):
                met = self.truth(condition, when)
                one = self.truth(then, smt.every([when, met]))
                return smt.choice(met, one, self.truth(other, smt.every([when, smt.no(met)])))
        known = len(self._errors)
        try:
            return self._test(node, when)
        except NotCoveredError as error:
            del self._errors[known:]
            return self._open(node, when, str(error))

    def _open(self, node: pst.Expr, when: Term, why: str) -> Term:
        """Leave a test open (3, 4)."""
        test = cedar.printed(node)
        self.gaps[Gap(self._policy, test, why)] = None
        name = f"{self._names.family} {test}"
        self._errors.append(smt.every([when, smt.variable(smt.Sort.BOOL, f"errs: {name}")]))
        return smt.variable(smt.Sort.BOOL, f"holds: {name}")

    def _test(self, node: pst.Expr, when: Term) -> Term:
        match node:
            case pst.BoolLit(value):
                return smt.truth(value)
            case pst.GetAttr():
                return self._scalar(node, when, "Bool").term
            case pst.HasAttr(base, attrs):
                return self._has(base, attrs, when)
            case pst.Like(base, pattern):
                pieces = [p.value if isinstance(p, pst.Char) else None for p in pattern]
                return smt.like(self._scalar(base, when, "String").term, pieces)
            case pst.Is(base, type_, inside):
                entity = self._entity(base, when)
                of_type = smt.truth(self._entities.type_of(entity) == str(type_))
                return of_type if inside is None else smt.every([of_type, self._in(entity, inside)])
            case pst.UnaryOp("is_empty", arg):
                return smt.no(self._set(arg, when).inhabited)
            case pst.BinaryOp():
                return self._binary_test(node, when)
        raise NotCoveredError(f"{type(node).__name__} is not covered")

    def _binary_test(self, node: pst.BinaryOp, when: Term) -> Term:
        op, left, right = node.op, node.left, node.right
        if op in COMPARISONS:
            one, other = self._value(left, when), self._value(right, when)
            if isinstance(one, _Scalar) and isinstance(other, _Scalar) and one.type == other.type:
                return COMPARISONS[op](one.term, other.term)
        elif op in ("eq", "not_eq"):
            same = self._same(self._value(left, when), self._value(right, when))
            return same if op == "eq" else smt.no(same)
        elif op == "in":
            return self._in(self._entity(left, when), right)
        elif op == "contains":
            held, element = self._set(left, when), self._value(right, when)
            if isinstance(element, _Scalar):
                return held.contains(element.term)
        elif op in ("contains_any", "contains_all"):
            return self._overlap(op, self._set(left, when), self._set(right, when))
        raise NotCoveredError(f"`{op}` of these is not covered")

    def _value(self, node: pst.Expr, when: Term) -> _Value:
        match node:
            case pst.LongLit(value):
                return _Scalar("Long", smt.integer(value))
            case pst.StringLit(value):
                return _Scalar("String", smt.text(value))
            case pst.EntityLit(uid):
                return Entity("named", uid)
            case pst.Var("context"):
                return _Record(("context",))
            case pst.Var(name):
                return Entity(name)
            case pst.GetAttr(base, attr):
                return self._attribute(base, attr, when)
            case pst.Set(elements):
                return _written([self._scalar(element, when).term for element in elements])
            case pst.IfThenElse(condition, then, other):
                return self._chosen(condition, (then, other), when)
            case pst.UnaryOp(op, arg) if op not in ("not", "is_empty"):
                return self._unary(op, arg, when)
            case pst.BinaryOp(op, left, right) if op not in _TESTS:
                return self._computed(op, self._value(left, when), self._value(right, when), when)
        return _Scalar("Bool", self.truth(node, when))

    def _attribute(self, base: pst.Expr, attr: str, when: Term) -> _Value:
        path = (*self._path(base, when), attr)
        node = self._names.nodes.get(path)
        if node is None:
            raise NotCoveredError(f"{'.'.join(path)} is not in the schema")
        if not node.required:
            self._errors.append(smt.every([when, smt.no(self._present(path))]))
        if node.type == RECORD:
            return _Record(path)
        if node.type in SORTS:
            return _Scalar(node.type, self.request.terms[path])
        if path in self.request.sets:
            asked = self.request.sets[path]
            known = _Set(asked.contains, asked.inhabited)
            return _joined(known, self._granted) if path == APPROVALS else known
        raise NotCoveredError(f"{'.'.join(path)} is of the type {node.type}")

    def _has(self, base: pst.Expr, attrs: tuple[str, ...], when: Term) -> Term:
        path = self._path(base, when)
        there: list[Term] = []
        for attr in attrs:
            path = (*path, attr)
            if path not in self._names.nodes:
                return smt.truth(value=False)
            there.append(self._present(path))
        return smt.every(there)

    def _present(self, path: Path) -> Term:
        # Always there by the other bundle's schema, if not by this one's: then no request is without it.
        return self.request.presence.get(path, smt.truth(value=True))

    def _path(self, node: pst.Expr, when: Term) -> Path:
        match self._value(node, when):
            case _Record(path):
                return path
            case Entity("resource"):
                return ("resource",)
        raise NotCoveredError("only attributes of context, of resource and of records in them are covered")

    def _chosen(self, condition: pst.Expr, both: tuple[pst.Expr, pst.Expr], when: Term) -> _Value:
        met = self.truth(condition, when)
        one = self._value(both[0], smt.every([when, met]))
        other = self._value(both[1], smt.every([when, smt.no(met)]))
        if isinstance(one, _Scalar) and isinstance(other, _Scalar) and one.type == other.type:
            return _Scalar(one.type, smt.choice(met, one.term, other.term))
        if isinstance(one, _Set) and isinstance(other, _Set):
            first, second = one.contains, other.contains
            return _Set(
                lambda element: smt.choice(met, first(element), second(element)),
                smt.choice(met, one.inhabited, other.inhabited),
            )
        raise NotCoveredError("`if` is covered for plain values and sets")

    def _unary(self, op: str, arg: pst.Expr, when: Term) -> _Value:
        match op, arg:
            case "datetime", pst.StringLit(text):
                return _Scalar("datetime", smt.integer(datetime_ms(text)))
            case "duration", pst.StringLit(text):
                return _Scalar("duration", smt.integer(duration_ms(text)))
        if op == "neg":
            return self._bounded(
                "Long", smt.minus(smt.integer(0), self._scalar(arg, when, "Long").term), when
            )
        if op in UNITS_MS:
            term, step = self._scalar(arg, when, "duration").term, UNITS_MS[op]
            below = smt.less(term, smt.integer(0))
            opposite = smt.minus(smt.integer(0), smt.floor(smt.minus(smt.integer(0), term), step))
            return _Scalar("Long", smt.choice(below, opposite, smt.floor(term, step)))
        if op in ("to_date", "to_time"):
            term = self._scalar(arg, when, "datetime").term
            day = smt.times(smt.floor(term, DAY_MS), smt.integer(DAY_MS))
            if op == "to_date":
                return self._bounded("datetime", day, when)
            return _Scalar("duration", smt.minus(term, day))
        raise NotCoveredError(f"`{op}` is not covered")

    def _computed(self, op: str, one: _Value, other: _Value, when: Term) -> _Scalar:
        if op in ARITHMETIC and isinstance(one, _Scalar) and isinstance(other, _Scalar):
            type_, compute = ARITHMETIC[op]
            return self._bounded(type_, compute(one.term, other.term), when)
        raise NotCoveredError(f"`{op}` is not covered")

    def _bounded(self, type_: str, term: Term, when: Term) -> _Scalar:
        """A computed value; outside of 64 bits Cedar errs (1)."""
        outside = smt.some(
            [smt.less(term, smt.integer(LEAST_LONG)), smt.less(smt.integer(GREATEST_LONG), term)]
        )
        self._errors.append(smt.every([when, outside]))
        return _Scalar(type_, term)

    def _overlap(self, op: str, held: _Set, asked: _Set) -> Term:
        if asked.written is not None:
            combine = smt.every if op == "contains_all" else smt.some
            return combine(held.contains(element) for element in asked.written)
        if held.written is not None and op == "contains_any":
            return smt.some(asked.contains(element) for element in held.written)
        raise NotCoveredError(f"`{op}` of sets that are not written out is not covered")

    def _same(self, one: _Value, other: _Value) -> Term:
        if isinstance(one, Entity) and isinstance(other, Entity):
            if other.uid is None:
                one, other = other, one
            if other.uid is not None:
                return self._entities.named(one, other.uid)
            if one == other:
                return smt.truth(value=True)
        if isinstance(one, _Scalar) and isinstance(other, _Scalar) and one.type == other.type:
            return smt.equal(one.term, other.term)
        raise NotCoveredError("equality of these is not covered")

    def _in(self, entity: Entity, targets: pst.Expr) -> Term:
        named = targets.elements if isinstance(targets, pst.Set) else (targets,)
        return smt.some(self._entities.within(entity, self._named(target)) for target in named)

    @staticmethod
    def _named(target: pst.Expr) -> pst.EntityUid:
        if isinstance(target, pst.EntityLit):
            return target.value
        raise NotCoveredError("`in` is covered for entities that are named")

    def _scalar(self, node: pst.Expr, when: Term, type_: str | None = None) -> _Scalar:
        value = self._value(node, when)
        if isinstance(value, _Scalar) and type_ in (None, value.type):
            return value
        raise NotCoveredError(f"expected {type_ or 'a plain value'}")

    def _set(self, node: pst.Expr, when: Term) -> _Set:
        value = self._value(node, when)
        if isinstance(value, _Set):
            return value
        raise NotCoveredError("expected a set")

    def _entity(self, node: pst.Expr, when: Term) -> Entity:
        value = self._value(node, when)
        if isinstance(value, Entity):
            return value
        raise NotCoveredError("entities in attributes are not covered")


def _written(elements: Iterable[Term]) -> _Set:
    """A set whose elements are written out."""
    held = tuple(elements)
    return _Set(
        lambda element: smt.some(smt.equal(element, one) for one in held), smt.truth(bool(held)), written=held
    )


def _joined(held: _Set, more: Mapping[str, Term]) -> _Set:
    """A set with these texts added, each where its term is true."""
    added = [(smt.text(element), is_in) for element, is_in in more.items()]
    return _Set(
        lambda element: smt.some(
            [held.contains(element), *(smt.every([is_in, smt.equal(element, one)]) for one, is_in in added)]
        ),
        smt.some([held.inhabited, *more.values()]),
    )
