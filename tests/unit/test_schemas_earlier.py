"""Values that were written before their event had all of its fields."""

from __future__ import annotations

import pytest

from jurat.schemas import avro
from jurat.schemas.catalogue import EVENTS
from jurat.schemas.codec import SINGLE_OBJECT_MARK, decode, encode
from jurat.schemas.decision import Decision
from jurat.schemas.errors import DecodeError
from jurat.schemas.model import Event
from tests.examples import DECISION

BEFORE_ALTERNATIVES = bytes.fromhex("cfd938f90d90b080")
"""The fingerprint of the decision event's schema before it had alternatives."""


@pytest.mark.parametrize("framing", ["single object", "registry"])
def test_a_decision_that_was_written_before_it_had_alternatives_is_still_read(framing: str) -> None:
    assert avro.fingerprint_of(Decision, 1) == BEFORE_ALTERNATIVES != avro.fingerprint_of(Decision)
    now = encode(DECISION)
    assert now[-1:] == b"\0", "no alternatives: an empty array"
    before = SINGLE_OBJECT_MARK + BEFORE_ALTERNATIVES + now[10:-1]
    if framing == "single object":
        assert decode(before) == DECISION
        with pytest.raises(DecodeError, match="are not an Avro"):
            decode(now[:-1])
        return

    class Earlier:
        def event_of(self, schema_id: int) -> avro.Written:
            assert schema_id == 258
            return avro.Written(Decision, lacks=1)

        def id_of(self, event: type[Event]) -> int:
            raise AssertionError("nothing is written")

    assert decode(b"\x00\x00\x00\x01\x02" + now[10:-1], ids=Earlier()) == DECISION


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type())
def test_fields_that_came_later_have_defaults(event: type[Event]) -> None:
    names = list(event.model_fields)
    for name in names[len(names) - event.added_fields :]:
        assert not event.model_fields[name].is_required()
