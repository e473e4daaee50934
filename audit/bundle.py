"""The auditor's bundle: names of its files, its manifest, and what a reader may rely on before anything is verified.

Rules upheld here: the manifest names every file with its digest, and every file is of a kind that is known; the parts
of a name say what the manifest says. Nothing is verified here, and nothing in a bundle is ever trusted.

Specified in `docs/spec/bundle.md`. Not here: the zip file (`bundle_zip.py`), making one (`bundle_making.py`), whether
it holds (`bundle_verifier.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from jurat.audit import bundle_zip
from jurat.audit.checkpoint import HASH_SIZE
from jurat.audit.tlog_proof import MAX_HASHES
from jurat.schemas import b64, canonical
from jurat.schemas.errors import BundleInvalid, CanonicalError

FORMAT: Final = "urn:jurat:bundle:v1"
MANIFEST: Final = "manifest.json"
RECIPE: Final = "VERIFY.md"
TRUST: Final = "trust.json"
TRUST_ROOT: Final = "root.json"
TRUST_LOG: Final = "trust-log.jsonl"
WITNESS_POLICY: Final = "witness-policy.txt"
ERASURES: Final = "erasures.jsonl"
KEYS: Final = "keys/"

MAX_RECORDS: Final = 20_000
"""Two files each, and 8 KB with the proof: what the bounds of the zip file hold."""

MAX_PROOF_HASHES: Final = 2 * MAX_HASHES + 2
"""The longest consistency proof of trees whose sizes fit into 63 bits, and more."""

_NUMBER: Final = "0|[1-9][0-9]{0,18}"
_RECORD: Final = re.compile(rf"(?P<partition>{_NUMBER})-(?P<index>{_NUMBER})-(?P<id>[A-Za-z0-9_]{{1,100}})")
_CHECKPOINT: Final = re.compile(rf"checkpoints/(?P<partition>{_NUMBER})-(?P<size>{_NUMBER})\.checkpoint")
_CONSISTENCY: Final = re.compile(
    rf"checkpoints/(?P<partition>{_NUMBER})-(?P<size1>{_NUMBER})-(?P<size2>{_NUMBER})\.consistency"
)
_POLICY: Final = re.compile(r"policies/(?P<digest>[0-9a-f]{64})/(?P<path>.+)")
_KEY: Final = re.compile(rf"{KEYS}z[A-Za-z0-9]{{1,100}}\.pem")


@dataclass(frozen=True, slots=True)
class Listed:
    """A record as the manifest lists it; the offset is a claim."""

    name: str
    partition: int
    offset: int
    index: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle of the right form.

    Attributes:
        topic: the audit topic that it says it is of.
        records: sorted by partition and index.
        files: bytes by name.
        checkpoints: signed checkpoints by partition and size.
        consistency: proofs by partition and the two sizes.
        policies: files of policy bundles by digest and path.
    """

    topic: str
    records: tuple[Listed, ...]
    files: Mapping[str, bytes]
    checkpoints: Mapping[tuple[int, int], bytes]
    consistency: Mapping[tuple[int, int, int], tuple[bytes, ...]]
    policies: Mapping[str, Mapping[str, bytes]]


def record_name(partition: int, index: int, decision_id: str) -> str:
    """The name of a record, without its folder and endings.

    Raises:
        BundleInvalid: its decision id cannot be part of one.
    """
    name = f"{partition}-{index}-{decision_id}"
    if not _RECORD.fullmatch(name):
        raise BundleInvalid(f"got the decision id {decision_id[:100]!r}, which cannot name a file")
    return name


def envelope_file(name: str) -> str:
    """Where a record stands."""
    return f"decisions/{name}.dsse.json"


def proof_file(name: str) -> str:
    """Where its proof stands."""
    return f"decisions/{name}.tlog-proof"


def disclosures_file(name: str) -> str:
    """Where the disclosures of a veiled record stand."""
    return f"decisions/{name}.disclosures.json"


def checkpoint_file(partition: int, size: int) -> str:
    """Where a checkpoint stands."""
    return f"checkpoints/{partition}-{size}.checkpoint"


def consistency_file(partition: int, size1: int, size2: int) -> str:
    """Where the proof stands that ties two checkpoints together."""
    return f"checkpoints/{partition}-{size1}-{size2}.consistency"


def print_hashes(hashes: Iterable[bytes]) -> bytes:
    """Print the hashes of a consistency proof."""
    return b"".join([b64.encode(one).encode() + b"\n" for one in hashes])


def write(topic: str, records: Iterable[Listed], files: Mapping[str, bytes]) -> bytes:
    """Print a bundle: the files, and the manifest above them.

    Raises:
        BundleInvalid: it is too large, or a name is out of its form.
    """
    manifest = {
        "files": {name: sha256(data).hexdigest() for name, data in files.items()},
        "format": FORMAT,
        "records": [
            {"index": one.index, "name": one.name, "offset": one.offset, "partition": one.partition}
            for one in sorted(records, key=_place)
        ],
        "topic": topic,
    }
    return bundle_zip.pack({**files, MANIFEST: canonical.dumps(manifest)})


