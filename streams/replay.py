"""Replay: a topic from its beginning to where it ends now, without joining a group or leaving a trace."""

from __future__ import annotations

from jurat.streams.kafka import KafkaRecord
from jurat.streams.reading import replay

__all__ = ["KafkaRecord", "replay"]
