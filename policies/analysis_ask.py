"""A question about what a bundle allows, answered by a proof or by a confirmed example.

Rules upheld here: the condition of a question is Cedar and nothing else, parsed and type-checked as a policy's `when`;
an answer is `Proved` (never allowed), an `Example` that the engine allows and in which the engine finds the condition
true, or says why it is unknown. The grammar::

    question = action [ "where" condition ] [ "without approval" ]

`without approval` asks what an agent can do alone; else requests with any approvals are looked for too.
Not here: printing (`jurat policy ask`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jurat.policies import cedar
from jurat.policies.analysis import (
    Example,
    Fault,
    Outcome,
    Proved,
    Scene,
    Subject,
    Unknown,
    holding,
    unaskable,
)
from jurat.policies.analysis_witness import as_case, preferences
from jurat.policies.bundle import Bundle
from jurat.policies.cedar import CedarError, PolicyTree, pst
from jurat.policies.smt import Term
from jurat.policies.smt_expression import Encoder
from jurat.schemas.errors import ConfigurationError

_QUESTION: Final = re.compile(
    r"\s*(?P<action>\S+)(?:\s+where\s+(?P<condition>.+?))?(?P<alone>\s+without\s+approval)?\s*", re.DOTALL
)
EXAMPLE: Final = "refund where context.amount_minor > 50000 without approval"
CONDITION: Final = "the question"
"""Under this name the condition is compiled; no `@id` may hold a blank."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was understood.

    Attributes:
        condition: a permit of the action, with the condition as its `when`; None where there is none.
        alone: whether no approval at all is given.
    """

    action: str
    condition: PolicyTree | None
    alone: bool


def parse(bundle: Bundle, text: str) -> Question:
    """Read a question about a bundle.

    Raises:
        ConfigurationError: it is not of the grammar, names an action that the bundle has not, or its condition is not
            Cedar that the schema accepts.
    """
    match = _QUESTION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"got the question {text!r}, expected one such as: {EXAMPLE}")
    action, condition = match["action"], match["condition"]
    if action not in bundle.actions:
        known = ", ".join(bundle.actions)
        raise ConfigurationError(
            f"got the action {action!r}, expected one of {known}; a question reads: {EXAMPLE}"
        )
    tree = None if condition is None else _condition(bundle, action, condition)
    return Question(action, tree, alone=match["alone"] is not None)


def answer(bundle: Bundle, question: Question) -> Outcome:
    """Look for a request that is allowed and of which the condition holds.

    Returns:
        `Proved` where there is none.
    """
    subject = Subject(bundle)
    unknown: list[str] = []
    for resource in subject.resources(question.action):
        if unaskable(subject, question.action, resource) is not None:
            continue  # every request errs, and an error denies
        outcome = _in_scene(Scene(question.action, resource, [subject]), subject, question)
        match outcome:
            case Example() | Fault():
                return outcome
            case Unknown(because):
                unknown += because
    return Unknown(tuple(dict.fromkeys(unknown))) if unknown else Proved()


def _in_scene(scene: Scene, subject: Subject, question: Question) -> Outcome:
    (side,) = scene.sides
    claims: list[Term] = [side.allows]
    open_: tuple[str, ...] = scene.open
    if question.alone:
        claims.append(scene.request.nobody_approved)
    if question.condition is not None:
        encoder = Encoder(side.names, scene.request)
        claims.append(encoder.policy(CONDITION, question.condition).holds)
        open_ += tuple(f"{CONDITION}: `{gap.test}`: {gap.why}" for gap in encoder.gaps)
    outcome = scene.find(claims, prefer=preferences(scene.request))
    if not isinstance(outcome, Example):
        return outcome
    (request,) = outcome.requests
    if question.condition is not None:
        compiled = subject.compile({CONDITION: question.condition})
        if CONDITION not in holding(compiled, request):
            return Unknown(open_) if open_ else Fault(f"the engine finds the condition untrue of {request}")
    if question.alone and as_case(request)["approvals"]:
        return Fault(f"the encoding gave approvals where none were asked for: {request}")
    return outcome


def _condition(bundle: Bundle, action: str, condition: str) -> PolicyTree:
    namespace = bundle.namespace
    text = (
        f'permit (principal, action == {namespace}::Action::"{action}", resource) when {{\n{condition}\n}};'
    )
    try:
        trees = cedar.parse_policies(text)
    except CedarError as error:
        raise ConfigurationError(
            f"got the condition `{condition}`, which Cedar does not read: {error}"
        ) from error
    # A condition that closes the brace could go on with policies and clauses of its own.
    if len(trees) != 1 or len(trees[0].clauses) != 1 or not isinstance(trees[0].clauses[0], pst.When):
        raise ConfigurationError(f"got `{condition}`, expected one condition as it stands in a `when`")
    faults = cedar.validate(text, cedar.parse_schema(bundle.schema_text))
    if faults:
        told = "; ".join(fault.replace("for policy `policy0`, ", "") for fault in faults)
        raise ConfigurationError(f"got the condition `{condition}`, which the schema does not fit: {told}")
    return trees[0]
