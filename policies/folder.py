"""The folder of a policy bundle: which files it may hold, their bytes, and their digest.

Rules upheld here: a file that the format does not know is a fault, as it would be digested and mean nothing;
a link is one, as it would not be digested and could mean anything; so is a folder that cannot be listed, as its files
would be missed in silence; each file is read once.
Not here: what the files say (`bundle.py`).
"""

from __future__ import annotations

import hashlib
import importlib.resources
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jurat.policies.normal import printable
from jurat.schemas.errors import BundleError, ConfigurationError

SCHEMA_FILE = "schema.cedarschema"
ROLES_FILE = "roles.yaml"
OBJECTIVES_FILE = "objectives.yaml"
BUDGETS_FILE = "budgets.yaml"

_KNOWN_FILE = re.compile(
    rf"{re.escape(SCHEMA_FILE)}|{re.escape(ROLES_FILE)}|{re.escape(OBJECTIVES_FILE)}|{re.escape(BUDGETS_FILE)}"
    r"|[A-Za-z0-9][A-Za-z0-9_-]*\.cedar|tests/[A-Za-z0-9][A-Za-z0-9_-]*\.yaml"
)

MAX_FILES = 1_000
MAX_FILE_BYTES = 4_000_000
"""Bundles are published as one Kafka record and read by people; more than this is not a bundle."""


def shipped_bundles() -> tuple[str, ...]:
    """The names of the bundles that come with jurat, sorted."""
    root = _shipped_root()
    return tuple(sorted(schema.parent.name for schema in root.glob(f"*/{SCHEMA_FILE}")))


def shipped_bundle(name: str) -> Path:
    """The folder of a bundle that comes with jurat.

    Raises:
        ConfigurationError: there is none by that name.
    """
    if name not in shipped_bundles():
        known = ", ".join(shipped_bundles()) or "none"
        raise ConfigurationError(
            f"got the bundle {name!r}, expected a folder or one of the shipped ones: {known}"
        )
    # An editable installation links file by file; the folder behind the links is the bundle.
    return (_shipped_root() / name / SCHEMA_FILE).resolve().parent


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a publication takes as a bundle's name."""

_added: Final[dict[str, Path]] = {}


def add_bundles(folders: Mapping[str, Path]) -> None:
    """Make bundles of a project known to this process, by name.

    Raises:
        ConfigurationError: one has no name of a bundle, or that of another, or has no folder.
    """
    for name, folder in folders.items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"got the bundle {name!r}, expected the name of a folder: at most 64 letters, digits, `_` and `-`"
            )
        if name in shipped_bundles() or _added.get(name, folder) != folder:
            raise ConfigurationError(f"got the bundle {name!r} in {folder}, which is the name of another one")
        if not folder.is_dir():
            raise ConfigurationError(f"got no folder {folder}, expected the bundle {name} there")
        _added[name] = folder


def known_bundle(name: str) -> Path:
    """The folder of a bundle of this process: one of its project, else one that comes with jurat.

    Raises:
        ConfigurationError: there is none by that name.
    """
    if name in _added:
        return _added[name]
    if name not in shipped_bundles():
        known = ", ".join(sorted((*_added, *shipped_bundles()))) or "none"
        raise ConfigurationError(f"got the bundle {name!r}, expected a folder or one of: {known}")
    return shipped_bundle(name)


def _shipped_root() -> Path:
    return Path(str(importlib.resources.files("jurat.policies")))


def is_known_file(name: str) -> bool:
    """Tell whether a bundle may hold a file with this path."""
    return _KNOWN_FILE.fullmatch(name) is not None


def digest_of(files: Mapping[str, bytes]) -> str:
    """Digest a bundle's files.

    Args:
        files: contents by path, relative to the folder, with `/`.

    Returns:
        What this prints in the folder, as lower-case hex:
        `find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`
    """
    lines = [
        f"{hashlib.sha256(files[path]).hexdigest()}  ./{path}\n"
        for path in sorted(files, key=lambda path: path.encode())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_folder(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Read a bundle's files.

    Returns:
        Contents by path, relative to the folder, and the faults of the folder itself.

    Raises:
        BundleError: it is no folder, or cannot be listed.
    """
    if not folder.is_dir():
        raise BundleError(f"got {folder}, expected the folder of a policy bundle", bundle=folder.name)
    if why := _unlisted(folder):
        raise BundleError(f"the folder {folder} {why}", bundle=folder.name)
    files: dict[str, bytes] = {}
    faults: list[str] = []
    # Whatever folder is named, a home or a root even, no more of it is walked than a bundle may hold.
    found = list(itertools.islice(folder.rglob("*"), MAX_FILES + 1))
    if len(found) > MAX_FILES:
        return {}, [f"got more than {MAX_FILES} files and folders, expected a policy bundle"]
    for path in sorted(found):
        name = printable(path.relative_to(folder).as_posix())
        fault = _fault(path, name)
        if fault is not None:
            faults.append(fault)
        elif path.is_file():
            try:
                files[name] = path.read_bytes()
            except OSError as error:
                faults.append(f"{name}: cannot be read ({error.strerror}), expected a file that can")
    return files, faults


def _fault(path: Path, name: str) -> str | None:
    """What is wrong with something in a bundle's folder, before it is read."""
    if path.is_symlink():
        return f"{name}: got a symbolic link, expected a file: links are not digested"
    if path.is_dir():
        if name != "tests":
            return f"{name}/: got an unknown folder, expected only tests/; remove it"
        why = _unlisted(path)
        return f"{name}/: {why}" if why else None
    if not path.is_file():
        return f"{name}: got neither a file nor a folder; remove it"
    if not is_known_file(name):
        return f"{name}: got an unknown file, expected {_EXPECTED_FILES}; remove it"
    size = path.stat().st_size
    return f"{name}: got {size} bytes, expected at most {MAX_FILE_BYTES}" if size > MAX_FILE_BYTES else None


def _unlisted(folder: Path) -> str:
    """Why a folder cannot be listed; empty where it can. Walking it would pass over that without a word."""
    try:
        with os.scandir(folder):
            return ""
    except OSError as error:
        return f"cannot be listed ({error.strerror}), expected a folder that can"


_EXPECTED_FILES = f"{SCHEMA_FILE}, *.cedar, {ROLES_FILE}, {OBJECTIVES_FILE}, {BUDGETS_FILE} or tests/*.yaml"
