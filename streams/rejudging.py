"""Policies evaluated again for the verifier: bundles by digest, and what they say of a recorded input.

Rules upheld here: a bundle is known by the digest of its files alone, so it does not matter where it came from; what
cannot be asked is told, never passed over. What is kept are files, so that it travels to other processes; an engine is
made where it is first asked.

Not here: comparing with the record (`jurat.audit.verifier_record`), trying another bundle (`jurat.policies.backtest`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from jurat.audit.keys import Trust
from jurat.audit.verifier_record import Again
from jurat.policies.bundle import bundle_of
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import digest_of, read_folder
from jurat.policies.publication import PublishedBundle
from jurat.schemas.errors import (
    AuditError,
    BundleError,
    ConfigurationError,
    PolicyError,
    PolicyInputError,
    RecordInvalid,
)
from jurat.streams.kafka import Connection
from jurat.streams.policy_log import PolicyLog
from jurat.streams.policy_publishing import policies_partition
from jurat.streams.reading import read_to_end

MAX_BUNDLES: Final = 1_000
"""Bundles that are held: each at most 1.5 MB of text. A log of years has some hundred."""

MAX_ENGINES: Final = 50
"""Engines that are held: a log uses one bundle after the other, and each takes some megabytes."""

Files = Mapping[str, bytes]


class Rejudging:
    """Judges recorded inputs again. Satisfies `Rejudge`.

    Args:
        bundles: files of bundles, by their digest.
    """

    def __init__(self, bundles: Mapping[str, Files]) -> None:
        self._bundles = dict(bundles)
        self._engines: dict[str, PolicyEngine | str] = {}

    def __getstate__(self) -> dict[str, Files]:
        return self._bundles

    def __setstate__(self, bundles: dict[str, Files]) -> None:
        self._bundles, self._engines = bundles, {}

    def __call__(self, digest: str, normalised: dict[str, Any]) -> Again | str:
        """Judge a recorded policy input by the bundle with this digest.

        Raises:
            RecordInvalid: it has not the form of a policy input.
        """
        engine = self._engines.get(digest)
        if engine is None:
            engine = self._made(digest)
        if isinstance(engine, str):
            return engine
        try:
            judged = engine.rejudge(normalised)
        except PolicyInputError as error:
            raise RecordInvalid(f"the recorded policy input is none: {error}") from error
        return Again(judged.verdict, judged.policies)

    def _made(self, digest: str) -> PolicyEngine | str:
        files = self._bundles.get(digest)
        if files is None:
            return f"no policies with the digest {digest} were given (--policies)"
        if len(self._engines) >= MAX_ENGINES:
            self._engines.clear()
        try:
            engine: PolicyEngine | str = PolicyEngine(bundle_of(digest[:16], files))
        except BundleError as error:
            engine = f"the policies with the digest {digest} do not load: {str(error).splitlines()[0]}"
        self._engines[digest] = engine
        return engine


def bundles_in(folders: Iterable[Path]) -> dict[str, Files]:
    """The bundles in folders, by digest: each is the folder of a bundle, or one of such folders.

    Raises:
        ConfigurationError: there is none in one of them.
    """
    found: dict[str, Files] = {}
    for folder in folders:
        before = len(found)
        for one in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
            files, faults = read_folder(one)
            if files and not faults:
                found[digest_of(files)] = files
                if len(found) > MAX_BUNDLES:
                    raise ConfigurationError(
                        f"got more than {MAX_BUNDLES} policy bundles; name fewer folders"
                    )
        if len(found) == before:
            raise ConfigurationError(
                f"got no policy bundle in {folder} that was not given before, expected its folder or a folder of such"
                " folders; `jurat policy check` says what is wrong with one"
            )
    return found


async def bundles_published(connection: Connection, trust: Trust) -> dict[str, Files]:
    """The bundles on the topic of policies that a trusted key signed, by digest.

    Raises:
        StreamError: the topic cannot be read.
    """
    where = policies_partition(connection)
    log = PolicyLog(cluster_id="", topic=where.topic)
    found: dict[str, Files] = {}
    async with aclosing(read_to_end(connection, [where])) as records:
        async for record in records:
            # Activations are of no interest here, and what does not verify is no bundle.
            with suppress(AuditError, PolicyError):
                taken = log.take(record, trust)
                if isinstance(taken, PublishedBundle) and len(found) < MAX_BUNDLES:
                    found[taken.digest] = taken.files
    return found
