"""A zip file that has one form: names and bytes in, bytes out, and back. Pure.

Rules upheld here: parse then print is identity, so that no byte of a file can be changed without being noticed; nothing
is compressed, so that nothing can grow when it is read; a name can lead nowhere else, and nothing is ever written under
one; files and bytes are bounded.

Specified in `docs/spec/bundle.md`. Not here: what the files hold (`bundle.py`).
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Final

from jurat.schemas.errors import BundleInvalid

MAX_FILES: Final = 60_000
"""Below what needs the 64-bit form of zip, which is another form."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""Some 20,000 decisions with their proofs; all of it is held in memory, twice."""

MAX_FILE_BYTES: Final = 2 * MAX_BYTES
"""The zip file itself: its headers are small beside the files."""

MAX_NAME: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_ENTRY: Final = b"PK\x01\x02"
"""With this an entry of the directory begins; no file of a bundle holds these bytes, as all of them are text."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_MODE: Final = 0o100644 << 16

_FAULTS: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
    KeyError,
    IndexError,
    struct.error,
)
"""What `zipfile` says of hostile bytes: it promises no error of its own."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Print files as a zip file.

    Raises:
        BundleInvalid: a name is out of its form, or there is too much.
    """
    _check(files.keys(), sum(map(len, files.values())))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED, allowZip64=False) as made:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _MODE
            made.writestr(info, files[name])
    return data.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Read the files of a zip file.

    Returns:
        Their bytes by name.

    Raises:
        BundleInvalid: it is not exactly what `pack` prints.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BundleInvalid(f"got a bundle of more than {MAX_FILE_BYTES} bytes, expected fewer")
    # Before `zipfile` makes an object of each: a file of entries alone would take ten times its size.
    if data.count(_ENTRY) > MAX_FILES:
        raise BundleInvalid(f"got more than {MAX_FILES} files in a bundle, expected fewer")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as read:
            infos = read.infolist()
            _check((info.filename for info in infos), sum(info.file_size for info in infos))
            names = [info.filename for info in infos]
            if len(set(names)) != len(names):
                raise BundleInvalid("got the same name twice in a bundle, expected each file once")
            if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits for info in infos):
                raise BundleInvalid(
                    "got a compressed or encrypted file in a bundle, expected files as they are"
                )
            files = {info.filename: read.read(info) for info in infos}
    except _FAULTS as error:
        raise BundleInvalid(f"got what is no zip file of a bundle: {str(error)[:200]}") from error
    if pack(files) != data:
        raise BundleInvalid(
            "got a zip file in another form than its one form: order, times, modes, comments, or bytes between or"
            " around its files; a bundle that was packed again by other tools is not one any more"
        )
    return files


def _check(names: Iterable[str], size: int) -> None:
    found = list(names)
    if len(found) > MAX_FILES or size > MAX_BYTES:
        raise BundleInvalid(
            f"got {len(found)} files with {size} bytes, expected at most {MAX_FILES} with {MAX_BYTES}: choose fewer"
            " decisions"
        )
    for name in found:
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise BundleInvalid(
                f"got the name {name[:MAX_NAME]!r} in a bundle, expected parts of letters, digits, `.`, `_` and `-`"
            )
