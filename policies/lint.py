"""The house rules that Cedar's validator does not know, checked on the syntax tree.

Rules upheld here, for every policy:
1. annotations: `@id` and `@title` required, `@why`, `@owner` and `@escalate` allowed, anything else is a
   fault;
2. no templates: a slot that is filled at run time cannot be read in the bundle;
3. `@escalate("role")` stands on a `forbid`, and an approval by that role can lift it;
4. `context.approvals` is used only as `.contains("<its own @escalate role>")`, in an `unless`, reached
   through `&&` and `||` alone: so an approval can only ever lift the policy that asks for it, and never grants.
   What it stands before may err once it is given, and an error denies.

Not here: types (Cedar's validator), and what spans policies, such as unique ids and known roles
(`bundle.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from jurat.policies.cedar import PolicyTree, pst
from jurat.policies.faults import did_you_mean

ANNOTATIONS = ("escalate", "id", "owner", "title", "why")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Policy ids, roles and agents: they travel in records, file names and command lines."""

MAX_TITLE_LENGTH = 200
"""A title is one line in a decision and in a table."""


def faults(policy: PolicyTree) -> Iterator[str]:
    """Every house rule that a policy breaks, in words."""
    notes = policy.annotations
    yield from _annotation_faults(notes)
    if _slots(policy):
        yield "got a template (`?principal` or `?resource`), expected a policy whose scope stands in the file"
    role = notes.get("escalate")
    if role is not None and policy.effect != "forbid":
        yield "got @escalate on a permit, expected it on a forbid: only a refusal can be lifted"
    yield from _approval_faults(policy, role)


def _annotation_faults(notes: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(notes):
        if name not in ANNOTATIONS:
            yield (
                f"got the unknown annotation @{name}, expected one of @{', @'.join(ANNOTATIONS)}"
                f"{did_you_mean(name, ANNOTATIONS, before='@')}"
            )
    if "id" not in notes:
        yield "got no @id, expected one: decisions name policies by it"
    elif not NAME.fullmatch(notes["id"]):
        yield f"got @id({notes['id']!r}), expected letters, digits, `.`, `_`, `-`, at most 100 of them"
    title = notes.get("title", "").strip()
    if not title:
        yield "got no @title, expected one sentence in plain words: it is the reason that people read"
    elif len(title) > MAX_TITLE_LENGTH or not title.isprintable():
        yield f"got a @title of {len(title)} characters, expected one line of at most {MAX_TITLE_LENGTH}"
    for name in ("why", "owner"):
        if not notes.get(name, "").isprintable():
            yield f"got @{name}({notes[name]!r}), expected one line of printable characters: pages show it"


def _slots(policy: PolicyTree) -> bool:
    return any(
        isinstance(child, pst.Slot)
        for scope in (policy.principal, policy.resource)
        for child in children(scope)
    )


def _approval_faults(policy: PolicyTree, role: str | None) -> Iterator[str]:
    liftable = misused = False
    for clause in policy.clauses:
        if isinstance(clause, pst.Unless):
            rest, lifting = _without_lifting(clause.expr, role)
            liftable = liftable or lifting
        else:
            rest = [clause.expr]
        misused = misused or any(_misused(expression) for expression in rest)
    if misused:
        expected = '"<role>"' if role is None else f'"{role}"'
        yield (
            "got a use of `context.approvals`, or of `context` as a whole, expected none but"
            f" `unless {{ context.approvals.contains({expected}) }}` with the role of @escalate"
        )
    if role is not None and policy.effect == "forbid" and not liftable:
        yield (
            f"got @escalate({role!r}) but no approval that lifts it, expected"
            f' `unless {{ context.approvals.contains("{role}") }}`'
        )


def _without_lifting(expression: pst.Expr, role: str | None) -> tuple[list[pst.Expr], bool]:
    """Split an `unless` at its `&&` and `||`; drop well-formed approval tests, tell if there was one."""
    rest: list[pst.Expr] = []
    lifting = False
    waiting = [expression]
    while waiting:
        match waiting.pop():
            case pst.BinaryOp("and" | "or", left, right):
                waiting += [left, right]
            case pst.BinaryOp(
                "contains", pst.GetAttr(pst.Var("context"), "approvals"), pst.StringLit(asked)
            ) if role is not None and asked == role:
                lifting = True
            case other:
                rest.append(other)
    return rest, lifting


def _misused(node: object) -> bool:
    """Tell whether an expression uses approvals, or the whole `context`, which could smuggle them."""
    match node:
        case pst.GetAttr(pst.Var("context"), attr):
            return attr == "approvals"
        case pst.HasAttr(pst.Var("context"), attrs):
            return attrs[0] == "approvals"
        case pst.Var("context"):
            return True
    return any(_misused(child) for child in children(node))


def children(node: object) -> Iterator[object]:
    """What stands right below a node of a policy's tree."""
    if isinstance(node, tuple):
        yield from node
    elif isinstance(node, Mapping):
        yield from node.values()
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        for field in dataclasses.fields(node):
            yield getattr(node, field.name)


def named_entities(policy: PolicyTree) -> frozenset[tuple[str, str]]:
    """The (type, id) of every entity that a policy names."""
    return frozenset((str(uid.type), uid.id) for uid in pst.entity_uids(policy))
