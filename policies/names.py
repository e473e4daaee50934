"""Names in policies that the schema does not declare, and what was likely meant.

Cedar's validator reports an attribute that does not exist only where the policy could reach it: `context has x`,
`resource has x && resource.x > 1` and all that stands behind `false &&` pass. Here every attribute that is read or
asked for is looked up, reachable or not.

Rules upheld here:
1. an attribute is unknown when no request that the policy's scope admits can have it at that place;
2. what an expression is, where it cannot be told (a record that the policy itself writes), is left to the validator;
3. a suggestion is a path that exists: the same name elsewhere, else the most similar one beside the unknown name.

Not here: types (Cedar's validator), roles and agents (`bundle.py`), the house rules (`lint.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jurat.policies.cedar import PolicyTree, Schema, concerns, pst
from jurat.policies.declared import Attribute, Declared, Named, RecordOf, Type
from jurat.policies.faults import closest, did_you_mean, listed
from jurat.policies.lint import children

MAX_PATH: Final = 6
"""Attributes of attributes that are searched for a suggestion."""

FUNCTIONS: Final = ("datetime", "decimal", "duration", "ip")
METHODS: Final = (
    *("contains", "containsAll", "containsAny", "isEmpty", "getTag", "hasTag"),
    *("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"),
    *("isIpv4", "isIpv6", "isLoopback", "isMulticast", "isInRange"),
    *("offset", "durationSince", "toDate", "toTime"),
    *("toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"),
)
# What Cedar says about a word that it does not know, and the words that it does know there.
_WORDS: Final = (
    (re.compile(r"`(\w+)` is not a valid function"), FUNCTIONS),
    (re.compile(r"`(\w+)` is not a valid method"), METHODS),
    (re.compile(r"invalid policy effect: (\w+)"), ("permit", "forbid")),
    (re.compile(r"invalid policy condition: (\w+)"), ("when", "unless")),
    (re.compile(r"invalid variable in the policy scope: (\w+)"), ("principal", "action", "resource")),
)
_TYPE: Final = re.compile(r"unrecognized entity type `([^`]+)`")
_ACTION: Final = re.compile(r"unrecognized action `([^`]+)`")
_ATTRIBUTE: Final = re.compile(
    r"attribute `(?P<path>[^`]+)` (?:in context for .+ |on entity type .+ )?not found"
)
_SOMETHING: Final = "(an expression)"
_NOWHERE: Final = "unable to find an applicable action"

_Types = tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """An attribute that the schema does not declare.

    Attributes:
        attribute: its name.
        fault: the whole of it in words.
    """

    attribute: str
    fault: str


def unknown_attributes(policy: PolicyTree, schema: Schema) -> tuple[Unknown, ...]:
    """Every attribute that a policy uses and that none of its requests can have, each once."""
    found: dict[str, Unknown] = {}
    looking = _Looking(schema.declared, _variables(policy, schema))
    for clause in policy.clauses:
        for unknown in looking.unknown(clause.expr):
            found.setdefault(unknown.fault, unknown)
    return tuple(found.values())


def parser_hint(message: str) -> str:
    """The suggestion for a word that Cedar's parser does not know; empty without one."""
    for pattern, known in _WORDS:
        match = pattern.search(message)
        if match:
            return did_you_mean(match[1], known) or f", expected one of {', '.join(known)}"
    return ""


def validator_faults(
    messages: Iterable[str], unknown: Iterable[Unknown], declared: Declared
) -> Iterator[str]:
    """What Cedar's validator says and `unknown_attributes` does not, with suggestions for types and actions."""
    said = list(messages)
    reported = {one.attribute for one in unknown}
    strangers = any(_TYPE.search(message) or _ACTION.search(message) for message in said)
    for message in said:
        attribute, type_, action = _ATTRIBUTE.search(message), _TYPE.search(message), _ACTION.search(message)
        if attribute and attribute["path"].rpartition(".")[2] in reported:
            continue
        if strangers and _NOWHERE in message:
            continue  # it follows from the name that does not exist
        hint = ""
        if type_:
            hint = did_you_mean(type_[1], declared.entities)
        elif action:
            hint = did_you_mean(action[1], declared.actions)
        yield f"{message}{hint}"


