"""Folders of tiles, read for `jurat audit verify`: each log has its own, which holds its checkpoint.

Rules upheld here: paths follow from the size of the log alone; a file that is missing is told as what does not hold,
one that cannot be read as not known. Not here: the checks (`jurat.audit.verifier_tiles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from jurat.audit import tiles
from jurat.audit.keys import Trust
from jurat.audit.log import TreeHead
from jurat.audit.verifier_report import Report
from jurat.audit.verifier_tiles import TilesVerifier
from jurat.cli.audit_witnessed import read_policy
from jurat.cli.files import read_whole
from jurat.schemas.errors import ConfigurationError, ProofInvalid

MAX_LOGS: Final = 10_000
"""Logs in one folder: a topic has as many as partitions."""


def verified_tiles(
    folder: Path, trust: Trust, witness_policy: Path | None, heads: Iterable[TreeHead]
) -> Report:
    """What the logs in a folder are worth.

    Raises:
        ConfigurationError: there is none, or a file cannot be read.
        PolicyFileInvalid: the witness policy is not of its form.
    """
    policy = None if witness_policy is None else read_policy(witness_policy)
    verifier = TilesVerifier(trust, policy, tree_heads=heads)
    for log in _logs(folder):

        def fetch(path: str, log: Path = log) -> bytes:
            place = log / path
            if not place.is_file():
                raise ProofInvalid(
                    f"{place} is missing: it was removed, or the tiles were not written to their end"
                )
            return read_whole(place, at_most=tiles.MAX_BUNDLE_BYTES)

        verifier.add(fetch)
    return verifier.report()


def _logs(folder: Path) -> Iterator[Path]:
    """The folders that hold a checkpoint: this one, or those below it."""
    found = sorted(path.parent for path in folder.rglob(tiles.CHECKPOINT))
    if not found:
        raise ConfigurationError(
            f"got the folder {folder} without a checkpoint, expected one that `jurat notary tiles --output` wrote"
        )
    if len(found) > MAX_LOGS:
        raise ConfigurationError(f"got {len(found)} logs in {folder}, expected at most {MAX_LOGS}")
    yield from found
