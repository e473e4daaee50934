"""A sample log with its checkpoints, and bundles of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256

from jurat.audit import bundle, bundle_verifier, bundle_zip, tlog_policy
from jurat.audit.bundle_making import BundleMaker
from jurat.audit.bundle_report import BundleReport
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.keys import Trust
from jurat.audit.log import LogEntry
from jurat.audit.origin import Origin
from jurat.audit.record import parse
from jurat.audit.verifier_report import LogVerdict
from jurat.policies.folder import digest_of
from jurat.schemas import canonical
from tests.golden.audit import sample_log
from tests.notary_stage import KEY, TIME, InMemoryWitness, signed_by, tree_of

Files = dict[str, bytes]
WITNESSES = ("w1", "w2", "w3")
QUORUM_TIME = 20
"""After `TIME` plus the size: when the second of two was in."""


def origin_of(partition: int, *, topic: str = sample_log.AUDIT_TOPIC) -> str:
    return str(Origin("example.com", sample_log.CLUSTER, topic, partition))


def witness_policy(*, witnesses: Sequence[str] = WITNESSES, enough: int = 2) -> bytes:
    lines = [f"log {vkey}" for number in range(2) for vkey in KEY.log_vkeys(origin_of(number))]
    lines += [f"witness {name} {InMemoryWitness(name).vkey}" for name in witnesses]
    lines += [f"group enough {enough} {' '.join(witnesses)}", "quorum enough"]
    return ("\n".join(lines) + "\n").encode()


def signed_head(
    entries: Sequence[LogEntry],
    partition: int,
    size: int,
    *,
    witnesses: Collection[str] = WITNESSES,
    topic: str = sample_log.AUDIT_TOPIC,
    time: int = TIME,
) -> bytes:
    """The checkpoint of so many of a partition's records; the witnesses sign one after the other, 10 s apart."""
    tree = tree_of([entry.leaf() for entry in entries if entry.partition == partition])
    head = Checkpoint(origin_of(partition, topic=topic), size, tree.root(size))
    times = [
        (name, time + size + 10 * number)
        for number, name in enumerate(WITNESSES, start=1)
        if name in witnesses
    ]
    return signed_by(head, witnesses=times)


def heads(entries: Sequence[LogEntry], sizes: Mapping[int, Sequence[int]]) -> list[bytes]:
    return [signed_head(entries, partition, size) for partition, each in sizes.items() for size in each]


def maker(
    entries: Sequence[LogEntry], *, chosen: Collection[int] | None = None, policy: bytes | None = None
) -> BundleMaker:
    """With all records, or those at these places of the log."""
    made = BundleMaker(sample_log.trust(), policy)
    for number, entry in enumerate(entries):
        record = parse(entry.record.payload).predicate if chosen is None or number in chosen else None
        made.leaf(entry, record)
    return made


def bundle_of(
    entries: Sequence[LogEntry] | None = None,
    *,
    chosen: Collection[int] | None = None,
    sizes: Mapping[int, Sequence[int]] | None = None,
    policies: Mapping[str, Mapping[str, bytes]] | None = None,
) -> bytes:
    """A bundle of the sample log, under checkpoints of these sizes of each partition."""
    log = sample_log.log(10) if entries is None else entries
    made = maker(log, chosen=chosen, policy=witness_policy())
    for head in heads(log, {0: (3, 5), 1: (2, 5)} if sizes is None else sizes):
        made.checkpoint(head)
    return made.made(policies or {})[0]


LOG = sample_log.log(10)
GOOD = bundle_of(LOG)
FILES = bundle_zip.unpack(GOOD)
POLICY = witness_policy()


def verify(
    data: bytes,
    *,
    trust: Trust | None = None,
    policy: bytes | None = POLICY,
    rejudging: bundle_verifier.Rejudging | None = None,
    root: bytes | None = None,
) -> BundleReport:
    return bundle_verifier.verify(
        data,
        trust or sample_log.trust(),
        None if policy is None else tlog_policy.parse(policy),
        digest_of=digest_of,
        rejudging=rejudging,
        root=root,
    )


def mended(change: Callable[[Files], None], data: bytes = GOOD) -> bytes:
    """A bundle that somebody changed, who mends the manifest's digests, too."""
    files = bundle_zip.unpack(data)
    change(files)
    manifest = json.loads(files.pop(bundle.MANIFEST))
    manifest["files"] = {name: sha256(content).hexdigest() for name, content in files.items()}
    return bundle_zip.pack({**files, bundle.MANIFEST: canonical.dumps(manifest)})


def manifest_changed(change: Callable[[dict[str, object]], None]) -> bytes:
    files = dict(FILES)
    manifest = json.loads(files[bundle.MANIFEST])
    change(manifest)
    return bundle_zip.pack({**files, bundle.MANIFEST: canonical.dumps(manifest)})


def refused(data: bytes, reason: str, *, trust: Trust | None = None, policy: bytes | None = POLICY) -> None:
    report = verify(data, trust=trust, policy=policy)
    assert report.verdict is LogVerdict.INVALID
    assert any(re.search(reason, str(fault)) for fault in report.faults), [
        str(fault) for fault in report.faults
    ]
