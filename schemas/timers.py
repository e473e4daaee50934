"""The event of a timer that fired: an input like any other, on a topic of the agent's own."""

from __future__ import annotations

from typing import ClassVar

from jurat.schemas.decision import InputRef
from jurat.schemas.model import Event, Identifier, Timestamp


class TimerFired(Event):
    """A timer that an earlier decision of the agent had set is due.

    Attributes:
        agent: the agent that set it.
        event_key: the key of the event whose decision set it; state is kept by this key.
        name: the timer's name.
        due_at: when it was due.
        set_by: the input whose decision set it.
    """

    namespace: ClassVar[str] = "timers"
    key_field: ClassVar[str] = "event_key"

    agent: Identifier
    event_key: Identifier
    name: Identifier
    due_at: Timestamp
    set_by: InputRef
