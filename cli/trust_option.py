"""Whom a command trusts: a trust file, or an organisation's root with its trust log.

Rules upheld here: what is trusted comes from arguments, settings, the key folder and, under a root, the topic of trust:
never from the log that is verified. With a root, a trust file's keys for decisions count only if that file was named:
else a key that was pinned once would hold without end beside credentials that end; people who approve and who publish
policies have no credentials, so those of the key folder's file count in any case. Not here: the formats
(`jurat.audit.key_store`, `jurat.audit.trust_file`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from jurat import settings
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.keys import Purpose, Trust
from jurat.audit.trust_file import LOG_FILE, read_log
from jurat.audit.trust_log import TrustLog
from jurat.schemas.errors import ConfigurationError, StatementInvalid, StreamError

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

F = TypeVar("F", bound=Callable[..., Any])

Statements = tuple[bytes, TrustLog, tuple[bytes, ...]]
"""A root statement, its trust log, and the lines of that."""

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the options name; it is read when it is asked for."""

    trust: Path | None
    trust_root: Path | None
    trust_log: Path | None

    def __call__(self) -> Trust:
        """The trusted keys, by files alone.

        Raises:
            ConfigurationError: a file cannot be read.
            AuditError: one is not of its form.
        """
        return self.under(self.statements())

    async def beside(self, source: Path | None, connect: Callable[[], Connection]) -> Statements | None:
        """Like `statements`, for a log: beside the topic, the topic of trust stands in place of the key folder's file.

        Ask once it is known how far the log is read: a record may know of statements up to the moment of its signature.
        Statements of the key folder that stand on the topic no more, or not yet, are not forgotten.

        Raises:
            StreamError: the topic cannot be read.
            StatementInvalid: the topic does not hold the root, or each of topic and key folder has what the other has
                not.
        """
        root = settings.trust_root(self.trust_root)
        if root is None or source is not None or self.trust_log is not None:
            return self.statements()
        from jurat.streams.trust_topic import read_trust  # noqa: PLC0415 - Kafka, which files do not need

        try:
            found = await read_trust(connect(), root)
        except StreamError as error:
            hint = f"{error}; to trust a file in place of the topic, name it: --trust-log FILE"
            raise type(error)(hint, **error.details) from error
        here = settings.keys_dir() / LOG_FILE
        if not here.exists():
            found.log.check_met()
            return root, found.log, tuple(found.lines)
        log, lines = read_log(here, root)
        if lines[: len(found.lines)] == tuple(found.lines):
            return root, log, lines
        if tuple(found.lines[: len(lines)]) != lines:
            raise StatementInvalid(
                f"got statements in {here} that are not on the topic audit.trust, and others there that are not in the"
                " file, expected one to begin with the other; publish them: jurat keys publish, or name a file:"
                " --trust-log"
            )
        return root, found.log, tuple(found.lines)

    def under(self, statements: Statements | None) -> Trust:
        """The trusted keys, with what the trust log says where a root is named."""
        if statements is None:
            return load_trust(self.trust or settings.keys_dir() / TRUST_FILE)
        return statements[1].trust(self._pinned())

    def statements(self) -> Statements | None:
        """What the files say; None where no root is named."""
        root = settings.trust_root(self.trust_root)
        if root is None:
            return None
        path = self.trust_log or settings.keys_dir() / LOG_FILE
        if self.trust_log is None and not path.exists():
            raise ConfigurationError(
                f"the trust log {path} cannot be read: there is none; get it from Kafka: jurat keys fetch, or name one:"
                " --trust-log FILE",
                path=str(path),
            )
        return root, *read_log(path, root)

    def of_bundle(self) -> tuple[Trust, bytes | None]:
        """The trusted keys, and the root by which a bundle's own trust log is judged, where no other log was named."""
        root = settings.trust_root(self.trust_root)
        if root is None or self.trust_log is not None:
            return self(), None
        return self._pinned(), root

    def _pinned(self) -> Trust:
        """What counts beside a root."""
        if self.trust is not None:
            return load_trust(self.trust)
        here = settings.keys_dir() / TRUST_FILE
        if not here.exists():
            return Trust(())
        pinned = load_trust(here)
        publishers = [key for key in pinned.keys if key.purpose is not Purpose.DECISIONS]
        return Trust(tuple(publishers), pinned.approvers)


def trust_options(command: F) -> F:
    """Add `--trust`, `--trust-root` and `--trust-log`; pass `trusted`, which reads them when called."""

    @click.option(
        "--trust", type=_FILE, help="Trust file; else the key folder's, of which a root leaves out agents."
    )
    @click.option("--trust-root", type=_FILE, help=f"Root statement to trust; else {settings.TRUST_ROOT}.")
    @click.option(
        "--trust-log",
        type=_FILE,
        help="With a root: its trust log; else the topic's, the key folder's, or for a bundle its own.",
    )
    @functools.wraps(command)
    def with_trusted(
        *arguments: object,
        trust: Path | None,
        trust_root: Path | None,
        trust_log: Path | None,
        **others: object,
    ) -> object:
        if trust_log is not None and settings.trust_root_file(trust_root) is None:
            raise click.UsageError(
                f"got --trust-log without a root, expected --trust-root or {settings.TRUST_ROOT}"
            )

        trusted = Trusted(trust, trust_root, trust_log)
        return command(*arguments, trusted=trusted, **others)

    return with_trusted  # type: ignore[return-value]  # the decorated command keeps its name and help
