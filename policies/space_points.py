"""The values of one parameter at which a policy may change its mind, read off its syntax tree.

Rules upheld here:
1. only one parameter moves; whatever else a policy reads has the value of one request that was judged;
2. the points are hints about where to look: the real engine is asked at each of them and one step either side;
3. between two neighbouring points a policy that is not opaque cannot change: where that does not follow from linear
   comparisons and literals, the policy is opaque. Doubt is opaque too;
4. arithmetic that leaves 64 bits errs, and an error denies: where that begins is a point as well;
5. approvals do not count as known: the engine asks once without and once with all of them.

Not here: asking the engine and what follows from its answers (`space.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jurat.policies.cedar import PolicyTree, pst
from jurat.policies.space_terms import (
    DAY_MS,
    UNITS_MS,
    Line,
    Sort,
    Term,
    cut,
    decoded,
    is_integer,
    is_truth,
    joined,
    line,
    literal,
    moves,
    negated,
)
from jurat.schemas.canonical import JsonObject

LONG: Final = (-(2**63), 2**63 - 1)
"""What Cedar's Long, and the milliseconds of its datetime and duration, can hold."""

_DIVISORS: Final = {
    "to_milliseconds": 1,
    "to_seconds": UNITS_MS["s"],
    "to_minutes": UNITS_MS["m"],
    "to_hours": UNITS_MS["h"],
    "to_days": DAY_MS,
}
Axis: TypeAlias = int | str
"""A value at which a policy may turn; moments and durations in milliseconds."""


@dataclass(frozen=True, slots=True)
class Points:
    """Where policies may turn along one parameter.

    Attributes:
        at: the values.
        opaque: ids of the policies that may turn anywhere else too, sorted.
    """

    at: frozenset[Axis]
    opaque: tuple[str, ...]


def points(
    policies: Mapping[str, PolicyTree],
    asked: JsonObject,
    *,
    parameter: str | None,
    is_text: bool,
    moving: frozenset[str],
) -> Points:
    """Find where policies may turn along one parameter.

    Args:
        policies: those that concern the action, by id.
        asked: the normalised input of a judgement: what everything else is.
        parameter: the context attribute that is the parameter; None where policies do not see it as it is.
        is_text: whether it is a text, not a number, a moment or a duration.
        moving: what else moves with it, as `reads` names it.
    """
    at: set[Axis] = set()
    opaque = []
    for id_, policy in policies.items():
        walk = _Walk(asked, parameter, Sort.TEXT if is_text else Line(1, 0), moving)
        if walk.applies(policy) is Sort.VARIES:
            opaque.append(id_)
        at |= walk.points
    return Points(frozenset(at), tuple(sorted(opaque)))


def reads(policy: PolicyTree) -> frozenset[str]:
    """The attributes that a policy looks at: `context.<name>`, `resource.<name>`; `resource` for the whole of it."""
    return frozenset(_reads(policy.clauses)) | frozenset(
        [] if isinstance(policy.resource, pst.ScopeAny | pst.ScopeIs) else ["resource"]
    )


def _reads(node: object) -> Iterator[str]:
    match node:
        case pst.GetAttr(pst.Var(name), attr):
            yield f"{name}.{attr}"
        case pst.HasAttr(pst.Var(name), attrs):
            yield f"{name}.{attrs[0]}"
        case pst.Var(name):
            yield name
        case tuple():
            for child in node:
                yield from _reads(child)
        case Mapping():
            yield from _reads(tuple(node.values()))
        case _ if dataclasses.is_dataclass(node):
            for part in dataclasses.fields(node):
                yield from _reads(getattr(node, part.name))


