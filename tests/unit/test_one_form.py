"""Reading canonical JSON of a known form: what is vouched for, what is left to the model, what gets no reader."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    computed_field,
    field_serializer,
    model_validator,
)

from jurat.schemas import canonical
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.model import Model
from jurat.schemas.one_form import FREE_DEPTH, reader


class Colour(StrEnum):
    RED = "red"


class Part(Model):
    name: Annotated[str, Field(min_length=1, max_length=3)]
    hint: Annotated[str, Field(exclude_if=lambda value: not value)] = ""


class Whole(Model):
    kind: Annotated[Literal["whole"], Field(alias="_kind")]
    count: Annotated[int, Field(ge=1)]
    code: Annotated[str, Field(pattern=r"^[a-z]+$")] | None = None
    colour: Colour
    parts: Annotated[tuple[Part, ...], Field(max_length=2)]
    free: dict[str, Any]

    @property
    def is_red(self) -> bool:
        return self.colour is Colour.RED


READ = reader(Whole)
GOOD: dict[str, Any] = {
    "_kind": "whole",
    "code": "ab",
    "colour": "red",
    "count": 1,
    "free": {},
    "parts": [{"hint": "x", "name": "a"}, {"name": "ü"}],
}


def with_(**changed: Any) -> bytes:
    return canonical.dumps({**GOOD, **changed})


def test_what_is_read_has_the_members_and_the_properties_of_the_model() -> None:
    found = READ(with_())
    assert found is not None
    assert (found.kind, found.count, found.code, found.colour) == ("whole", 1, "ab", Colour.RED)
    assert [(part.name, part.hint) for part in found.parts] == [("a", "x"), ("ü", "")]
    assert found.is_red


@pytest.mark.parametrize(
    "data",
    [
        with_(count=0),
        with_(count="1"),
        with_(code="ab\n"),
        with_(code="a-b"),
        with_(colour="blue"),
        with_(parts=[{"name": "a"}] * 3),
        with_(parts=[{"name": ""}]),
        with_(parts=[{"name": "abcd"}]),
        with_(parts=[{"hint": "", "name": "a"}]),
        with_(other=1),
        with_(free=[]),
        canonical.dumps({name: one for name, one in GOOD.items() if name != "code"}),
        with_().replace(b'"count":1', b'"count":1.0'),
        with_().replace(b'"count":1', b'"count": 1'),
        with_().replace(b'"count":1', b'"count":2,"count":1'),
        with_().replace(b'"ab"', b'"\\u0061b"'),
        with_().replace(b'"ab"', b'"a\xff"'),
        with_().replace(b'"free":{}', b'"free":{"a":1.5}'),
        with_().replace(b'"free":{}', b'"free":{"b":1,"a":1}'),
        with_().replace(b'"free":{}', b'"free":{"a":%d}' % (MAX_INTEGER + 1)),
        with_().replace(b'"free":{}', '"free":{"ä":1}'.encode()),
        with_() + b"\n",
        b"",
        b"null",
    ],
)
def test_what_the_model_or_canonical_json_refuses_is_not_read(data: bytes) -> None:
    assert READ(data) is None


@pytest.mark.parametrize("text", ["ab", "漢", '\x00\x1f\x7f"\\/\b\u2028', "".join(map(chr, range(0xD800)))])
def test_texts_are_printed_as_canonical_json_prints_them(text: str) -> None:
    found = READ(with_(free={"a": text}))
    assert found is not None
    assert found.free == {"a": text}


@pytest.mark.parametrize("character", ["x", "ü", "漢", "\U0001f600"])
def test_lengths_count_characters(character: str) -> None:
    assert READ(with_(parts=[{"name": character * 3}])) is not None
    assert READ(with_(parts=[{"name": character * 4}])) is None


def test_free_form_is_read_to_its_depth() -> None:
    nested: Any = {"a": [MAX_INTEGER, -MAX_INTEGER, None, True, "ü"]}
    for _ in range(FREE_DEPTH - 2):
        nested = {"x": nested}
    assert READ(with_(free=nested)) is not None
    assert READ(with_(free={"x": nested})) is None, "deeper: the model reads it"


class Checked(Model):
    text: Annotated[str, AfterValidator(str.strip)]


class Together(Model):
    text: str

    @model_validator(mode="after")
    def check(self) -> Together:
        return self


class Searched(Model):
    text: Annotated[str, Field(pattern="a")]


class Rounded(Model):
    number: float


class Lowered(Model):
    text: Annotated[str, StringConstraints(pattern="^a$", to_lower=True)]


class Between(Model):
    number: Annotated[int, Field(gt=1, le=3)]


class Written(Model):
    text: str

    @field_serializer("text")
    def write(self, text: str) -> str:
        return text.upper()


class Computed(Model):
    text: str

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's guide says
    @property
    def twice(self) -> str:
        return self.text * 2


class Started(Model):
    text: str

    def model_post_init(self, _context: Any, /) -> None:
        raise ValueError("never")


class Either(Model):
    value: Annotated[str | int | None, Field(exclude_if=lambda value: not value)] = None


class Derived(Whole):
    other: str


@pytest.mark.parametrize(
    "model",
    [Checked, Together, Searched, Rounded, Lowered, Between, Written, Computed, Started, Either],
)
def test_no_reader_is_made_for_what_it_could_not_check(model: type[Model]) -> None:
    with pytest.raises(TypeError, match="expected"):
        reader(model)


def test_properties_come_from_all_models_that_it_is_made_from() -> None:
    found = reader(Derived)(with_(other="x"))
    assert found is not None
    assert found.is_red


def test_a_check_that_is_called_apart_is_said() -> None:
    strip: Callable[..., Any] = str.strip
    read = reader(Checked, apart=(strip,))
    assert read(b'{"text":" a"}') is not None
