"""Reading canonical JSON of a known form in one go: the fast way for what is read by the million. Pure.

Rules upheld here:

1. the models stay the one description: the reader is made from a model's fields and their bounds, and what it cannot
   express it refuses when it is made, never when it reads;
2. what is handed out, the model takes too, and it prints to the very bytes that were read: canonical JSON, every
   member that a model always prints there, none that it leaves out where it is empty;
3. what is not handed out may still be good (nesting deeper than `FREE_DEPTH`): a reader says None, and the caller asks
   the model, which also knows what is wrong.

What is read has a model's members and properties and is no instance of it: it is there to be looked at. Not here: the
models, canonical JSON itself (`canonical.py`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo

from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.model import Model

M = TypeVar("M", bound=Model)

FREE_DEPTH: Final = 8
"""Nesting of objects of free form that is read fast: twice what policy inputs have. Each level doubles the reader."""

_INTEGER: Final[dict[str, Any]] = {"ge": -MAX_INTEGER, "le": MAX_INTEGER}
"""Integers of canonical JSON."""

_ASCII: Final = Annotated[str, msgspec.Meta(pattern=r"\A[\x00-\x7f]*\Z")]
"""Keys of canonical JSON."""

_BOUNDS: Final = ("ge", "le", "min_length", "max_length", "pattern")
"""What pydantic and msgspec call alike."""

_PLAIN: Final = (str, bool, NoneType, bytes)


def reader(model: type[M], *, apart: Collection[Callable[..., Any]] = ()) -> Callable[[bytes], M | None]:
    """Make what reads a model from canonical JSON.

    Args:
        model: the model.
        apart: functions by which the model's fields are validated; whoever reads calls them.

    Returns:
        What reads bytes: values with the model's members, or None for whatever it does not vouch for.

    Raises:
        TypeError: the model has a check that a reader cannot make.
    """
    # In bytes that are all ASCII so is every key, and no key has to be looked at.
    of_ascii = msgspec.json.Decoder(_Forms(apart, str).of_model(model))
    of_others = msgspec.json.Decoder(_Forms(apart, _ASCII).of_model(model))
    encode = msgspec.json.Encoder(order="deterministic").encode

    def read(data: bytes) -> M | None:
        try:
            found = of_ascii.decode(data) if data.isascii() else of_others.decode(data)
            return cast("M", found) if encode(found) == data else None
        except ValueError:  # no JSON, no UTF-8, or not of this form
            return None

    return read


class _Forms:
    """Makes msgspec's types out of a model's.

    Args:
        apart: validators that are called elsewhere.
        key: the type of keys in objects of free form.
    """

    def __init__(self, apart: Collection[Callable[..., Any]], key: Any) -> None:
        self._apart = apart
        self._key = key
        self._made: dict[type[Model], Any] = {}

    def of_model(self, model: type[Model]) -> Any:
        """A frozen struct with the members and the properties of a model."""
        if model in self._made:
            return self._made[model]
        if _does_more(model) or not model.model_config.get("strict"):
            raise TypeError(
                f"got {model.__name__}, expected a strict model without validators, serializers or computed fields of"
                " its own"
            )
        # In the order of their names on the wire, in which structs print their members.
        ordered = sorted(model.model_fields.items(), key=lambda named: named[1].alias or named[0])
        members = [self._member(name, field) for name, field in ordered]
        made = msgspec.defstruct(
            model.__name__,
            members,
            namespace=_properties(model),
            frozen=True,
            kw_only=True,
            forbid_unknown_fields=True,
            omit_defaults=True,
            rename={name: field.alias for name, field in model.model_fields.items() if field.alias},
            gc=False,  # a tree of frozen values has no cycles to look for
        )
        return self._made.setdefault(model, made)

    def _member(self, name: str, field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
        checks = list(field.metadata)
        if field.exclude_if is None:
            return name, self._type(field.annotation, checks)
        # Left out where it is empty: so where it is there, it is not empty.
        given = [one for one in get_args(field.annotation) or [field.annotation] if one is not NoneType]
        is_optional = get_origin(field.annotation) in (Union, UnionType)
        if is_optional and len(given) > 1:
            raise TypeError(
                f"got the field {name} of several types that is left out where it is empty, expected one"
            )
        kind = given[0] if is_optional else field.annotation
        if not (isinstance(kind, type) and issubclass(kind, Model)):
            checks.insert(0, Field(min_length=1))
        return name, self._type(kind, checks), field.default

    def _type(self, kind: Any, checks: list[Any]) -> Any:
        if get_origin(kind) is Annotated:
            kind, *inner = get_args(kind)
            return self._type(kind, [*inner, *checks])
        meta = _meta(checks, self._apart)
        if kind is int:
            return Annotated[int, msgspec.Meta(**{**_INTEGER, **meta})]
        base = self._base(kind)
        return Annotated[base, msgspec.Meta(**meta)] if meta else base

    def _base(self, kind: Any) -> Any:
        if kind in _PLAIN or get_origin(kind) is Literal:
            return kind
        origin, inner = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return Union[tuple(self._type(one, []) for one in inner)]  # noqa: UP007 - made at run time
        if origin is tuple:
            return GenericAlias(tuple, tuple(one if one is ... else self._type(one, []) for one in inner))
        if origin is dict and inner == (str, Any):
            return GenericAlias(dict, (self._key, self._free(FREE_DEPTH - 1)))
        if isinstance(kind, type) and issubclass(kind, Model):
            return self.of_model(kind)
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
            return kind
        raise TypeError(f"got a field of the type {kind!r}, expected one of those that wire models have")

    def _free(self, depth: int) -> Any:
        """JSON of free form: no floats, integers as they are, keys that are ASCII."""
        plain: Any = None | bool | str | Annotated[int, msgspec.Meta(**_INTEGER)]
        if not depth:
            return plain
        inner = self._free(depth - 1)
        return plain | GenericAlias(list, (inner,)) | GenericAlias(dict, (self._key, inner))


def _properties(model: type[Model]) -> dict[str, Any]:
    """A model's own properties, and those of the models that it is made from."""
    ours = [one for one in reversed(model.__mro__) if issubclass(one, Model) and one is not Model]
    return {name: one for each in ours for name, one in vars(each).items() if isinstance(one, property)}


