"""Who we are to Kafka and whom we trust: SASL and TLS as one value, checked before anything connects.

Rules upheld here: a combination that is not whole is refused, never mended by guessing, so that nothing connects
with less protection than was asked for; the broker's certificate and host name are always checked; secrets are never
printed; a token is read anew at every authentication, and certificates for every client, so that both may be
exchanged while we run. Not here: the clients that use it (`kafka.py`).

Source: Apache Kafka documentation, Security, for the terms.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from jurat.schemas.errors import ConfigurationError

PROTOCOL: Final = "JURAT_SECURITY_PROTOCOL"
MECHANISM: Final = "JURAT_SASL_MECHANISM"
USERNAME: Final = "JURAT_SASL_USERNAME"
PASSWORD: Final = "JURAT_SASL_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_FILE: Final = "JURAT_SASL_PASSWORD_FILE"  # noqa: S105 - as above
TOKEN_FILE: Final = "JURAT_SASL_TOKEN_FILE"  # noqa: S105 - as above
CA_FILE: Final = "JURAT_SSL_CA_FILE"
CERT_FILE: Final = "JURAT_SSL_CERT_FILE"
KEY_FILE: Final = "JURAT_SSL_KEY_FILE"
KEY_PASSWORD: Final = "JURAT_SSL_KEY_PASSWORD"  # noqa: S105 - as above

VARIABLES: Final = (
    PROTOCOL,
    MECHANISM,
    USERNAME,
    PASSWORD,
    PASSWORD_FILE,
    TOKEN_FILE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    KEY_PASSWORD,
)

MAX_FILE_BYTES: Final = 1024 * 1024
"""Four times a system's bundle of authorities; what is larger is another file."""

E = TypeVar("E", bound=StrEnum)

log = logging.getLogger(__name__)