@dataclass(slots=True)
class _Walk:
    """One policy read along one parameter; `points` fills on the way."""

    asked: JsonObject
    parameter: str | None
    itself: Term
    moving: frozenset[str]
    points: set[Axis] = field(default_factory=set)

    def applies(self, policy: PolicyTree) -> Term:
        """Whether the policy applies, as far as its conditions say; points of a part that cannot count are left out."""
        fixed = isinstance(policy.resource, pst.ScopeAny | pst.ScopeIs) or "resource" not in self.moving
        result: Term = True if fixed else Sort.VARIES
        for clause in policy.clauses:
            found = self.term(clause.expr)
            if isinstance(clause, pst.Unless):
                found = negated(found)
            if found is False and result is not Sort.VARIES:  # one that may err still denies
                return False
            result = joined(result, found)
        return result

    def term(self, node: pst.Expr) -> Term:
        """Read one expression."""
        match node:
            case pst.BoolLit(value) | pst.LongLit(value) | pst.StringLit(value):
                return value
            case pst.GetAttr(base, attr):
                return self._attribute(base, attr)
            case pst.HasAttr(base, attrs):
                return self._has(base, attrs)
            case pst.IfThenElse():
                return self._choice(node)
            case pst.Set(elements):
                return tuple([self.term(element) for element in elements])
            case pst.Record(fields):
                return {name: self.term(value) for name, value in fields.items()}
            case pst.UnaryOp(op, arg):
                return self._unary(op, arg)
            case pst.BinaryOp(op, left, right):
                return self._binary(op, left, right)
            case pst.Like(base, _):
                return Sort.VARIES if moves(self.term(base)) else Sort.STILL
            case pst.Var("resource") | pst.Is(pst.Var("resource"), _, _):
                return Sort.VARIES if "resource" in self.moving else Sort.STILL
        return Sort.STILL

    def _attribute(self, base: pst.Expr, attr: str) -> Term:
        if not isinstance(base, pst.Var):
            record = self.term(base)
            if isinstance(record, dict):
                return record.get(attr, Sort.STILL)
            return Sort.VARIES if moves(record) else Sort.STILL
        if base.name == "context":
            if attr == self.parameter:
                return self.itself
            if attr == "approvals":  # 5
                return Sort.STILL
        if f"{base.name}.{attr}" in self.moving or base.name in self.moving:
            return Sort.VARIES
        value = self._given(base.name).get(attr)
        return Sort.STILL if value is None else decoded(value)

    def _has(self, base: pst.Expr, attrs: tuple[str, ...]) -> Term:
        if not isinstance(base, pst.Var):
            return Sort.VARIES if moves(self.term(base)) else Sort.STILL
        if base.name == "context" and attrs == (self.parameter,):
            return True
        if f"{base.name}.{attrs[0]}" in self.moving or base.name in self.moving:
            return Sort.VARIES
        if len(attrs) > 1 or base.name == "principal":
            return Sort.STILL
        return attrs[0] in self._given(base.name)

    def _given(self, name: str) -> JsonObject:
        match name, self.asked:
            case "context", {"context": dict(context)}:
                return context
            case "resource", {"entities": [{"attrs": dict(attributes)}, *_]}:
                return attributes
        return {}

    def _choice(self, node: pst.IfThenElse) -> Term:
        condition = self.term(node.cond)
        if isinstance(condition, bool):
            return self.term(node.then_expr if condition else node.else_expr)
        branches = self.term(node.then_expr), self.term(node.else_expr)
        if all(is_truth(term) for term in (condition, *branches)):
            return joined(condition, *branches)
        return Sort.VARIES if moves((condition, *branches)) else Sort.STILL

    def _unary(self, op: pst.UnaryOpName, arg: pst.Expr) -> Term:
        term = self.term(arg)
        if op == "not":
            return negated(term)
        if op == "neg":
            return self._arithmetic("sub", 0, term)
        if op == "is_empty" and isinstance(term, tuple):
            return not term
        if op in ("datetime", "duration") and isinstance(term, str):
            return literal(op, term)
        if op in ("to_date", "to_time") and is_integer(term):
            return term - term % DAY_MS if op == "to_date" else term % DAY_MS
        if op in _DIVISORS:
            divisor = _DIVISORS[op]
            if is_integer(term):
                return cut(term, divisor)
            if isinstance(term, Line):
                return dataclasses.replace(term, divisor=term.divisor * divisor)
        return Sort.VARIES if moves(term) else Sort.STILL

    def _binary(self, op: pst.BinaryOpName, left: pst.Expr, right: pst.Expr) -> Term:
        first = self.term(left)
        if op in ("and", "or"):
            if isinstance(first, bool):
                return first if first is (op == "or") else self.term(right)
            return joined(first, self.term(right))
        second = self.term(right)
        match op:
            case "add" | "sub" | "mul":
                return self._arithmetic(op, first, second)
            case "offset":
                return self._arithmetic("add", first, second)
            case "duration_since":
                return self._arithmetic("sub", first, second)
            case "eq" | "not_eq":
                same = self._same(first, second)
                return negated(same) if op == "not_eq" else same
            case "less" | "less_eq" | "greater" | "greater_eq":
                return self._compared(op, first, second)
            case "contains":
                return self._any_same(first, (second,))
            case "contains_any" | "contains_all":
                found = self._any_same(first, second)
                return Sort.STILL if isinstance(found, bool) else found
        return Sort.VARIES if moves((first, second)) else Sort.STILL

    def _arithmetic(self, op: str, first: Term, second: Term) -> Term:
        left, right = line(first), line(second)
        if left is None or right is None or left.divisor != 1 or right.divisor != 1:
            return Sort.VARIES if moves((first, second)) else Sort.STILL
        if op == "mul":
            if left.slope and right.slope:
                return Sort.VARIES
            slope = left.slope * right.offset + right.slope * left.offset
            offset = left.offset * right.offset
        else:
            sign = 1 if op == "add" else -1
            slope, offset = left.slope + sign * right.slope, left.offset + sign * right.offset
        if not slope:
            return offset if LONG[0] <= offset <= LONG[1] else Sort.STILL
        self.points |= {(end - offset) // slope for end in LONG}  # 4
        return Line(slope, offset)

    def _same(self, first: Term, second: Term) -> Term:
        if Sort.VARIES in (first, second):
            return Sort.VARIES
        if Sort.TEXT in (first, second):
            other = second if first is Sort.TEXT else first
            if isinstance(other, str):
                self.points.add(other)
                return Sort.STEP
            return True if other is Sort.TEXT else Sort.VARIES
        if isinstance(first, Line) or isinstance(second, Line):
            return self._compared("eq", first, second)
        if is_truth(first) and is_truth(second) and Sort.STEP in (first, second):
            return Sort.STEP
        if moves((first, second)):
            return Sort.VARIES
        plain = isinstance(first, bool | int | str) and isinstance(second, bool | int | str)
        return first == second if plain else Sort.STILL

    def _any_same(self, among: Term, wanted: Term) -> Term:
        if not isinstance(among, tuple) or not isinstance(wanted, tuple):
            return Sort.VARIES if moves((among, wanted)) else Sort.STILL
        found = [self._same(one, other) for one in among for other in wanted]
        if Sort.VARIES in found:
            return Sort.VARIES
        if True in found or not found:
            return bool(found)
        return joined(*found)

    def _compared(self, op: str, first: Term, second: Term) -> Term:
        left, right = line(first), line(second)
        if left is None or right is None:
            return Sort.VARIES if moves((first, second)) else Sort.STILL
        if left.divisor == right.divisor == 1:
            slope, offset = left.slope - right.slope, left.offset - right.offset
            if not slope:
                return _holds(op, offset)
            self.points.add(-offset // slope)
            return Sort.STEP
        if left.slope and right.slope:
            return Sort.VARIES
        moved, whole = (left, right.offset) if left.slope else (right, left.offset)
        # Cut towards zero, the quotient leaves `whole` at one of these, whatever the signs are.
        for edge in (whole - 1, whole, whole + 1):
            self.points.add((edge * moved.divisor - moved.offset) // moved.slope)
        return Sort.STEP


def _holds(op: str, difference: int) -> bool:
    match op:
        case "less":
            return difference < 0
        case "less_eq":
            return difference <= 0
        case "greater":
            return difference > 0
        case "greater_eq":
            return difference >= 0
    return difference == 0