def read(data: bytes) -> Bundle:
    """Read a bundle.

    1. it is a zip file in its one form; 2. the manifest is of its form; 3. it names all files with their digests;
    4. each file is of a known kind; 5. each record is there, and its name says what the manifest says.

    Raises:
        BundleInvalid: one of these does not hold.
    """
    files = bundle_zip.unpack(data)  # 1
    if MANIFEST not in files:
        raise BundleInvalid(f"got a bundle without {MANIFEST}")
    topic, records, digests = _manifest(files[MANIFEST])  # 2
    held = {name: sha256(content).hexdigest() for name, content in files.items() if name != MANIFEST}
    if digests != held:  # 3
        odd = min(digests.items() ^ held.items())[0]
        raise BundleInvalid(
            f"got {odd[:200]!r} added, removed, renamed or changed: the manifest names another file or digest"
        )
    found = _sorted_out(files, records)  # 4
    for one in records:  # 5
        said = _RECORD.fullmatch(one.name)
        if said is None or (int(said["partition"]), int(said["index"])) != (one.partition, one.index):
            raise BundleInvalid(f"got the record {one.name[:200]!r}, whose name is of another place")
        if envelope_file(one.name) not in files:
            raise BundleInvalid(f"got the record {one.name!r} in the manifest, but not in the bundle")
    return Bundle(topic, records, files, *found)


def _place(record: Listed) -> tuple[int, int, str]:
    return record.partition, record.index, record.name


def _manifest(data: bytes) -> tuple[str, tuple[Listed, ...], dict[str, str]]:
    try:
        fields = canonical.loads_object(data)
    except CanonicalError as error:
        raise BundleInvalid(f"got a manifest that is not canonical JSON: {error}") from error
    match fields:
        case {
            "files": dict(files),
            "format": str(kind),
            "records": list(listed),
            "topic": str(topic),
            **others,
        } if not others and kind == FORMAT and len(listed) <= MAX_RECORDS:
            records = tuple([_listed(one) for one in listed])
            if list(records) == sorted(records, key=_place):
                return topic, records, {name: str(digest) for name, digest in files.items()}
    raise BundleInvalid(
        f"got a manifest of another form than files, format {FORMAT}, at most {MAX_RECORDS} records in order, and topic"
    )


def _listed(entry: canonical.JsonValue) -> Listed:
    match entry:
        case {
            "index": int(index),
            "name": str(name),
            "offset": int(offset),
            "partition": int(partition),
            **others,
        } if not others and all(type(one) is int and one >= 0 for one in (index, offset, partition)):
            return Listed(name, partition, offset, index)
    raise BundleInvalid(
        "got a record in the manifest with other members than index, name, offset and partition"
    )


def _sorted_out(
    files: Mapping[str, bytes], records: Iterable[Listed]
) -> tuple[
    dict[tuple[int, int], bytes], dict[tuple[int, int, int], tuple[bytes, ...]], dict[str, dict[str, bytes]]
]:
    checkpoints: dict[tuple[int, int], bytes] = {}
    consistency: dict[tuple[int, int, int], tuple[bytes, ...]] = {}
    policies: dict[str, dict[str, bytes]] = {}
    known = {MANIFEST, RECIPE, TRUST, TRUST_ROOT, TRUST_LOG, WITNESS_POLICY, ERASURES}
    known |= {file(one.name) for one in records for file in (envelope_file, proof_file, disclosures_file)}
    for name, data in files.items():
        if name in known or _KEY.fullmatch(name):
            continue
        if found := _CHECKPOINT.fullmatch(name):
            checkpoints[int(found["partition"]), int(found["size"])] = data
        elif found := _CONSISTENCY.fullmatch(name):
            sizes = int(found["size1"]), int(found["size2"])
            consistency[(int(found["partition"]), *sizes)] = _hashes(name, data)
        elif found := _POLICY.fullmatch(name):
            policies.setdefault(found["digest"], {})[found["path"]] = data
        else:
            raise BundleInvalid(f"got the file {name!r}, which is of no kind that a bundle holds")
    return checkpoints, consistency, policies


def _hashes(name: str, data: bytes) -> tuple[bytes, ...]:
    try:
        hashes = tuple([b64.decode(line) for line in data.decode().splitlines()])
    except ValueError as error:
        raise BundleInvalid(f"got {name!r} with a line that is not base64 in its one form") from error
    if len(hashes) > MAX_PROOF_HASHES or any(len(one) != HASH_SIZE for one in hashes):
        raise BundleInvalid(f"got {name!r} with a hash that is not {HASH_SIZE} bytes, or too many")
    if print_hashes(hashes) != data:
        raise BundleInvalid(f"got {name!r} in another form than its one form")
    return hashes
