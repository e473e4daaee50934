"""A real Kafka that asks everybody who they are and allows nothing that an ACL does not allow.

One node with four listeners on the loopback interface: `PLAINTEXT` for the broker itself and for the fixture (its
nameless user is the only super user), `SASL` (TLS and SCRAM, PLAIN or OAUTHBEARER), `MTLS` (TLS with a client's
certificate, whose common name is the user) and `OPEN` (SASL without TLS). Certificates are made for the run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_java, local_broker
from jurat.streams.broker_data import plan_nodes
from jurat.streams.broker_state import HOST

PASSWORD: Final = "a good password, with = and ,"
"""Of every user: who somebody is, is what these tests vary."""

_ADMIN_S: Final = 20.0
_THROWN_AWAY_WITHIN_S: Final = 1.0
_VALID: Final = timedelta(days=1)
_JAAS: Final = "org.apache.kafka.common.security"
_MECHANISMS: Final = {
    "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256,
    "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512,
}
_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Alter": AclOperation.ALTER,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "IdempotentWrite": AclOperation.IDEMPOTENT_WRITE,
}
_RESOURCES: Final = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_PATTERNS: Final = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}


class Authority:
    """A certificate authority of this run.

    Args:
        folder: where its files go.
        name: its common name, and the name of its file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            _certificate(self._name, self._name, self._key)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, hosts: Sequence[x509.GeneralName] = (), password: bytes | None = None
    ) -> tuple[Path, Path]:
        """Make a key and a certificate for a name; returns the certificate's file and the key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _certificate(subject, self._name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(authority, critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_file, key_file = self._folder / f"{name}.crt.pem", self._folder / f"{name}.key.pem"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption: serialization.KeySerializationEncryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password)
        )
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return certificate_file, key_file


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class SecureKafka:
    """The broker, its listeners' addresses and the authority that it trusts."""

    plaintext: str
    sasl: str
    mtls: str
    open: str
    authority: Authority
    folder: Path
    admin: AdminClient

    def add_users(self, *users: str, mechanism: str = "SCRAM-SHA-512") -> None:
        """Make SCRAM users, all with `PASSWORD`."""
        credential = ScramCredentialInfo(_MECHANISMS[mechanism], 4096)
        wanted = [UserScramCredentialUpsertion(user, credential, PASSWORD.encode()) for user in users]
        for future in self.admin.alter_user_scram_credentials(wanted).values():
            future.result(_ADMIN_S)

    def run_acls(self, command: str) -> None:
        """Do what this `kafka-acls.sh --add` command line says."""
        self._give(acl_bindings(command))

    @contextlib.contextmanager
    def without(self, *, user: str, resource: ResourceType, name: str) -> Iterator[None]:
        """Take a user's ACLs on one resource away for the length of a `with`, but for Describe."""
        describe = AclBinding(
            resource,
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation.DESCRIBE,
            AclPermissionType.ALLOW,
        )
        self._give([describe])
        taken = self._take(user, resource, name, AclOperation.READ)
        taken += self._take(user, resource, name, AclOperation.WRITE)
        assert taken, f"{user} may neither read nor write {name}"
        try:
            yield
        finally:
            self._give(taken)
            self._take(user, resource, name, AclOperation.DESCRIBE)

    def _take(
        self, user: str, resource: ResourceType, name: str, operation: AclOperation
    ) -> list[AclBinding]:
        wanted = AclBindingFilter(
            resource,
            name,
            ResourcePatternType.ANY,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        (future,) = self.admin.delete_acls([wanted]).values()
        taken: list[AclBinding] = future.result(_ADMIN_S)
        self._await(lambda: not set(taken) & set(self._acls()))
        return taken

    def _give(self, bindings: Sequence[AclBinding]) -> None:
        for future in self.admin.create_acls(list(bindings)).values():
            future.result(_ADMIN_S)
        self._await(lambda: set(bindings) <= set(self._acls()))

    def _acls(self) -> list[AclBinding]:
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        return self.admin.describe_acls(everything).result(_ADMIN_S)

    def _await(self, holds: Callable[[], bool]) -> None:
        """The controller has said yes; the broker that checks hears of it a moment later."""
        deadline = time.monotonic() + _ADMIN_S
        while not holds():
            assert time.monotonic() < deadline, "the ACLs did not reach the broker"
            time.sleep(0.02)


def acl_bindings(command: str) -> list[AclBinding]:
    """The ACLs that a `kafka-acls.sh --add` command line means: each operation on each resource for each user."""
    words = shlex.split(command.replace("\\\n", " "))
    users: list[str] = []
    operations: list[str] = []
    resources: list[tuple[ResourceType, str]] = []
    pattern = "literal"
    rest = iter(words[1:])
    for word in rest:
        if word == "--add":
            continue
        value = next(rest)
        if word == "--allow-principal":
            users.append(value)
        elif word == "--operation":
            operations.append(value)
        elif word in _RESOURCES:
            resources.append((_RESOURCES[word], value))
        elif word == "--resource-pattern-type":
            pattern = value
        elif word not in ("--bootstrap-server", "--command-config"):
            raise AssertionError(f"an option that these tests do not know: {word} in {command}")
    assert words[0].endswith("kafka-acls.sh"), command
    assert all((users, operations, resources)), command
    return [
        AclBinding(kind, name, _PATTERNS[pattern], user, "*", _OPERATIONS[operation], AclPermissionType.ALLOW)
        for user in users
        for operation in operations
        for kind, name in resources
    ]


def unsecured_token(user: str) -> str:
    """A JSON web token without a signature, as Kafka's own validator for tests takes it."""
    now = time.time()
    header, claims = {"alg": "none"}, {"sub": user, "iat": now, "exp": now + 3600}
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    )
    return ".".join(parts) + "."


