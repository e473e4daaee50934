"""How to reach a Kafka cluster: addresses, namespace, security; a value, no client.

Rules upheld here: every topic, group and transactional id carries the namespace; nothing printed of a connection
holds a secret (`security.py`). Not here: the clients (`kafka.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurat.streams.security import Security

RESERVED: Final = frozenset({"context", "notary"})
"""Groups, and first parts of transactional ids, that are no agent's: an agent's are its name."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a Kafka cluster, and under which namespace.

    Attributes:
        bootstrap_servers: `host:port`, several separated by commas.
        namespace: prefix of every topic, group and transactional id; empty for none.
        security: TLS and who we say we are; None connects in plaintext, without a name.
    """

    bootstrap_servers: str
    namespace: str = ""
    security: Security | None = None

    def name(self, plain: str) -> str:
        """A topic, group or transactional id with the namespace."""
        return f"{self.namespace}.{plain}" if self.namespace else plain

    def topic(self, plain: str) -> str:
        """A topic's full name."""
        return self.name(plain)

    def group(self, plain: str) -> str:
        """A consumer group's full name."""
        return self.name(plain)

    def plain(self, full: str) -> str:
        """A name without the namespace."""
        return full.removeprefix(f"{self.namespace}.") if self.namespace else full