class Protocol(StrEnum):
    """How the bytes travel; Kafka's `security.protocol`."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def sasl(self) -> bool:
        """Whether the client says its name with SASL."""
        return self in (Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self in (Protocol.SSL, Protocol.SASL_SSL)


class Mechanism(StrEnum):
    """How the client proves its name; Kafka's `sasl.mechanism`."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """TLS and authentication of every client; a value that exists is whole.

    Attributes:
        protocol: how the bytes travel.
        mechanism: with SASL only.
        username: for PLAIN and SCRAM.
        password: for PLAIN and SCRAM; never printed.
        token_file: for OAUTHBEARER: a file that holds the token.
        ca_file: the authorities that may sign the brokers' certificates, in PEM form; None trusts the system's.
        cert_file: the client's own certificate and those between it and its authority, in PEM form.
        key_file: the private key of that certificate; None when `cert_file` holds it too.
        key_password: of an encrypted private key; never printed.

    Raises:
        ConfigurationError: something is missing, or does not belong to the rest.
    """

    protocol: Protocol
    mechanism: Mechanism | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is not whole."""
        self._check_sasl()
        tls = {
            CA_FILE: self.ca_file,
            CERT_FILE: self.cert_file,
            KEY_FILE: self.key_file,
            KEY_PASSWORD: self.key_password,
        }
        if not self.protocol.tls:
            self._refuse(tls, f"{PROTOCOL}={self.protocol}, which has no TLS")
        if self.cert_file is None:
            self._refuse({name: tls[name] for name in (KEY_FILE, KEY_PASSWORD)}, f"no {CERT_FILE}")

    @property
    def principal(self) -> str | None:
        """Kafka's name for us, as ACLs write it; None where only the broker knows it."""
        return None if self.username is None else f"User:{self.username}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """A context that checks certificate and host name, from the files as they are now; None without TLS.

        Raises:
            ConfigurationError: a file cannot be read, or does not hold what it should.
        """
        if not self.protocol.tls:
            return None
        if self.ca_file is not None:
            _bytes(self.ca_file, CA_FILE)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"got {CA_FILE}={self.ca_file}, expected certificates in PEM form there"
            ) from error
        # Said here, as what Python takes for the least depends on how its OpenSSL is configured.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            self._load_own(context, self.cert_file)
        return context

    def read_token(self) -> str:
        """The token that stands in its file now.

        Raises:
            ConfigurationError: the file cannot be read, or holds no token.
        """
        if self.token_file is None:
            raise ConfigurationError(f"got no {TOKEN_FILE}, expected one for {Mechanism.OAUTHBEARER}")
        token = _text(self.token_file, TOKEN_FILE).strip()
        if not token or not token.isascii() or any(character.isspace() for character in token):
            raise ConfigurationError(
                f"got {TOKEN_FILE}={self.token_file}, expected one token there, on a line"
            )
        return token

    def _check_sasl(self) -> None:
        named: dict[str, object] = {USERNAME: self.username, PASSWORD: self.password}
        token: dict[str, object] = {TOKEN_FILE: self.token_file}
        if not self.protocol.sasl:
            self._refuse(
                {MECHANISM: self.mechanism} | named | token, f"{PROTOCOL}={self.protocol}, which has no SASL"
            )
            return
        if self.mechanism is None:
            raise ConfigurationError(
                f"got {PROTOCOL}={self.protocol} without {MECHANISM}, expected one of {', '.join(Mechanism)}"
            )
        needed, foreign = (token, named) if self.mechanism is Mechanism.OAUTHBEARER else (named, token)
        self._refuse(foreign, f"{MECHANISM}={self.mechanism}, which does not use it")
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise ConfigurationError(
                f"got {MECHANISM}={self.mechanism} without {' and '.join(missing)}, expected"
                f" {' and '.join(needed)}" + (f" (or {PASSWORD_FILE})" if PASSWORD in missing else "")
            )

    def _refuse(self, foreign: Mapping[str, object], because: str) -> None:
        given = [name for name, value in foreign.items() if value is not None]
        if given:
            raise ConfigurationError(
                f"got {' and '.join(given)} with {because}: take it away, or complete the rest (docs/security.md)"
            )

    def _load_own(self, context: ssl.SSLContext, cert_file: Path) -> None:
        for path, variable in ((cert_file, CERT_FILE), (self.key_file, KEY_FILE)):
            if path is not None:
                _bytes(path, variable)
        key = self.key_file or cert_file

        def password() -> str:
            # Without this OpenSSL would ask at the terminal.
            return self.key_password if self.key_password is not None else _no_key_password(key)

        try:
            context.load_cert_chain(cert_file, self.key_file, password=password)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"got {CERT_FILE}={cert_file} with the private key in {key}, expected a certificate in PEM form and"
                f" the key that belongs to it{'' if self.key_password is None else f', encrypted with {KEY_PASSWORD}'}"
                f" ({error.reason or 'not readable'})"
            ) from error


def security_from(environ: Mapping[str, str]) -> Security | None:
    """What the environment says; None when it asks for nothing, or for PLAINTEXT.

    Raises:
        ConfigurationError: a value is unknown, something is missing, or does not belong to the rest.
    """
    given = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if not given:
        return None
    if PROTOCOL not in given:
        raise ConfigurationError(
            f"got {' and '.join(given)} without {PROTOCOL}, expected {PROTOCOL}=SASL_SSL, SSL or SASL_PLAINTEXT"
        )
    if PASSWORD in given and PASSWORD_FILE in given:
        raise ConfigurationError(f"got {PASSWORD} and {PASSWORD_FILE}, expected one of them")
    password = given.get(PASSWORD)
    if PASSWORD_FILE in given:
        password = _text(Path(given[PASSWORD_FILE]), PASSWORD_FILE).removesuffix("\n").removesuffix("\r")
        if not password:
            raise ConfigurationError(f"got {PASSWORD_FILE}={given[PASSWORD_FILE]}, expected a password there")
    paths = {name: Path(given[name]) for name in (TOKEN_FILE, CA_FILE, CERT_FILE, KEY_FILE) if name in given}
    security = Security(
        protocol=_one_of(Protocol, PROTOCOL, given[PROTOCOL]),
        mechanism=_one_of(Mechanism, MECHANISM, given[MECHANISM]) if MECHANISM in given else None,
        username=given.get(USERNAME),
        password=password,
        token_file=paths.get(TOKEN_FILE),
        ca_file=paths.get(CA_FILE),
        cert_file=paths.get(CERT_FILE),
        key_file=paths.get(KEY_FILE),
        key_password=given.get(KEY_PASSWORD),
    )
    if security.protocol is Protocol.SASL_PLAINTEXT:
        log.warning("%s=%s: everything travels readable, all records among it", PROTOCOL, security.protocol)
    return None if security.protocol is Protocol.PLAINTEXT else security


def _one_of(kind: type[E], variable: str, text: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"got {variable}={text!r}, expected one of {', '.join(kind)}") from None


def _text(path: Path, variable: str) -> str:
    try:
        return _bytes(path, variable).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"got {variable}={path}, expected a text file in UTF-8") from error


def _bytes(path: Path, variable: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"got {variable}={path}, expected a file that can be read: {error.strerror}"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"got {variable}={path}, expected at most {MAX_FILE_BYTES} bytes there")
    return content


def _no_key_password(key: Path) -> NoReturn:
    raise ConfigurationError(
        f"got an encrypted private key in {key}, expected its password in {KEY_PASSWORD}"
    )