@contextlib.contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """A broker for the length of a `with`, its data in this folder and thrown away after it."""
    try:
        broker_java.find_java(os.environ)
    except BrokerError as error:
        pytest.skip(f"no Java for a Kafka with TLS: {error}")
    authority = Authority(folder, "authority")
    first, second, third = plan_nodes(nodes=3, port=0)
    ports = {
        "plaintext": first.port,
        "controller": first.controller_port,
        "sasl": second.port,
        "mtls": second.controller_port,
        "open": third.port,
    }
    broker = local_broker.start(
        data_dir=folder / "data",
        port=ports["plaintext"],
        engine="java",
        config=_settings(authority, folder, ports),
    )
    try:
        yield SecureKafka(
            plaintext=broker.bootstrap_servers,
            sasl=f"{HOST}:{ports['sasl']}",
            mtls=f"{HOST}:{ports['mtls']}",
            open=f"{HOST}:{ports['open']}",
            authority=authority,
            folder=folder,
            admin=AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}),
        )
    finally:
        local_broker.stop(broker, within_s=_THROWN_AWAY_WITHIN_S)
        shutil.rmtree(folder, ignore_errors=True)


def _settings(authority: Authority, folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """The broker's settings on top of those of `jurat broker`; its own listener keeps its place and its user."""
    certificate, key = authority.issue("broker", hosts=[x509.IPAddress(IPv4Address(HOST))])
    store = folder / "broker.pem"
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    plaintext, controller = ports["plaintext"], ports["controller"]
    sasl = {"sasl": "SASL_SSL", "open": "SASL_PLAINTEXT"}
    settings = {
        "listeners": f"PLAINTEXT://{HOST}:{plaintext},CONTROLLER://{HOST}:{controller}"
        + "".join(f",{name.upper()}://{HOST}:{ports[name]}" for name in ("sasl", "mtls", "open")),
        "advertised.listeners": f"PLAINTEXT://{HOST}:{plaintext}"
        + "".join(f",{name.upper()}://{HOST}:{ports[name]}" for name in ("sasl", "mtls", "open")),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MTLS:SSL,"
        + ",".join(f"{name.upper()}:{protocol}" for name, protocol in sasl.items()),
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "allow.everyone.if.no.acl.found": "false",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/,DEFAULT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER",
    }
    for name in sasl:
        prefix = f"listener.name.{name}"
        settings |= {
            f"{prefix}.scram-sha-256.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{prefix}.plain.sasl.jaas.config": (
                f'{_JAAS}.plain.PlainLoginModule required user_plain="{PASSWORD}";'
            ),
            f"{prefix}.oauthbearer.sasl.jaas.config": (
                f'{_JAAS}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
            ),
        }
    return settings
