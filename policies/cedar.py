"""The only module that calls cedarpy.

Rules upheld here:
1. the schema is given to the entities *and* to every request: without it Cedar skips a `forbid` that errs,
   and allows;
2. an answer is an allow only when Cedar said `Allow` and reported no error at all; whatever else comes back,
   an exception or a panic of the binding included, is an `Evaluation` with errors and without an allow;
3. policies carry their own `@id` as Cedar's policy id, so that reasons name them;
4. a text that would overflow the parser's stack is not given to it: the process would end without a word;
5. `PartialAuthzResult` is not used: without a schema its verdict proves nothing.

Not here: what a bundle is (`bundle.py`), the house rules for policies (`lint.py`), escalation (`engine.py`).
Source: cedarpy 4.12; https://docs.cedarpolicy.com/
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypedDict

import cedarpy
import orjson
from cedarpy import pst

from jurat.policies.declared import Declared
from jurat.policies.declared import parse as parse_declared
from jurat.policies.nesting import too_deep

__all__ = [
    "VERSION",
    "Case",
    "CedarError",
    "Compiled",
    "Evaluation",
    "PlainAnswer",
    "PlainCedar",
    "PolicyTree",
    "Schema",
    "Uid",
    "Uids",
    "concerns",
    "parse_policies",
    "parse_schema",
    "printed",
    "pst",
    "validate",
]

VERSION = f"cedarpy {importlib.metadata.version('cedarpy')}"
"""What evaluates, as it goes into records."""

PolicyTree: TypeAlias = pst.Template
"""A parsed policy; the nodes below it are those of `pst`."""

MAX_ERRORS = 16
"""Errors kept of one evaluation: more repeat themselves, and they travel in every record."""

MAX_ERROR_LENGTH = 500
"""Characters kept of one error: Cedar quotes the input, and input may be hostile."""


_ALLOW, _NO_DECISION = cedarpy.Decision.Allow, cedarpy.Decision.NoDecision


class Uid(TypedDict):
    """An entity's identity in Cedar's JSON form."""

    type: str
    id: str


class Uids(TypedDict):
    """Who would do what to what."""

    principal: Uid
    action: Uid
    resource: Uid


class CedarError(ValueError):
    """Cedar refused a text; the message is its own."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed schema.

    Attributes:
        actions: for every action, the names of all actions and groups that it is in, itself included.
        action_types: the type names of actions, one for each namespace that declares any, sorted.
        declared: everything that it declares.
    """

    handle: cedarpy.Schema
    actions: Mapping[str, frozenset[str]]
    action_types: tuple[str, ...]
    declared: Declared


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What Cedar answered; `allowed` is never true beside errors.

    Attributes:
        decided: whether the policies were evaluated; false where the request or its entities were refused before.
    """

    allowed: bool
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    decided: bool = False


def parse_schema(text: str) -> Schema:
    """Parse a schema in Cedar's own syntax.

    Raises:
        CedarError: it does not parse, nests too deeply, or names a type that it does not declare.
    """
    _refuse_too_deep(text)  # 4
    try:
        handle = cedarpy.Schema.from_str(text)
        known = orjson.loads(str(cedarpy.Entities.from_json_str("[]", schema=handle)))
        declared = parse_declared(str(handle))
    except ValueError as error:
        raise CedarError(str(error)) from error
    parents = {entity["uid"]["id"]: {parent["id"] for parent in entity["parents"]} for entity in known}
    return Schema(
        handle=handle,
        actions={name: frozenset(_ancestors(name, parents)) for name in sorted(parents)},
        action_types=tuple(sorted({entity["uid"]["type"] for entity in known})),
        declared=declared,
    )


def parse_policies(text: str) -> tuple[PolicyTree, ...]:
    """Parse policy text into its policies and templates, in the order of the text.

    Raises:
        CedarError: it does not parse, or nests deeper than Cedar's tree allows (100 levels).
    """
    _refuse_too_deep(text)  # 4
    try:
        parsed = cedarpy.policies_to_pst(text)
    except ValueError as error:
        raise CedarError(str(error)) from error
    found = [*parsed.static_policies.values(), *parsed.templates.values()]
    return tuple(sorted(found, key=lambda policy: int(policy.id.removeprefix("policy"))))


