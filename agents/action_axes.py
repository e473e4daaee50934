"""The parameters of an action as axes to explore, read off its model.

Rules upheld here: a parameter keeps the bounds of its own model; a type that has no order and no list of values is
open, never guessed at; moments and durations are milliseconds, as policies see them. Reading a model is done once for
each action. Not here: asking about actions (`action_space.py`), the JSON schema (`action_schema.py`).
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Final, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from jurat.agents.agent import Action
from jurat.policies.space import ORDERED, Axis, Kind
from jurat.policies.space_terms import EPOCH, MILLISECOND
from jurat.schemas.canonical import MAX_INTEGER

KEPT_MODELS: Final = 256
"""Actions whose axes are kept: far more than an agent has."""

OTHER_TEXTS: Final = (
    "something-else",
    "SOMETHING_ELSE",
    "ZZZ",
    "zzz",
    "ZZ",
    "zz",
    "999",
    "+999999999",
    "z@z.zz",
)
"""Texts that stand for anything else; the first that a model takes is used, unless a policy names it."""

FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
EDGES: Final = {
    Kind.INTEGER: (-MAX_INTEGER, MAX_INTEGER),
    Kind.MOMENT: (FIRST_MS, LAST_MS),
    Kind.DURATION: (timedelta.min // MILLISECOND, timedelta.max // MILLISECOND),
}
"""Where the values of a type end, whatever its model says: integers as policies take them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an action.

    Attributes:
        axis: what there is to explore.
        info: its field.
        members: the members of an enumeration by their values.
    """

    axis: Axis
    info: FieldInfo
    members: Mapping[object, object]

    @property
    def name(self) -> str:
        """Its name."""
        return self.axis.name

    def on_axis(self, value: object) -> object:
        """A value of the model as it stands on the axis."""
        match value:
            case Enum():
                return value.value
            case datetime() if self.axis.kind is Kind.MOMENT and value.tzinfo is not None:
                return (value - EPOCH) // MILLISECOND
            case timedelta() if self.axis.kind is Kind.DURATION:
                return value // MILLISECOND
        return value

    def in_model(self, value: object) -> object:
        """A value of the axis as the model takes it."""
        if isinstance(value, int) and self.axis.kind is Kind.MOMENT:
            return EPOCH + value * MILLISECOND
        if isinstance(value, int) and self.axis.kind is Kind.DURATION:
            return value * MILLISECOND
        return self.members.get(value, value) if self.axis.kind is Kind.CHOICE else value

    def example(self, now: datetime) -> object:
        """A value for an example that nobody has given; the model may refuse it."""
        axis, info = self.axis, self.info
        if not info.is_required():
            return info.get_default(call_default_factory=True)
        if axis.kind is Kind.CHOICE:
            return self.in_model(axis.values[0])
        if axis.kind is Kind.MOMENT:
            return now
        if axis.kind in ORDERED:
            return self.in_model(min(max(0, axis.low), axis.high))
        if None in axis.values:
            return None
        return axis.others[0] if axis.kind is Kind.TEXT and axis.others else ()


@lru_cache(KEPT_MODELS)
def parameters_of(action: type[Action]) -> tuple[Parameter, ...]:
    """The parameters of an action, in their order."""
    return tuple([_parameter(name, info) for name, info in action.model_fields.items()])


def _parameter(name: str, info: FieldInfo) -> Parameter:
    bare, limits, optional = _unwrapped(info.annotation, tuple(info.metadata))
    absent: tuple[object, ...] = (None,) if optional else ()
    members = _members(bare)
    if members:
        axis = Axis(name, Kind.CHOICE, values=(*members, *absent))
        return Parameter(axis, info, members)
    kind = _KINDS.get(bare, Kind.OPEN)
    if kind in ORDERED:
        low, high = _bounds(kind, limits)
        return Parameter(Axis(name, kind, low=low, high=high, values=absent), info, members)
    others = _taken(info, OTHER_TEXTS) if kind is Kind.TEXT else ()
    return Parameter(Axis(name, kind, values=absent, others=others), info, members)


_KINDS: Final[Mapping[object, Kind]] = MappingProxyType(
    {
        int: Kind.INTEGER,
        str: Kind.TEXT,
        datetime: Kind.MOMENT,
        AwareDatetime: Kind.MOMENT,
        timedelta: Kind.DURATION,
    }
)


def _unwrapped(annotation: object, limits: tuple[object, ...]) -> tuple[object, tuple[object, ...], bool]:
    """The plain type, what bounds it, and whether it may be None."""
    optional = False
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation, limits = arguments[0], (*limits, *arguments[1:])
            continue
        members = [argument for argument in arguments if argument is not type(None)]
        if origin not in (Union, types.UnionType) or len(members) != 1:
            return annotation, limits, optional
        optional, annotation = True, members[0]


def _members(bare: object) -> Mapping[object, object]:
    """All values of a type that lists them, and what its model takes for each."""
    if bare is bool:
        return {False: False, True: True}
    if isinstance(bare, type) and issubclass(bare, Enum):
        return {member.value: member for member in bare}
    if get_origin(bare) is Literal:
        return {value: value for value in get_args(bare)}
    return {}


def _bounds(kind: Kind, limits: Iterable[object]) -> tuple[int, int]:
    """The smallest and the greatest value, both allowed."""
    low, high = EDGES[kind]
    for limit in limits:
        for part in (limit, *(limit.metadata if isinstance(limit, FieldInfo) else ())):
            for name, step in (("ge", 0), ("gt", 1)):
                if (bound := _whole(getattr(part, name, None))) is not None:
                    low = max(low, bound + step)
            for name, step in (("le", 0), ("lt", -1)):
                if (bound := _whole(getattr(part, name, None))) is not None:
                    high = min(high, bound + step)
    return low, high


def _whole(bound: object) -> int | None:
    match bound:
        case int():
            return bound
        case timedelta():
            return bound // MILLISECOND
        case datetime() if bound.tzinfo is not None:
            return (bound - EPOCH) // MILLISECOND
    return None


def _taken(info: FieldInfo, texts: Iterable[str]) -> tuple[str, ...]:
    """Those texts that the field itself takes."""
    adapter: TypeAdapter[object] = TypeAdapter(
        Annotated[info.annotation, Field(), *info.metadata]  # type: ignore[arg-type]  # a form, put together here
    )
    taken = []
    for text in texts:
        try:
            adapter.validate_python(text, strict=True)
        except ValidationError:
            continue
        taken.append(text)
    return tuple(taken)
