"""The base of every wire model: frozen, strict, closed.

Rules upheld here: a model is immutable; no value is coerced (a string is never read as a number); an unknown field is
an error; every model has one Avro name (`jurat.<namespace>.<Class>`), which is also its CloudEvents type.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

from jurat.schemas import canonical
from jurat.schemas.moments import parse_moment

Identifier = Annotated[str, Field(min_length=1, max_length=200)]
"""An id given by a domain: of bounded length so that keys, subjects and records stay small."""

Text = Annotated[str, Field(max_length=4000)]
"""Free text from people; bounded, as it travels into prompts and evidence."""

Count = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]
Percent = Annotated[int, Field(ge=0, le=100)]
MinorUnits = Annotated[int, Field(ge=-canonical.MAX_INTEGER, le=canonical.MAX_INTEGER)]
"""An amount of money in the currency's minor unit (cents); which currency stands beside it."""

MapKey = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
"""A key of a map: printable ASCII, as maps end in documents that are hashed, and canonical JSON has no other keys."""

Name = Annotated[str, Field(max_length=200)]
"""What something or somebody is called; ten times what the longest real ones need."""


def _moment(value: object, info: ValidationInfo) -> object:
    # By itself pydantic would read "1700000000" and "2026-W05" as moments too.
    return parse_moment(value) if info.mode == "json" and isinstance(value, str) else value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A moment with a zone: RFC 3339 in JSON, microseconds since the epoch in Avro."""


def _parse_json(value: object) -> object:
    if isinstance(value, str):
        return canonical.loads_object(value.encode())
    canonical.dumps(value)  # refuses what could not be hashed, signed or written later
    return value


FreeJson = Annotated[dict[str, Any], BeforeValidator(_parse_json)]
"""A JSON object whose fields depend on something else (an action's parameters); canonical JSON text in Avro."""


class Model(BaseModel):
    """Base of wire models and of their parts."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Event(Model):
    """Base of what travels as the value of a Kafka record.

    Attributes:
        namespace: Avro namespace below `jurat`, for example `commerce`.
        key_field: the field whose value is the Kafka record key.
        added_fields: how many of its last fields came later, one at a time, each with a default: bytes that were
            written without them are still read.
    """

    namespace: ClassVar[str]
    key_field: ClassVar[str]
    added_fields: ClassVar[int] = 0

    @classmethod
    def event_type(cls) -> str:
        """The event's name: Avro full name and CloudEvents `type`."""
        return f"jurat.{cls.namespace}.{cls.__name__}"

    def key(self) -> str:
        """The Kafka record key of this event."""
        return str(getattr(self, self.key_field))


class Money(Model):
    """An amount in minor units with its ISO 4217 currency."""

    amount_minor: MinorUnits
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Address(Model):
    """A postal address."""

    line1: Annotated[str, Field(max_length=200)]
    line2: Annotated[str, Field(max_length=200)] = ""
    city: Annotated[str, Field(max_length=100)]
    region: Annotated[str, Field(max_length=100)]
    postal_code: Annotated[str, Field(max_length=20)]
    country: Annotated[str, Field(max_length=100)]
