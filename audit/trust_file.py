"""The trust log and its root as files: for machines without Kafka, for ceremonies, for auditors.

Rules upheld here: a file holds a log as a whole or is refused, the number of the line is named; it is replaced in one
step. Not here: the rules of the log (`trust_log.py`), the topic (`jurat.streams.trust_topic`).

Specified in `docs/spec/identity.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from jurat.audit.credential import MAX_STATEMENT_BYTES, Root, Statement, parse_payload
from jurat.audit.credential_issue import opened
from jurat.audit.identity import TrustHead
from jurat.audit.key_files import make_folder, read_bounded, replace_public
from jurat.audit.trust_log import MAX_STATEMENTS, TrustLog
from jurat.schemas import canonical
from jurat.schemas.errors import AuditError, CanonicalError, ConfigurationError, StatementInvalid

ROOT_FILE: Final = "root.json"
LOG_FILE: Final = "trust-log.jsonl"
HEAD_FILE: Final = "trust-log.head"

MAX_LOG_BYTES: Final = 2_000 * MAX_STATEMENTS
"""A statement with an ordinary scope takes some 1,500 bytes."""

MAX_HEAD_BYTES: Final = 200
"""A head takes some 100."""


def read_statement(path: Path) -> tuple[bytes, Statement]:
    """Read a statement, one line; nothing of it is verified.

    Returns:
        The envelope, and what it says.

    Raises:
        ConfigurationError: it cannot be read.
        StatementInvalid: it is no statement in its one form.
    """
    line = read_bounded(path, MAX_STATEMENT_BYTES + 1).removesuffix(b"\n")
    try:
        return line, parse_payload(opened(line)[0])
    except AuditError as error:
        raise StatementInvalid(f"{path} holds no statement of a trust log: {error}") from error


def read_root(path: Path) -> bytes:
    """Read a root statement, one line.

    Raises:
        ConfigurationError: it cannot be read.
        StatementInvalid: it is no root statement.
    """
    try:
        line, statement = read_statement(path)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}; expected the root statement that is trusted, which whoever made the root gives away as"
            f" {ROOT_FILE}: name it with --trust-root or JURAT_TRUST_ROOT"
        ) from error
    if not isinstance(statement, Root):
        raise StatementInvalid(f"{path}: got a statement of the type {statement.type!r}, expected a root")
    return line


def read_log(path: Path, root: bytes) -> tuple[TrustLog, tuple[bytes, ...]]:
    """Read a trust log.

    Args:
        path: the file.
        root: the trusted root statement.

    Returns:
        The log, and its lines.

    Raises:
        ConfigurationError: it cannot be read.
        StatementInvalid: a line breaks a rule of the log, or the trusted root does not stand in it.
    """
    data = read_bounded(path, MAX_LOG_BYTES)
    if not data.endswith(b"\n"):
        raise StatementInvalid(f"{path}: the last line does not end: half of the file is missing, or more")
    lines = tuple(data[:-1].split(b"\n"))
    log = TrustLog(root)
    for number, line in enumerate(lines, 1):
        try:
            log.add(line)
        except AuditError as error:
            raise StatementInvalid(f"{path}, line {number}: {error}", line=number) from error
    try:
        log.check_met()
    except StatementInvalid as error:
        raise StatementInvalid(f"{path}: {error}") from error
    return log, lines


def write_root(path: Path, root: bytes) -> None:
    """Write a root statement.

    Raises:
        ConfigurationError: it cannot be written.
    """
    make_folder(path.parent)
    replace_public(path, root + b"\n")


def write_log(path: Path, lines: Iterable[bytes]) -> None:
    """Write a trust log.

    Raises:
        ConfigurationError: it cannot be written.
    """
    make_folder(path.parent)
    replace_public(path, b"".join([line + b"\n" for line in lines]))


def read_head(path: Path) -> TrustHead | None:
    """Read up to where a log stood on the topic; None where it was neither published nor fetched.

    Raises:
        ConfigurationError: it cannot be read.
        StatementInvalid: it is no head.
    """
    if not path.exists():
        return None
    try:
        return TrustHead.model_validate(canonical.loads_object(read_bounded(path, MAX_HEAD_BYTES)[:-1]))
    except (CanonicalError, ValidationError) as error:
        raise StatementInvalid(
            f"got what is no head of a trust log in {path}; write it again: jurat keys fetch"
        ) from error


def write_head(path: Path, head: TrustHead) -> None:
    """Write up to where a log stands on the topic.

    Raises:
        ConfigurationError: it cannot be written.
    """
    replace_public(path, canonical.dumps(head.model_dump()) + b"\n")
