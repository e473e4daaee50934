"""What the logs of one notary have in common: a value. Not here: a log (`notary_partition.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jurat.audit.log_key import LogKey
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.witnessing import Witness
from jurat.schemas.codec import SchemaIds
from jurat.streams.metrics import Meters

Clock = Callable[[], int]
"""Seconds since the Epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotaryConfig:
    """What the logs of a notary have in common.

    Attributes:
        org: whose logs these are, a domain name.
        key: the secret that their keys are made of.
        policy: which witnesses are enough.
        witnesses: whom to ask, by their names in the policy.
        clock: the present moment.
        ids: a Schema Registry's ids, if one is configured.
        until_idle_s: end when nothing came for this long; None goes on until stopped.
        meters: what is counted.
    """

    org: str
    key: LogKey
    policy: TlogPolicy
    witnesses: Sequence[Witness] = ()
    clock: Clock
    ids: SchemaIds | None = None
    until_idle_s: float | None = None
    meters: Meters
