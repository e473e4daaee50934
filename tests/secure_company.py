"""Everybody who has a role in docs/security.md, each with a user and a shell of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jurat.streams.kafka import Connection
from jurat.streams.security import security_from
from tests.command import Shell
from tests.secure_broker import PASSWORD, SecureKafka


@dataclass(frozen=True)
class Member(Shell):
    """The shell of one role: its user's name and password, and the authority that it trusts."""

    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.variables

    def with_(self, **variables: str) -> Member:
        """The same role with other variables; an empty one counts as none."""
        return Member(self.connection, self.keys, self.variables | variables)


@dataclass(frozen=True)
class Company:
    """The broker, and a shell for each user of docs/security.md."""

    kafka: SecureKafka
    keys: Path

    def member(self, user: str) -> Member:
        variables = {
            "JURAT_SECURITY_PROTOCOL": "SASL_SSL",
            "JURAT_SASL_MECHANISM": "SCRAM-SHA-512",
            "JURAT_SASL_USERNAME": user,
            "JURAT_SASL_PASSWORD": PASSWORD,
            "JURAT_SSL_CA_FILE": str(self.kafka.authority.file),
        }
        connection = Connection(self.kafka.sasl, security=security_from(variables))
        return Member(connection, self.keys, variables)
