"""The jars of the local broker: named in a lock file, fetched once per user, checked every time.

Rules upheld here: nothing is run whose sha256 is not in `kafka-jars.lock`; a file enters the cache whole and
checked, or not at all; what Maven has already fetched is taken from its repository. Not here: resolving
versions (the lock file is the resolution; docs/broker.md tells how it is made), and the address of any
repository: jgo knows its default and reads others from its own configuration. The only module that imports
jgo.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.resources
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jurat.schemas.errors import BrokerError
from jurat.streams.broker_data import check_space, full_disk
from jurat.streams.broker_state import Progress, cache_dir

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_RESOURCE = "kafka-jars.lock"
_SERVER = "org.apache.kafka:kafka_2.13"

_FETCHERS = 4  # enough to hide the round trips of forty small files, few enough to be a polite guest
_TIMEOUT_S = 30  # without a byte from the repository
_SLACK_BYTES = 16 * 1024 * 1024  # beside the jars themselves, for the staging folder


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def coordinate(self) -> str:
        """`group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """The name in the cache, which is also Maven's."""
        return f"{self.artifact}-{self.version}.jar"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """Read a lock file: one `sha256 size group:artifact:version` a line, `#` begins a comment.

    Raises:
        BrokerError: a line is something else.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            sha256, size, coordinate = line.split(" ")
            group, artifact, version = coordinate.split(":")
            digest_bytes = len(bytes.fromhex(sha256))
            jars.append(Jar(group, artifact, version, sha256, int(size)))
        except ValueError as error:
            raise BrokerError(
                f"{LOCK_RESOURCE}, line {number}: expected `sha256 size group:artifact:version` ({error})"
            ) from error
        if digest_bytes != hashlib.sha256().digest_size:
            raise BrokerError(
                f"{LOCK_RESOURCE}, line {number}: got a checksum of {digest_bytes} bytes, expected a sha256"
            )
    return tuple(jars)


def locked_jars() -> tuple[Jar, ...]:
    """The jars that this version of jurat runs."""
    text = importlib.resources.files("jurat.streams").joinpath(LOCK_RESOURCE).read_text(encoding="utf-8")
    return parse_lock(text)


def kafka_version() -> str:
    """The release of Apache Kafka in the lock file."""
    return next(jar.version for jar in locked_jars() if jar.coordinate.startswith(f"{_SERVER}:"))


def jars_dir(environ: Mapping[str, str]) -> Path:
    """The folder in which the jars are kept, flat; who has no network may fill it by hand."""
    return cache_dir(environ) / f"kafka-{kafka_version()}"


def ensure_jars(environ: Mapping[str, str], *, progress: Progress) -> tuple[Path, ...]:
    """Give the checked jars, fetching those that are missing.

    Raises:
        BrokerError: one cannot be had, is not what the lock file says, or has no room.
    """
    folder = jars_dir(environ)
    jars = locked_jars()
    missing = [jar for jar in jars if not (folder / jar.filename).exists()]
    if missing:
        total_bytes = sum(jar.size_bytes for jar in missing)
        progress.say(
            f"fetching Apache Kafka {kafka_version()}: {len(missing)} jars, {total_bytes / 1e6:.0f} MB, once"
        )
        _fetch(missing, folder, total_bytes=total_bytes, progress=progress)
    fetched = set(missing)
    for jar in jars:
        if jar not in fetched:
            check_jar(jar, folder / jar.filename)
    return tuple(folder / jar.filename for jar in jars)


def check_jar(jar: Jar, path: Path) -> None:
    """Raise unless the file is the jar of the lock file, byte for byte."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BrokerError(f"cannot read {path} ({error.strerror})", path=str(path)) from error
    if found != jar.sha256:
        raise BrokerError(
            f"the jar {jar.coordinate} is not what it should be: {path} has sha256 {found}, expected"
            f" {jar.sha256};"
            " it will not be run. Delete the file and try again",
            path=str(path),
            jar=jar.coordinate,
        )


def _fetch(missing: list[Jar], folder: Path, *, total_bytes: int, progress: Progress) -> None:
    """Fetch into a staging folder, check, move into the cache: a broken fetch leaves no broken jar behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, needed_bytes=total_bytes + _SLACK_BYTES)
        with (
            tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as staging,
            progress.downloading(f"Apache Kafka {kafka_version()}", total_bytes) as advance,
            ThreadPoolExecutor(_FETCHERS) as pool,
        ):
            context = _maven(Path(staging))

            def fetch(jar: Jar) -> None:
                _fetch_one(jar, folder / jar.filename, context)
                advance(jar.size_bytes)

            tasks = [pool.submit(fetch, jar) for jar in missing]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise full_disk(folder, needed_bytes=total_bytes + _SLACK_BYTES) from error
        raise BrokerError(
            f"cannot write the jars to {folder} ({error.strerror or error}); name a folder of your own in"
            " JURAT_CACHE_DIR",
            path=str(folder),
        ) from error


def _maven(staging: Path) -> MavenContext:
    """A context that writes to `staging` and looks into the user's Maven repository first."""
    # Imported here: jgo brings a third of a second of imports, and every jurat command loads this module.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    settings = GlobalSettings.load()
    return MavenContext(
        resolver=PythonResolver(),
        repo_cache=staging,
        local_repos=[settings.repo_cache],
        # As jgo itself does it: a repository that the user calls "central" takes the place of the default.
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        timeout=_TIMEOUT_S,
    )


def _fetch_one(jar: Jar, target: Path, context: MavenContext) -> None:
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    try:
        found = artifact.resolve()
    except (OSError, RuntimeError) as error:  # those of requests are OSErrors; jgo's own are RuntimeErrors
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise BrokerError(
            f"could not fetch {jar.coordinate} ({_first_line(error)}). The local broker needs its jars"
            " once: with a"
            f" network; or put the files that kafka-jars.lock names into {target.parent}; or start a"
            " Docker engine"
            " and use --engine docker; or give the address of a Kafka in JURAT_BOOTSTRAP_SERVERS. A mirror"
            " is set"
            " in jgo's configuration, section [repositories]; HTTPS_PROXY is honoured",
            jar=jar.coordinate,
        ) from error
    check_jar(jar, found)
    staged = context.repo_cache / f".{jar.filename}"
    if context.repo_cache in found.parents:
        staged = found
    else:
        staged.write_bytes(found.read_bytes())  # Maven's own copy stays where it is
    staged.replace(target)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
