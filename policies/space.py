"""The action space: what each parameter of an action may be, before anybody reasons about it.

Rules upheld here: every value of a parameter is in at most one span; only a firm refusal is left out of what is
offered; where no verdict is known, none is given. How a space is found, and when a refusal is firm, stands in
`space_probing.py`. Not here: which actions there are and how their facts are found (`jurat.agents.action_space`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from jurat.schemas.decision import Verdict

Value: TypeAlias = bool | int | str | None
"""A parameter's value; moments and durations in milliseconds, enumerations by their text."""


class Kind(StrEnum):
    """How a parameter is explored.

    Attributes:
        INTEGER: whole numbers, by ranges.
        MOMENT: milliseconds since 1970 in UTC, by ranges.
        DURATION: milliseconds, by ranges.
        CHOICE: one of a few values, all of which are asked.
        TEXT: the names that matter, and anything else.
        OPEN: lists and records: not explored, only what they move is looked at.
    """

    INTEGER = "integer"
    MOMENT = "moment"
    DURATION = "duration"
    CHOICE = "choice"
    TEXT = "text"
    OPEN = "open"


ORDERED: Final = frozenset({Kind.INTEGER, Kind.MOMENT, Kind.DURATION})


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter to be explored.

    Attributes:
        name: its name; the fact of that name is what policies see of it.
        kind: how it is explored.
        low: the smallest value of an ordered one.
        high: the greatest.
        values: a choice: all values. Otherwise values worth asking about, None among them where it may be absent.
        others: texts of which one stands for anything else.
        is_guessed: whether the base is no real action but made up of such texts; what a name moves does not show then,
            and it counts as moving everything.
    """

    name: str
    kind: Kind
    low: int = 0
    high: int = 0
    values: tuple[object, ...] = ()
    others: tuple[str, ...] = ()
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """All values from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Only:
    """One value."""

    value: Value


@dataclass(frozen=True, slots=True)
class AnythingElse:
    """Every value that no other span names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What the policies say of some values of a parameter, the other parameters as in the base.

    Attributes:
        of: the values.
        verdict: the verdict; None where only the check afterwards can tell.
        policies: ids of the determining policies, sorted.
        reasons: their titles in the same order; without a policy, one sentence that says why.
        approvers: roles that may lift an escalation.
        errors: what went wrong in the engine or the agent, at one of the values.
        firm: a refusal that holds whatever the other parameters are; the only spans that are not offered.
    """

    of: Range | Only | AnythingElse
    verdict: Verdict | None
    policies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    errors: tuple[str, ...] = field(default=(), compare=False)
    firm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpace:
    """What one parameter may be.

    Attributes:
        name: the parameter.
        kind: how it was explored.
        spans: all of its values, in order, each in one span; of an open one a single span.
        moves: the facts that it moves besides the one of its own name, as `context.<name>` or `resource.<name>`.
        opaque: ids of policies whose use of it is not understood; only the check afterwards tells what they say.
        probes: how often the engine was asked.
    """

    name: str
    kind: Kind
    spans: tuple[Span, ...]
    moves: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    probes: int = 0

    @property
    def offered(self) -> tuple[Span, ...]:
        """The spans that are not refused for good."""
        return tuple([span for span in self.spans if not span.firm])

    def span_of(self, value: Value) -> Span | None:
        """The span that holds a value; None for a value outside of the parameter's own bounds."""
        rest = None
        for span in self.spans:
            match span.of:
                case Only(one) if type(one) is type(value) and one == value:
                    return span
                case Range(low, high) if (
                    isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
                ):
                    return span
                case AnythingElse():
                    rest = span
        return rest
