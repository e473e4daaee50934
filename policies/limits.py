"""The limits that policies set to budgets, read off their conditions: to show what is left, never to decide.

Rules upheld here: only a comparison of a budget's usage with a number is a limit, with what the action takes added or
not (`context.usage.refunds_day + context.amount_minor > 100000`); a limit that depends on anything else is not guessed.
Which other conditions a policy has beside it is not looked at, so a limit may hold for some requests alone: its policy
says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jurat.policies.cedar import PolicyTree, pst
from jurat.policies.request import Budget

_MIRRORED: Final = {"greater": "less", "greater_eq": "less_eq", "less": "greater", "less_eq": "greater_eq"}
_STRICT: Final = ("greater", "less_eq")
"""Comparisons after which the number itself is still within the limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a policy allows of a budget.

    Attributes:
        budget: its name.
        policy: the policy's id.
        most: the largest sum, what is being judged included, that the policy lets pass.
    """

    budget: str
    policy: str
    most: int


def limits_of(policies: Mapping[str, PolicyTree], budgets: Mapping[str, Budget]) -> tuple[Limit, ...]:
    """Every limit that policies set to budgets, sorted by budget, then by limit."""
    found = {
        Limit(name, id_, most)
        for id_, policy in policies.items()
        for clause in policy.clauses
        for name, most in _limits(clause.expr, budgets)
    }
    return tuple(sorted(found, key=lambda limit: (limit.budget, limit.most, limit.policy)))


def _limits(node: object, budgets: Mapping[str, Budget]) -> Iterator[tuple[str, int]]:
    match node:
        case pst.BinaryOp(op, left, right) if op in _MIRRORED:
            form = _difference(left, right)
            limit = None if form is None else _limit(op, form, budgets)
            if limit is not None:
                yield limit
        case pst.BinaryOp(_, left, right):
            yield from _limits(left, budgets)
            yield from _limits(right, budgets)
        case _ if dataclasses.is_dataclass(node):
            for field in dataclasses.fields(node):
                yield from _limits(getattr(node, field.name), budgets)


def _limit(op: str, form: dict[str, int], budgets: Mapping[str, Budget]) -> tuple[str, int] | None:
    """The limit in `form op 0`, where there is one; the constant stands under the empty path."""
    used = [path for path in form if path.startswith("context.usage.")]
    budget = budgets.get(used[0].removeprefix("context.usage.")) if len(used) == 1 else None
    if budget is None or abs(form[used[0]]) != 1:
        return None
    if form[used[0]] < 0:
        op, form = _MIRRORED[op], {path: -factor for path, factor in form.items()}
    number = -form.pop("", 0)
    del form[used[0]]
    if budget.of is None:
        number += 1  # the action that is judged is not in its usage yet
    elif form == {budget.of: 1}:
        form = {}
    return None if form else (budget.name, number if op in _STRICT else number - 1)


def _difference(left: object, right: object) -> dict[str, int] | None:
    """`left - right` as factors by path; None where it is not linear."""
    one, other = _linear(left), _linear(right)
    return None if one is None or other is None else _sum(one, other, -1)


def _linear(node: object) -> dict[str, int] | None:
    match node:
        case pst.LongLit(value):
            return {"": value}
        case pst.BinaryOp("add" | "sub" as op, left, right):
            one, other = _linear(left), _linear(right)
            return None if one is None or other is None else _sum(one, other, 1 if op == "add" else -1)
        case pst.GetAttr():
            path = _path(node)
            return None if path is None else {path: 1}
    return None


def _sum(one: dict[str, int], other: dict[str, int], sign: int) -> dict[str, int]:
    paths = {*one, *other}
    summed = {path: one.get(path, 0) + sign * other.get(path, 0) for path in paths}
    return {path: factor for path, factor in summed.items() if factor or not path}


def _path(node: object) -> str | None:
    match node:
        case pst.Var("context" | "resource" as name):
            return name
        case pst.GetAttr(base, attr):
            above = _path(base)
            return None if above is None else f"{above}.{attr}"
    return None
