"""What a credential allows: actions, topics, policies, limits; and that whoever passes it on may only narrow it.

Rules upheld here: lists are sorted and hold nothing twice, so that a scope has one spelling; what is not listed is not
allowed, but for policies, where an empty list means any; a scope is within another one only if it allows nothing more.
Pure; whether a record is inside a scope says `standing.py`.

Specified in `docs/spec/identity.md`.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field

from jurat.audit.reasoning import Sha256Hex
from jurat.audit.usage import Path
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.errors import StatementInvalid
from jurat.schemas.model import Model

MAX_ACTIONS: Final = 64
MAX_TOPICS: Final = 16
MAX_POLICIES: Final = 64
MAX_LIMITS: Final = 16
"""Bounds of a scope's lists: several times what an agent has, and a statement stays a few KB."""

T = TypeVar("T")


def _sorted(items: tuple[T, ...]) -> tuple[T, ...]:
    keys = [item.of if isinstance(item, Limit) else str(item) for item in items]
    if keys != sorted(set(keys)):
        raise ValueError("not sorted, or something stands twice")
    return items


Action = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class Limit(Model):
    """The most that an integer of the normalised policy input may be where an action is allowed.

    Attributes:
        of: its path, for example `context.amount_minor`; an action without it is not limited by it.
        most: the largest value.
    """

    most: Annotated[int, Field(ge=0, le=MAX_INTEGER)]
    of: Path


class Scope(Model):
    """What may be signed under a credential.

    Attributes:
        actions: what may be decided or escalated.
        inputs: full names of the topics whose records may be ended; timers of the agent stand among them.
        limits: what an allowed action may amount to.
        outputs: full names of the topics on which decisions appear.
        policies: digests of the bundles that may judge; none means any.
    """

    actions: Annotated[
        tuple[Action, ...], Field(min_length=1, max_length=MAX_ACTIONS), AfterValidator(_sorted)
    ]
    inputs: Annotated[
        tuple[TopicName, ...], Field(min_length=1, max_length=MAX_TOPICS), AfterValidator(_sorted)
    ]
    limits: Annotated[tuple[Limit, ...], Field(max_length=MAX_LIMITS), AfterValidator(_sorted)]
    outputs: Annotated[
        tuple[TopicName, ...], Field(min_length=1, max_length=MAX_TOPICS), AfterValidator(_sorted)
    ]
    policies: Annotated[tuple[Sha256Hex, ...], Field(max_length=MAX_POLICIES), AfterValidator(_sorted)]


def check_within(scope: Scope, parent: Scope) -> None:
    """Check that a scope allows nothing that its parent does not.

    Raises:
        StatementInvalid: it does; the message says what.
    """
    for name in ("actions", "inputs", "outputs"):
        more = sorted(set(getattr(scope, name)) - set(getattr(parent, name)))
        if more:
            raise _wider(f"the {name} {', '.join(more)}")
    if parent.policies and not (scope.policies and set(scope.policies) <= set(parent.policies)):
        raise _wider("other policies")
    limits = {limit.of: limit.most for limit in scope.limits}
    for limit in parent.limits:
        most = limits.get(limit.of)
        if most is None or most > limit.most:
            raise _wider(f"{'any' if most is None else most} at {limit.of} where {limit.most} is the most")


def _wider(what: str) -> StatementInvalid:
    return StatementInvalid(
        f"got a credential that allows {what}, which the one that it was issued under does not; expected one that only"
        " narrows"
    )
