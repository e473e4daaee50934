"""jurat: signed, policy-bounded decisions on Kafka.

Everything a service or a builder of agents needs is here; what is not in `__all__` may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation, View
    from jurat.policies.request import Entity, Facts
    from jurat.running import run_agent
    from jurat.schemas.decision import Decision, Verdict
    from jurat.schemas.errors import JuratError
    from jurat.schemas.model import Event, Model, Money
    from jurat.settings import connection
    from jurat.streams.decoding import Decoded
    from jurat.streams.kafka import Connection
    from jurat.streams.publisher import Publisher
    from jurat.streams.subscriber import subscribe

__all__ = [
    "Action",
    "Agent",
    "Candidate",
    "Connection",
    "Decision",
    "Decoded",
    "Entity",
    "Event",
    "Facts",
    "Judged",
    "JuratError",
    "Lookup",
    "Model",
    "Money",
    "Publisher",
    "Signal",
    "Situation",
    "Verdict",
    "View",
    "connection",
    "run_agent",
    "subscribe",
]

_HOME: Final = {
    "Action": "jurat.agents.agent",
    "Agent": "jurat.agents.agent",
    "Candidate": "jurat.agents.agent",
    "Connection": "jurat.streams.kafka",
    "Decision": "jurat.schemas.decision",
    "Decoded": "jurat.streams.decoding",
    "Entity": "jurat.policies.request",
    "Event": "jurat.schemas.model",
    "Facts": "jurat.policies.request",
    "Judged": "jurat.agents.agent",
    "JuratError": "jurat.schemas.errors",
    "Lookup": "jurat.agents.agent",
    "Model": "jurat.schemas.model",
    "Money": "jurat.schemas.model",
    "Publisher": "jurat.streams.publisher",
    "Signal": "jurat.agents.agent",
    "Situation": "jurat.agents.agent",
    "Verdict": "jurat.schemas.decision",
    "View": "jurat.agents.agent",
    "connection": "jurat.settings",
    "run_agent": "jurat.running",
    "subscribe": "jurat.streams.subscriber",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    # Importing one room runs this module first: loading every room here would make each import pay for all.
    if name not in _HOME:
        raise AttributeError(f"module 'jurat' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
