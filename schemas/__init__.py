"""The wire contracts of jurat: models, Avro, CloudEvents, canonical JSON, errors."""

from __future__ import annotations

from jurat.schemas.decision import Decision, InputRef, Verdict
from jurat.schemas.errors import JuratError
from jurat.schemas.model import Address, Event, Model, Money

__all__ = ["Address", "Decision", "Event", "InputRef", "JuratError", "Model", "Money", "Verdict"]
