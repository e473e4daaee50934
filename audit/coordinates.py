"""Where the records of Kafka stand, as audit records name them: coordinates, their URI, and a chain's name. Pure.

Specified in `docs/spec/audit-record.md`. Not here: what a record says of its inputs (`record.py`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from jurat.schemas.errors import RecordInvalid

KNOWN: Final = 1_024
"""URIs that are known once read: each is asked for several times while its record is looked at."""

_URI = re.compile(
    r"kafka://(?P<cluster>[A-Za-z0-9_-]{1,64})/(?P<topic>[A-Za-z0-9._-]{1,249})"
    r"/(?P<partition>0|[1-9][0-9]{0,9})/(?P<offset>0|[1-9][0-9]{0,15})"
)

KafkaUri = Annotated[str, Field(pattern=f"^{_URI.pattern}$")]


class Coordinates(NamedTuple):
    """Where a Kafka record stands in the world."""

    cluster_id: str
    topic: str
    partition: int
    offset: int

    def uri(self) -> str:
        """Print them as `kafka://<cluster id>/<topic>/<partition>/<offset>`."""
        return f"kafka://{self.cluster_id}/{self.topic}/{self.partition}/{self.offset}"


@lru_cache(maxsize=KNOWN)
def parse_uri(uri: str) -> Coordinates:
    """Read coordinates from their URI.

    Raises:
        RecordInvalid: not such a URI.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise RecordInvalid(f"got {uri[:400]!r}, expected kafka://<cluster id>/<topic>/<partition>/<offset>")
    cluster, topic, partition, offset = match.groups()
    return Coordinates(cluster, topic, int(partition), int(offset))


def chain_name(agent: str, topic: str, partition: int) -> str:
    """Name the chain of an agent's records about one input partition."""
    return f"{agent}/{topic}/{partition}"
