"""A bundle of which anything was changed is never VALID, and nothing is raised but our errors."""

from __future__ import annotations

import re
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jurat.audit import bundle_zip
from jurat.audit.verifier_report import LogVerdict
from jurat.schemas.errors import BundleInvalid
from tests import bundle_stage as stage

SMALL = stage.bundle_of(stage.LOG, chosen={0, 3})
"""As few records as have proofs in both partitions: a flip is checked in milliseconds."""

FINE = re.compile(r"(?!.*(//|/\.|/$))[^./\\ä][^\\ä]*")
"""Another way to say which names a bundle may have, of these letters."""

NAMES = st.text(st.sampled_from("abc./-_0\\\\ä"), min_size=1, max_size=12)


@settings(max_examples=400)
@given(st.integers(0, 8 * len(SMALL) - 1))
def test_a_flipped_bit(bit: int) -> None:
    data = bytearray(SMALL)
    data[bit >> 3] ^= 1 << (bit & 7)
    assert stage.verify(bytes(data)).verdict is LogVerdict.INVALID


@settings(max_examples=200)
@given(st.sampled_from(sorted(stage.FILES)), st.data())
def test_a_flipped_bit_whose_digest_is_mended(name: str, data: st.DataObject) -> None:
    """Whoever mends the digests can change what is for reading; nothing else."""
    at = data.draw(st.integers(0, 8 * len(stage.FILES[name]) - 1))

    def flip(files: stage.Files) -> None:
        changed = bytearray(files[name])
        changed[at >> 3] ^= 1 << (at & 7)
        files[name] = bytes(changed)

    with suppress(ValueError):  # a manifest that is no JSON any more cannot be mended
        report = stage.verify(stage.mended(flip))
        is_read = name.startswith(("keys/", "VERIFY", "trust", "witness-policy", "manifest"))
        assert report.verdict is LogVerdict.INVALID or is_read
        assert report.verdict is not LogVerdict.VALID or report.records == 10


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, len(SMALL)), st.integers(0, 300))
def test_bytes_put_in_or_taken_out(piece: bytes, at: int, taken: int) -> None:
    data = SMALL[:at] + piece + SMALL[at + taken :]
    assert data == SMALL or stage.verify(data).verdict is LogVerdict.INVALID


@settings(max_examples=200)
@given(st.dictionaries(NAMES, st.binary(max_size=20), max_size=5))
@example({"a": b"", "a/b": b""})
def test_what_is_packed_is_unpacked(files: dict[str, bytes]) -> None:
    try:
        data = bundle_zip.pack(files)
    except BundleInvalid:
        assert not all(FINE.fullmatch(name) for name in files)
        return
    assert all(FINE.fullmatch(name) for name in files)
    assert bundle_zip.unpack(data) == files
    assert bundle_zip.pack(dict(reversed(files.items()))) == data
