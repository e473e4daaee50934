"""jurat: signed, policy-bounded decisions on Kafka.

What a service needs to publish events and read decisions, and what a builder needs to declare an agent of their own
(docs/tutorial.md); what is not in `__all__` may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jurat.agents.agent import (
        Action,
        Agent,
        Candidate,
        ContextTable,
        GlobalTable,
        Judged,
        Lookup,
        Signal,
        Situation,
    )
    from jurat.app import App
    from jurat.policies.request import Entity, Facts
    from jurat.schemas.decision import Decision, Verdict
    from jurat.schemas.errors import JuratError
    from jurat.schemas.model import Count, Event, Identifier, MinorUnits, Model, Money, Text
    from jurat.settings import connection
    from jurat.streams.decoding import Decoded
    from jurat.streams.kafka import Connection
    from jurat.streams.publisher import Publisher
    from jurat.streams.subscriber import subscribe
    from jurat.streams.topics import Topic

__all__ = [
    "Action",
    "Agent",
    "App",
    "Candidate",
    "Connection",
    "ContextTable",
    "Count",
    "Decision",
    "Decoded",
    "Entity",
    "Event",
    "Facts",
    "GlobalTable",
    "Identifier",
    "Judged",
    "JuratError",
    "Lookup",
    "MinorUnits",
    "Model",
    "Money",
    "Publisher",
    "Signal",
    "Situation",
    "Text",
    "Topic",
    "Verdict",
    "connection",
    "subscribe",
]

_HOME: Final = {
    "Action": "jurat.agents.agent",
    "Agent": "jurat.agents.agent",
    "App": "jurat.app",
    "Candidate": "jurat.agents.agent",
    "Connection": "jurat.streams.kafka",
    "ContextTable": "jurat.agents.agent",
    "Count": "jurat.schemas.model",
    "Decision": "jurat.schemas.decision",
    "Decoded": "jurat.streams.decoding",
    "Entity": "jurat.policies.request",
    "Event": "jurat.schemas.model",
    "Facts": "jurat.policies.request",
    "GlobalTable": "jurat.agents.agent",
    "Identifier": "jurat.schemas.model",
    "Judged": "jurat.agents.agent",
    "JuratError": "jurat.schemas.errors",
    "Lookup": "jurat.agents.agent",
    "MinorUnits": "jurat.schemas.model",
    "Model": "jurat.schemas.model",
    "Money": "jurat.schemas.model",
    "Publisher": "jurat.streams.publisher",
    "Signal": "jurat.agents.agent",
    "Situation": "jurat.agents.agent",
    "Text": "jurat.schemas.model",
    "Topic": "jurat.streams.topics",
    "Verdict": "jurat.schemas.decision",
    "connection": "jurat.settings",
    "subscribe": "jurat.streams.subscriber",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    # Importing one room runs this module first: loading every room here would make each import pay for all.
    if name not in _HOME:
        raise AttributeError(f"module 'jurat' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