def _refuse_too_deep(text: str) -> None:
    fault = too_deep(text)
    if fault is not None:
        raise CedarError(fault)


def validate(text: str, schema: Schema) -> tuple[str, ...]:
    """Type-check policy text (which must parse) against the schema.

    Returns:
        What Cedar's validator objects to; empty for valid text.
    """
    result = cedarpy.validate_policies(text, schema.handle)
    errors = tuple(error.error for error in result.errors)
    if not result.validation_passed and not errors:
        return ("the validator refused it without saying why",)
    return errors


class Compiled:
    """Policies, schema and shared entities, parsed once and ready to be asked.

    One policy set for each action, so that an action costs what its own policies cost. Leaving out a policy
    whose scope names other actions cannot change an answer: Cedar tests the scope before the conditions.
    """

    def __init__(
        self, policies: Mapping[str, PolicyTree], *, schema: Schema, entities: list[dict[str, object]]
    ) -> None:
        """Compile.

        Args:
            policies: parsed policies by the id that reasons shall name.
            schema: the schema that everything is checked against.
            entities: the entities that every request shares (agents and roles), as Cedar's entity JSON.

        Raises:
            CedarError: Cedar refuses the policies, or the schema refuses the entities.
        """
        self._trees = {
            action: {id_: p for id_, p in policies.items() if concerns(p, groups)}
            for action, groups in schema.actions.items()
        }
        try:
            self._sets = {action: _policy_set(trees) for action, trees in self._trees.items()}
            self._base = cedarpy.Entities.from_json_str(orjson.dumps(entities).decode(), schema=schema.handle)
        except ValueError as error:
            raise CedarError(str(error)) from error
        self._schema = schema.handle

    def policies_of(self, action: str) -> Mapping[str, PolicyTree]:
        """The parsed policies whose scope can match an action, by id; none for an action that is not declared."""
        return self._trees.get(action, {})

    def open(self, request: Uids, entities: str) -> Case | Evaluation:
        """Load one request's own entities.

        Args:
            request: principal, action and resource.
            entities: the request's entities as Cedar's entity JSON.

        Returns:
            The case to evaluate, or the failed evaluation where the schema or Cedar refuses the entities.
        """
        policies = self._sets.get(request["action"]["id"])
        if policies is None:
            return Evaluation(allowed=False, reasons=(), errors=("the schema declares no such action",))
        try:
            known = self._base.with_added_json_str(entities, schema=self._schema)
        except BaseException as error:  # noqa: BLE001  # rule 2; _failure raises what is not the binding's
            return _failure(error)
        return Case(request, policies, known, self._schema)


