"""Names of logs: one log for each partition of the audit topic.

Rules upheld here: a name says whose log it is, on which cluster, and of which partition of which topic, so that no log
can be shown for another one; one spelling; it fits into what cosignatures sign.

Specified in `docs/spec/log.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jurat.audit.cosignature import MAX_NAME_BYTES
from jurat.schemas.errors import NoteInvalid

_ORIGIN: Final = re.compile(
    r"audit\.(?P<org>[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)"
    r"/(?P<cluster>[A-Za-z0-9_-]{1,64})/(?P<topic>(?!\.{1,2}/)[A-Za-z0-9._-]{1,249})/(?P<partition>0|[1-9][0-9]{0,9})"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A log's name, in its parts.

    Attributes:
        org: whose log it is: a domain name in lower case.
        cluster_id: Kafka's id of the cluster.
        topic: full name of the audit topic.
        partition: whose records are the leaves.

    Raises:
        NoteInvalid: a part has another form, or the name is longer than 255 bytes.
    """

    org: str
    cluster_id: str
    topic: str
    partition: int

    def __post_init__(self) -> None:
        """Refuse what no log is called."""
        _match(str(self))

    def __str__(self) -> str:
        return f"audit.{self.org}/{self.cluster_id}/{self.topic}/{self.partition}"


def is_one(text: str) -> bool:
    """Whether a name is that of a log of records; a policy may name other logs, too."""
    return len(text) <= MAX_NAME_BYTES and _ORIGIN.fullmatch(text) is not None


def parse(text: str) -> Origin:
    """Read a log's name.

    Raises:
        NoteInvalid: it is not of the form of one.
    """
    found = _match(text)
    return Origin(found["org"], found["cluster"], found["topic"], int(found["partition"]))


def _match(text: str) -> re.Match[str]:
    found = _ORIGIN.fullmatch(text)
    if found is None or len(text) > MAX_NAME_BYTES:
        raise NoteInvalid(
            f"got the log {text[:300]!r}, expected audit.DOMAIN/CLUSTER/TOPIC/PARTITION in at most {MAX_NAME_BYTES}"
            " characters, the domain in lower case"
        )
    return found
