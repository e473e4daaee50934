"""The zip file of a bundle: one form, and nothing that a hostile one can do."""

from __future__ import annotations

import io
import warnings
import zipfile

import pytest

from jurat.audit import bundle_verifier, bundle_zip
from jurat.audit.verifier_report import LogVerdict
from jurat.policies.folder import digest_of
from jurat.schemas.errors import BundleInvalid
from tests import bundle_stage as stage
from tests.golden.audit import sample_log

GOOD = stage.bundle_of()


def zip_of(*files: tuple[str, bytes], **options: object) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(data, "w", **options) as made:  # type: ignore[call-overload]  # options of ZipFile
        warnings.simplefilter("ignore")  # that a name stands there twice
        for name, content in files:
            made.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, made.compression)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no zip file"),
        (GOOD[:-1], "no zip file|another form"),
        (GOOD + b"\0", "no zip file|another form"),
        (b"\0" + GOOD, "another form"),
        (zip_of(("../x", b"")), r"got the name '\.\./x'"),
        (zip_of(("/etc/passwd", b"")), "got the name"),
        (zip_of(("a/../../x", b"")), "got the name"),
        (zip_of(("a//x", b"")), "got the name"),
        (zip_of(("a/", b"")), "got the name"),
        (zip_of(("C:x", b"")), "got the name"),
        (zip_of(("a\\x", b"")), "got the name"),
        (zip_of((".x", b"")), "got the name"),
        (zip_of(("ä", b"")), "got the name"),
        (zip_of(("x" * 201, b"")), "got the name"),
        (zip_of(("manifest.json", b"{}"), ("manifest.json", b"{}")), "the same name twice"),
        (zip_of(("manifest.json", b"{}")), "another form"),
        (
            zip_of(("zeros", bytes(10_000_000)), compression=zipfile.ZIP_DEFLATED),
            "a compressed or encrypted file",
        ),
    ],
)
def test_a_hostile_zip_file(data: bytes, reason: str) -> None:
    with pytest.raises(BundleInvalid, match=reason):
        bundle_zip.unpack(data)
    report = bundle_verifier.verify(data, sample_log.trust(), None, digest_of=digest_of)
    assert report.verdict is LogVerdict.INVALID


def test_a_zip_file_that_says_it_is_larger_than_it_is() -> None:
    """The sizes are added up before a byte is read."""
    data = bytearray(bundle_zip.pack({"a": b"x"}))
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (bundle_zip.MAX_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(BundleInvalid, match=f"{bundle_zip.MAX_BYTES + 1} bytes, expected at most"):
        bundle_zip.unpack(bytes(data))


def test_the_bounds_of_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_zip, "MAX_FILES", 2)
    with pytest.raises(BundleInvalid, match="got 3 files"):
        bundle_zip.pack(dict.fromkeys("abc", b""))
    with pytest.raises(BundleInvalid, match="more than 2 files"):
        bundle_zip.unpack(GOOD)
    monkeypatch.setattr(bundle_zip, "MAX_FILE_BYTES", 10)
    with pytest.raises(BundleInvalid, match="got a bundle of more than 10 bytes"):
        bundle_zip.unpack(GOOD)


def test_every_file_of_the_zip_is_stored_as_it_is() -> None:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as read:
        assert read.testzip() is None
        assert read.namelist() == sorted(read.namelist())
        assert {info.compress_type for info in read.infolist()} == {zipfile.ZIP_STORED}
    assert bundle_zip.pack(bundle_zip.unpack(GOOD)) == GOOD