@dataclass(frozen=True, slots=True)
class _Looking:
    """What the variables of one policy can be."""

    declared: Declared
    variables: Mapping[str, _Types]

    def unknown(self, node: object) -> Iterator[Unknown]:
        """Every attribute below a node that does not exist."""
        match node:
            case pst.GetAttr(base, attr):
                yield from self._missing(base, (attr,))
            case pst.HasAttr(base, attrs):
                yield from self._missing(base, attrs)
        for child in children(node):
            yield from self.unknown(child)

    def _missing(self, base: pst.Expr, attrs: tuple[str, ...]) -> Iterator[Unknown]:
        types, path = self._types(base), _shown(base)
        for attr in attrs:
            if types is None:
                return
            below = self._attribute(types, attr)
            if not below:
                yield Unknown(attr, self._fault(types, path, attr))
                return
            types, path = below, f"{path}.{attr}"

    def _fault(self, types: _Types, path: str, attr: str) -> str:
        fields = self._fields(types)
        elsewhere = self._elsewhere(attr)
        meant = closest(attr, fields) if elsewhere is None else None
        fault = f"got the attribute `{attr}` in {path}, expected one that the schema declares"
        if meant is not None:
            return f"{fault}; did you mean `{meant if path == _SOMETHING else f'{path}.{meant}'}`?"
        if elsewhere is not None:
            return f"{fault}; did you mean `{elsewhere}`?"
        return f"{fault}: {listed(fields)}"

    def _elsewhere(self, attr: str) -> str | None:
        """A path that ends in this name, the shortest there is."""
        waiting: list[tuple[str, _Types]] = sorted(self.variables.items())
        for _ in range(MAX_PATH):
            deeper: list[tuple[str, _Types]] = []
            for path, types in waiting:
                for name, attribute in sorted(self._fields(types).items()):
                    if name == attr:
                        return f"{path}.{name}"
                    deeper.append((f"{path}.{name}", (attribute.type,)))
            waiting = deeper
        return None

    def _fields(self, types: _Types) -> dict[str, Attribute]:
        records = [record for type_ in types if (record := self.declared.record(type_)) is not None]
        return {name: attribute for record in records for name, attribute in record.fields.items()}

    def _attribute(self, types: _Types, attr: str) -> _Types:
        """What an attribute can be, empty where it does not exist."""
        records = [record for type_ in types if (record := self.declared.record(type_)) is not None]
        return tuple(record.fields[attr].type for record in records if attr in record.fields)

    def _types(self, node: pst.Expr) -> _Types | None:
        """What an expression can be; None where that cannot be told (2)."""
        match node:
            case pst.Var(name):
                return self.variables.get(name)
            case pst.EntityLit(uid):
                return (Named(str(uid.type)),)
            case pst.GetAttr(base, attr):
                types = self._types(base)
                # An attribute that does not exist is told where it stands; what would be below it is not known.
                return (self._attribute(types, attr) or None) if types is not None else None
            case pst.BinaryOp("get_tag", base, _):
                types = self._types(base)
                tags = [self.declared.tags(type_) for type_ in types or ()]
                return tuple(tag for tag in tags if tag is not None) or None
            case pst.IfThenElse(_, then, other):
                first, second = self._types(then), self._types(other)
                return None if first is None or second is None else first + second
            case pst.Record():
                return None
        return ()


def _variables(policy: PolicyTree, schema: Schema) -> dict[str, _Types]:
    """What principal, resource, action and context can be in the requests that a policy's scope admits.

    A variable is left out where that cannot be told: the scope names an action or a type that does not exist.
    """
    declared = schema.declared
    names = [name for name, groups in schema.actions.items() if concerns(policy, groups)]
    actions = [
        declared.actions[full]
        for type_ in schema.action_types
        for name in names
        if (full := f'{type_}::"{name}"') in declared.actions
    ]
    variables: dict[str, _Types] = {
        "principal": _scoped(policy.principal, {name for action in actions for name in action.principals}),
        "resource": _scoped(policy.resource, {name for action in actions for name in action.resources}),
        "context": tuple(action.context for action in actions),
        "action": (RecordOf({}),),
    }
    return {
        name: known
        for name, types in variables.items()
        if (known := tuple(type_ for type_ in types if declared.record(type_) is not None))
    }


def _scoped(scope: pst.PrincipalOrResourceConstraint, types: set[str]) -> _Types:
    match scope:
        case pst.ScopeIs(entity_type) | pst.ScopeIsIn(entity_type, _):
            types = {str(entity_type)}
        case pst.ScopeEq(pst.EntityUid(entity_type, _)):
            types = {str(entity_type)}
    return tuple(Named(name) for name in sorted(types))


def _shown(node: pst.Expr) -> str:
    """An expression as a path, as far as it is one."""
    match node:
        case pst.Var(name):
            return name
        case pst.GetAttr(base, attr):
            return f"{_shown(base)}.{attr}"
        case pst.EntityLit(uid):
            return str(uid)
    return _SOMETHING
