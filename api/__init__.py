"""jurat: signed, policy-bounded decisions on Kafka.

What a service needs to publish events and read decisions; what is not in `__all__` may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jurat.schemas.decision import Decision, Verdict
    from jurat.schemas.errors import JuratError
    from jurat.schemas.model import Event, Money
    from jurat.settings import connection
    from jurat.streams.decoding import Decoded
    from jurat.streams.kafka import Connection
    from jurat.streams.publisher import Publisher
    from jurat.streams.subscriber import subscribe

__all__ = [
    "Connection",
    "Decision",
    "Decoded",
    "Event",
    "JuratError",
    "Money",
    "Publisher",
    "Verdict",
    "connection",
    "subscribe",
]

_HOME: Final = {
    "Connection": "jurat.streams.kafka",
    "Decision": "jurat.schemas.decision",
    "Decoded": "jurat.streams.decoding",
    "Event": "jurat.schemas.model",
    "JuratError": "jurat.schemas.errors",
    "Money": "jurat.schemas.model",
    "Publisher": "jurat.streams.publisher",
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