@dataclass(frozen=True, slots=True)
class Case:
    """One request with its entities, to be evaluated under one or more contexts."""

    request: Uids
    policies: cedarpy.PolicySet
    entities: cedarpy.Entities
    schema: cedarpy.Schema

    def evaluate(self, context: str) -> Evaluation:
        """Evaluate under a context, given as JSON."""
        try:
            result = cedarpy.is_authorized(
                {**self.request, "context": context}, self.policies, self.entities, self.schema
            )
            diagnostics, decision = result.diagnostics, result.decision
            errors = _bounded(diagnostics.errors)
            if decision is _NO_DECISION and not errors:
                errors = ("Cedar came to no decision",)
            return Evaluation(
                allowed=decision is _ALLOW and not errors,
                reasons=tuple(sorted(diagnostics.reasons)),
                errors=errors,
                decided=decision is not _NO_DECISION,
            )
        except BaseException as error:  # noqa: BLE001  # rule 2; _failure raises what is not the binding's
            return _failure(error)


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What Cedar itself says.

    Attributes:
        decision: `allow` or `deny`; None where it refused the request or its entities.
        reasons: the policies that determined it, sorted.
        errors: what went wrong, in Cedar's words; a decision may stand beside it.
        ids: the `@id` of every one of the reasons that has one.
    """

    decision: str | None
    reasons: tuple[str, ...]
    errors: tuple[str, ...]
    ids: Mapping[str, str]


class PlainCedar:
    """Policies that are not ours, asked the way Cedar's own tools ask them: the rules of this module do not hold."""

    def __init__(self, policies: str, *, schema: str | None, entities: str) -> None:
        """Parse.

        Args:
            policies: policy text, or policies as JSON; templates among them grant and forbid nothing.
            schema: in Cedar's syntax or as JSON; None to check nothing.
            entities: the entities that every request shares, as Cedar's entity JSON.

        Raises:
            CedarError: Cedar refuses one of them.
        """
        try:
            self._policies = _plain_policies(policies)
            self._schema = None if schema is None else _plain_schema(schema)
            self._base = cedarpy.Entities.from_json_str(entities, schema=self._schema)
        except ValueError as error:
            raise CedarError(str(error)) from error

    def answer(self, request: Uids, *, context: str, entities: str, validated: bool) -> PlainAnswer:
        """Evaluate one request.

        Args:
            request: principal, action and resource.
            context: as JSON.
            entities: the request's own entities as Cedar's entity JSON.
            validated: whether the request is checked against the schema.
        """
        try:
            known = self._base
            if entities != "[]":  # adding none copies them all
                known = known.with_added_json_str(entities, schema=self._schema)
            schema = self._schema if validated else None
            result = cedarpy.is_authorized({**request, "context": context}, self._policies, known, schema)
            diagnostics, decision = result.diagnostics, result.decision
        except BaseException as error:  # noqa: BLE001  # rule 2; _failure raises what is not the binding's
            return PlainAnswer(None, (), _failure(error).errors, {})
        return PlainAnswer(
            decision=None if decision is _NO_DECISION else decision.value.lower(),
            reasons=tuple(sorted(diagnostics.reasons)),
            errors=tuple(sorted(diagnostics.errors)),
            ids=diagnostics.id_annotations_by_reason,
        )


def _plain_policies(text: str) -> cedarpy.PolicySet:
    if text.lstrip().startswith("{"):
        return cedarpy.PolicySet.from_json_str(text)  # its parser has a bound of its own
    _refuse_too_deep(text)  # 4
    return cedarpy.PolicySet.from_str(text)


def _plain_schema(text: str) -> cedarpy.Schema:
    if text.lstrip().startswith("{"):
        return cedarpy.Schema.from_json_str(text)
    _refuse_too_deep(text)  # 4
    return cedarpy.Schema.from_str(text)


def concerns(policy: PolicyTree, groups: frozenset[str]) -> bool:
    """Tell whether a policy's scope can match an action that is in these groups (its own name among them)."""
    match policy.action:
        case pst.ScopeAny():
            return True
        case pst.ActionEq(entity):
            return entity.id in groups
        case pst.ActionIn(entities):
            return any(entity.id in groups for entity in entities)


def printed(expression: pst.Expr) -> str:
    """An expression as Cedar writes it."""
    anything = pst.ScopeAny()
    policy = pst.Template(
        "x", "permit", anything, anything, anything, (pst.When(expression),), pst.FrozenMap({})
    )
    text = str(_policy_set({"x": policy}))
    return text[text.index("{") + 1 : text.rindex("}")].strip()


def _policy_set(policies: Mapping[str, PolicyTree]) -> cedarpy.PolicySet:
    named = {id_: dataclasses.replace(policy, id=id_) for id_, policy in policies.items()}
    return cedarpy.PolicySet.from_pst(
        pst.PolicySet(templates=pst.FrozenMap({}), static_policies=pst.FrozenMap(named), template_links=())
    )


def _failure(error: BaseException) -> Evaluation:
    # A panic of the binding derives from BaseException, and its class cannot be imported.
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return Evaluation(allowed=False, reasons=(), errors=_bounded([str(error) or type(error).__name__]))


def _bounded(errors: list[str]) -> tuple[str, ...]:
    if not errors:
        return ()
    return tuple(sorted(error[:MAX_ERROR_LENGTH] for error in errors)[:MAX_ERRORS])


def _ancestors(name: str, parents: Mapping[str, set[str]]) -> set[str]:
    found = {name}
    waiting = [name]
    while waiting:
        new = parents.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found
