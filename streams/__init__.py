"""Everything that touches Kafka: topics, publishing, subscribing, the worker, the local broker, the simulator."""

from __future__ import annotations

from jurat.streams.decoding import Decoded
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.publisher import Publisher
from jurat.streams.subscriber import subscribe
from jurat.streams.worker import Worker, WorkerConfig

__all__ = ["Connection", "Decoded", "KafkaRecord", "Publisher", "Worker", "WorkerConfig", "subscribe"]
