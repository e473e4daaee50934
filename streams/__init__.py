"""Everything that touches Kafka: topics, publishing, subscribing, the worker, the local broker, the simulator."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jurat.streams.decoding import Decoded
    from jurat.streams.kafka import Connection, KafkaRecord
    from jurat.streams.publisher import Publisher
    from jurat.streams.subscriber import subscribe
    from jurat.streams.worker import Worker, WorkerConfig

__all__ = ["Connection", "Decoded", "KafkaRecord", "Publisher", "Worker", "WorkerConfig", "subscribe"]

_HOME: Final = {
    "Connection": "jurat.streams.kafka",
    "Decoded": "jurat.streams.decoding",
    "KafkaRecord": "jurat.streams.kafka",
    "Publisher": "jurat.streams.publisher",
    "Worker": "jurat.streams.worker",
    "WorkerConfig": "jurat.streams.worker",
    "subscribe": "jurat.streams.subscriber",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    # Importing any module of this room runs this one first: most need neither agents nor policies, as the worker does.
    if name not in _HOME:
        raise AttributeError(f"module 'jurat.streams' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
