"""The topic of policies as one reads it: records in, what is active out. Pure.

Rules upheld here: nothing is believed that a key trusted for policies did not sign; a record says what its key says,
and was made for this topic of this cluster; of the activations of a name the one with the highest `seq` holds, whatever
order they stand in; one that is not newer than it is told as stale; what was refused changes nothing.

Each record, step by step (the numbers come back in the code): 1. the key has a form that is known, and there is a
value, of bounded size; 2. the envelope verifies; 3. the payload parses; 4. it is what the key names, and from here;
5. an activation is newer than those that are known.

Specified in `docs/spec/policy-topic.md`. Not here: reading and writing the topic (`policy_publishing.py`), whether a
bundle is any good (`jurat.policies.trial`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jurat.audit.dsse import VerifiedPayload, unseal
from jurat.audit.keys import Purpose, Trust
from jurat.policies.publication import (
    ACTIVATION_TYPE,
    BUNDLE_TYPE,
    Activation,
    PublishedBundle,
    parse_activation,
    parse_bundle,
)
from jurat.schemas.errors import ActivationStale, PublicationInvalid
from jurat.streams.kafka import KafkaRecord

MAX_VALUE_BYTES: Final = 2 * 1024 * 1024
"""What the topic takes; more cannot stand there."""

MAX_HELD: Final = 100
"""Activations of one name that are held, the newest: those before them are of no use to anybody who goes on."""

_KEY = re.compile(
    r"bundle/(?P<digest>[0-9a-f]{64})|active/(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63})/(?P<seq>[1-9][0-9]{0,15})"
)


@dataclass(frozen=True, slots=True)
class Signed:
    """An activation whose signature was verified.

    Attributes:
        by: the name, in the trust file, of who signed it.
        payload: the bytes that were signed.
    """

    activation: Activation
    by: str
    keyid: str
    payload: bytes


@dataclass(slots=True)
class _Named:
    held: dict[int, Signed]
    taken: int = 0


class PolicyLog:
    """What a reader of the topic knows.

    Args:
        cluster_id: the cluster that is read.
        topic: the topic's full name.
    """

    def __init__(self, *, cluster_id: str, topic: str) -> None:
        self.cluster_id = cluster_id
        self.topic = topic
        self._names: dict[str, _Named] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have an activation, sorted."""
        return tuple(sorted(self._names))

    def history(self, name: str) -> tuple[Signed, ...]:
        """The activations of a name, the newest first."""
        named = self._names.get(name)
        return () if named is None else tuple(named.held[seq] for seq in sorted(named.held, reverse=True))

    def newest(self, name: str) -> Signed | None:
        """The activation that holds."""
        return next(iter(self.history(name)), None)

    def missing(self, name: str) -> int:
        """How many activations below the newest one nobody has: somebody removed them, or wrote over them."""
        named = self._names.get(name)
        return 0 if named is None else max(named.held) - named.taken

    def take(self, record: KafkaRecord, trust: Trust) -> PublishedBundle | Signed:
        """Read one record.

        Raises:
            PublicationInvalid: it is not what it should be.
            RecordInvalid: its envelope is not.
            SignatureInvalid: nobody signed it who is trusted to.
            ActivationStale: it is not newer than what holds.
        """
        named = _KEY.fullmatch((record.key or b"").decode(errors="replace"))  # 1
        if named is None:
            raise PublicationInvalid("got a key that is neither bundle/DIGEST nor active/NAME/SEQ")
        if record.value is None:
            raise PublicationInvalid(f"got {named[0]} without a value: nothing is ever taken back here")
        if len(record.value) > MAX_VALUE_BYTES:
            raise PublicationInvalid(f"got {named[0]} of {len(record.value)} bytes")
        kind = BUNDLE_TYPE if named["digest"] else ACTIVATION_TYPE
        sealed = unseal(record.value, trust, payload_type=kind, purpose=Purpose.POLICIES)  # 2
        if named["digest"]:
            return self._bundle(sealed, named[0])
        return self._activation(sealed, named[0])

    def _bundle(self, sealed: VerifiedPayload, key: str) -> PublishedBundle:
        bundle = parse_bundle(sealed.payload)  # 3
        if bundle.key != key:  # 4
            raise PublicationInvalid(f"got the files of {bundle.key} under {key}: they were changed")
        return bundle

    def _activation(self, sealed: VerifiedPayload, key: str) -> Signed:
        activation = parse_activation(sealed.payload)  # 3
        if activation.key != key:  # 4
            raise PublicationInvalid(f"got the activation {activation.key} under {key}: it was copied there")
        if (activation.cluster, activation.topic) != (self.cluster_id, self.topic):
            raise PublicationInvalid(
                f"got an activation made for {activation.topic} on the cluster {activation.cluster}, expected one for"
                f" {self.topic} on {self.cluster_id}: it was copied from there"
            )
        signed = Signed(activation, sealed.key.agent, sealed.key.keyid, sealed.payload)
        newest = self.newest(activation.bundle)
        if newest is not None and activation.seq <= newest.activation.seq:  # 5
            raise ActivationStale(
                f"got {key} once more or too late, as number {newest.activation.seq} holds: it was written again, by"
                " whom the topic does not tell",
                key=key,
            )
        named = self._names.setdefault(activation.bundle, _Named({}))
        named.held[activation.seq] = signed
        named.taken += 1
        if len(named.held) > MAX_HELD:
            del named.held[min(named.held)]
        return signed
