"""The generated Cedar schema: what every type becomes, and what has no counterpart."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, create_model

from jurat.policies import Entity, Facts, generate
from jurat.policies.cedar import parse_schema
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Model, Text, Timestamp
from tests.fixtures.policies.refund_models import REFUNDS, Order, Payment, Refund, RetryPayment, Tier


class Level(IntEnum):
    ONE = 1


class Loop(Model):
    below: Loop | None = None


class Nothing(Facts):
    pass


def declaration(facts: type[Facts] = Nothing, *, resource: type[Entity] = Payment, name: str = "act") -> type:
    return type("Declared", (), {"action_name": name, "resource": resource, "facts": facts})


def attribute(annotation: object) -> str:
    """The line of the schema that a field `x` of this type becomes."""
    facts = create_model("Made", __base__=Facts, x=(annotation, ...))
    text = generate("Jurat", [declaration(facts)])
    parse_schema(text)
    (line,) = (line.strip() for line in text.splitlines() if line.strip().startswith("x"))
    return line


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "x: Long,"),
        (MinorUnits, "x: Long,"),
        (Count | None, "x?: Long,"),
        (bool, "x: Bool,"),
        (str, "x: String,"),
        (Identifier, "x: String,"),
        (Text | None, "x?: String,"),
        (Annotated[str | None, Field(max_length=3)], "x?: String,"),
        (Tier, "x: String,"),
        (Literal["a", "b"], "x: String,"),
        (datetime, "x: datetime,"),
        (Timestamp, "x: datetime,"),
        (Timestamp | None, "x?: datetime,"),
        (timedelta, "x: duration,"),
        (frozenset[str], "x: Set<String>,"),
        (tuple[Identifier, ...], "x: Set<String>,"),
        (frozenset[Tier], "x: Set<String>,"),
        (Order, "x: { id: String, total_minor: Long, refunded_minor: Long, placed_at: datetime,"),
    ],
)
def test_a_type_becomes_its_cedar_counterpart(annotation: object, expected: str) -> None:
    assert attribute(annotation).startswith(expected)


@pytest.mark.parametrize(
    "annotation",
    [
        float,
        bytes,
        object,
        dict[str, str],
        list[str],
        set[str],
        frozenset[int],
        tuple[str, str],
        tuple[Tier, int],
        tuple[Order, ...],
        int | str,
        Level,
        Literal[1],
        Loop,
    ],
)
def test_a_type_without_a_counterpart_is_refused(annotation: object) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        attribute(annotation)


@pytest.mark.parametrize("name", ["now", "approvals", "if", "has", "größe"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    facts = create_model("Made", __base__=Facts, **{name: (int | None, None)})
    with pytest.raises(ConfigurationError, match=name):
        generate("Jurat", [declaration(facts)])


def test_what_contradicts_itself_is_refused() -> None:
    other = create_model("Other", __base__=Entity)
    other.entity_type = "Payment"
    with pytest.raises(ConfigurationError, match="entity type Payment"):
        generate("Jurat", [declaration(), declaration(resource=other, name="b")])
    with pytest.raises(ConfigurationError, match="two resources or facts"):
        generate("Jurat", [declaration(), declaration(resource=Order)])


def test_own_entities_and_bad_names_are_refused() -> None:
    class Role(Entity):
        entity_type: ClassVar[str] = "Role"

    with pytest.raises(ConfigurationError, match="jurat's own"):
        generate("Jurat", [declaration(resource=Role)])
    with pytest.raises(ConfigurationError, match="action name"):
        generate("Jurat", [declaration(name='a" b')])
    with pytest.raises(ConfigurationError, match="namespace"):
        generate("a b", [declaration()])
    with pytest.raises(ConfigurationError, match="at least one"):
        generate("Jurat", [])


def test_the_same_declarations_print_the_same_text() -> None:
    text = generate("Jurat", [Refund, RetryPayment])
    assert text == generate("Jurat", [RetryPayment, Refund, Refund])
    assert text == (REFUNDS / "schema.cedarschema").read_text(encoding="utf-8")