def _does_more(model: type[Model]) -> bool:
    """Whether a model reads or prints otherwise than its fields say."""
    said = model.__pydantic_decorators__
    own = (
        said.validators,
        said.field_validators,
        said.root_validators,
        said.model_validators,
        said.field_serializers,
        said.model_serializers,
        said.computed_fields,
    )
    return any(own) or model.model_post_init is not Model.model_post_init


def _meta(checks: list[Any], apart: Collection[Callable[..., Any]]) -> dict[str, Any]:
    """The bounds of a field, as msgspec has them."""
    found: dict[str, Any] = {}
    for check in checks:
        if isinstance(check, FieldInfo):
            found |= _meta(check.metadata, apart)
            continue
        if isinstance(check, AfterValidator) and check.func in apart:
            continue
        names = [one.name for one in fields(check)] if is_dataclass(check) else vars(check)
        said = {name: value for name in names if (value := getattr(check, name)) is not None}
        if not said or not said.keys() <= set(_BOUNDS):
            raise TypeError(f"got a field with the check {check!r}, expected bounds and a pattern")
        if "pattern" in said:
            said["pattern"] = _whole(said["pattern"])
        found |= said
    return found


def _whole(pattern: str) -> str:
    r"""A pattern for the whole text; in Python, `$` would take a line feed at the end."""
    if not re.fullmatch(r"\^.*[^\\]\$", pattern):
        raise TypeError(f"got the pattern {pattern!r}, expected one of a whole text: ^...$")
    return rf"\A{pattern[1:-1]}\Z"
