"""Whom a command trusts: a trust file, or an organisation's root with its trust log.

Rules upheld here: what is trusted comes from arguments, settings and the key folder, never from the log that is
verified; with a root, keys of a trust file count only if that file was named: else a key that was pinned once would
hold without end beside credentials that end. Not here: the formats (`jurat.audit.key_store`, `jurat.audit.trust_file`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from jurat import settings
from jurat.audit.key_store import TRUST_FILE, load_trust
from jurat.audit.keys import Trust
from jurat.audit.trust_file import LOG_FILE, read_log
from jurat.audit.trust_log import TrustLog

F = TypeVar("F", bound=Callable[..., Any])

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the options name; it is read when it is asked for."""

    trust: Path | None
    trust_root: Path | None
    trust_log: Path | None

    def __call__(self) -> Trust:
        """The trusted keys.

        Raises:
            ConfigurationError: a file cannot be read.
            AuditError: one is not of its form.
        """
        statements = self.statements()
        if statements is None:
            return load_trust(self.trust or settings.keys_dir() / TRUST_FILE)
        return statements[1].trust(self._pinned())

    def statements(self) -> tuple[bytes, TrustLog, tuple[bytes, ...]] | None:
        """The root statement, its trust log, and the lines of that; None where no root is named."""
        root = settings.trust_root(self.trust_root)
        if root is None:
            return None
        return root, *read_log(self.trust_log or settings.keys_dir() / LOG_FILE, root)

    def of_bundle(self) -> tuple[Trust, bytes | None]:
        """The trusted keys, and the root by which a bundle's own trust log is judged, where no other log was named."""
        root = settings.trust_root(self.trust_root)
        if root is None or self.trust_log is not None:
            return self(), None
        return self._pinned() or Trust(()), root

    def _pinned(self) -> Trust | None:
        return None if self.trust is None else load_trust(self.trust)


def trust_options(command: F) -> F:
    """Add `--trust`, `--trust-root` and `--trust-log`; pass `trusted`, which reads them when called."""

    @click.option("--trust", type=_FILE, help="Trust file; else the key folder's, where no root is named.")
    @click.option("--trust-root", type=_FILE, help=f"Root statement to trust; else {settings.TRUST_ROOT}.")
    @click.option("--trust-log", type=_FILE, help="With a root: its trust log; else the key folder's.")
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
