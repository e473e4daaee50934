"""The auditor's bundle: what one holds, and what it is worth."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from jurat.audit import bundle, bundle_verifier, bundle_zip, did_key
from jurat.audit.keys import Trust
from jurat.audit.log import LogEntry
from jurat.audit.record import Outcome, build, parse
from jurat.audit.verifier_report import LogVerdict
from jurat.policies.folder import digest_of, read_folder, shipped_bundle
from jurat.schemas.decision import decision_id_at
from jurat.schemas.errors import BundleInvalid, PolicyFileInvalid, ProofInvalid
from jurat.streams.rejudging import Rejudging
from tests import bundle_stage as stage
from tests.deciding_stage import decider, ended
from tests.golden.audit import sample_log
from tests.notary_stage import TIME


def test_an_honest_bundle_is_valid_with_the_time_of_the_quorum() -> None:
    report = stage.verify(stage.GOOD)
    assert report.faults == ()
    assert (report.verdict, report.records, report.proved) == (LogVerdict.VALID, 10, 10)
    assert [(head.partition, head.size, head.time) for head in report.heads] == [
        (0, 5, TIME + 5 + stage.QUORUM_TIME),
        (1, 5, TIME + 5 + stage.QUORUM_TIME),
    ]


def test_a_proof_is_under_the_earliest_checkpoint_that_holds_the_record() -> None:
    sizes = {}
    for name, data in stage.FILES.items():
        if name.endswith(".tlog-proof"):
            partition, index, _ = name.removeprefix("decisions/").split("-", 2)
            sizes[int(partition), int(index)] = int(data.partition(b"\n\n")[2].split(b"\n")[1])
    assert [sizes[0, index] for index in range(5)] == [3, 3, 3, 5, 5]
    assert [sizes[1, index] for index in range(5)] == [2, 2, 5, 5, 5]


def test_a_selection_is_as_good() -> None:
    report = stage.verify(stage.bundle_of(stage.LOG, chosen={4}))
    assert (report.verdict, report.records, report.proved) == (LogVerdict.VALID, 1, 1)
    names = bundle_zip.unpack(stage.bundle_of(stage.LOG, chosen={4}))
    assert [name for name in sorted(names) if name.startswith(("checkpoints", "keys"))] == [
        "checkpoints/0-3-5.consistency",
        "checkpoints/0-3.checkpoint",
        "checkpoints/0-5.checkpoint",
        f"keys/{sample_log.signer('after-sales').keyid.removeprefix('did:key:')}.pem",
    ]


def test_the_same_log_makes_the_same_bytes() -> None:
    """With the same checkpoints: signatures of ML-DSA-44 differ each time."""
    heads = stage.heads(stage.LOG, {0: (3, 5)})

    def made() -> bytes:
        maker = stage.maker(stage.LOG, policy=stage.POLICY)
        for head in heads:
            maker.checkpoint(head)
        return maker.made({})[0]

    assert made() == made()


def test_what_no_witnessed_checkpoint_holds_is_unproven() -> None:
    report = stage.verify(stage.bundle_of(stage.LOG, sizes={0: (3,), 1: (5,)}))
    assert (report.verdict, report.records, report.proved, report.faults) == (LogVerdict.UNPROVEN, 10, 8, ())
    made = stage.maker(stage.LOG, policy=stage.POLICY)
    made.checkpoint(stage.signed_head(stage.LOG, 0, 5, witnesses=("w1",)))
    data, proved = made.made({})
    assert proved == 0, "one of two witnesses is no quorum"
    assert stage.verify(data).verdict is LogVerdict.UNPROVEN


def test_without_a_witness_policy_nothing_is_proved() -> None:
    """Neither where the bundle was made without one, nor where who verifies has none."""
    data, proved = stage.maker(stage.LOG).made({})
    assert proved == 0
    assert stage.verify(data).verdict is LogVerdict.UNPROVEN
    assert (stage.verify(stage.GOOD, policy=None).verdict, stage.verify(stage.GOOD, policy=None).proved) == (
        LogVerdict.UNPROVEN,
        0,
    )


def test_a_bundle_without_records_proves_nothing() -> None:
    empty = bundle.write("audit.decisions", (), {})
    assert stage.verify(empty).verdict is LogVerdict.UNPROVEN
    with pytest.raises(BundleInvalid, match="no record for a bundle"):
        stage.maker(stage.LOG, chosen=()).made({})


def test_two_histories_of_one_chain() -> None:
    """A zombie writer: the same number of a chain twice, both signed well, both in the log."""
    log = sample_log.log(4)
    other = sample_log.record(
        "after-sales",
        offset=9,
        outcome=Outcome.DECIDED,
        head=sample_log.ChainHead().extend(log[0].record.payload),
    )
    payload = build(other, *sample_log.subject_of(other, 9))
    log.append(sample_log.sign(other, payload, by=sample_log.signer("after-sales"), at=(0, 8)))
    report = stage.verify(stage.bundle_of(log, sizes={0: (3,), 1: (2,)}))
    assert report.verdict is LogVerdict.INVALID
    assert "twice" in str(report.faults[0])


def test_a_record_of_another_clusters_log() -> None:
    """Clusters may share keys and names of topics: a trial's records are none of the shop's."""
    log = sample_log.log(2)
    other = sample_log.record("after-sales", offset=7, outcome=Outcome.DECIDED)
    moved = other.inputs[0].model_copy(
        update={"uri": other.inputs[0].uri.replace(sample_log.CLUSTER, "trial")}
    )
    name = decision_id_at("after-sales", "trial", topic=sample_log.INPUT_TOPIC, partition=0, offset=7)
    other = other.model_copy(update={"inputs": (moved,), "decision_id": name})
    payload = build(other, *sample_log.subject_of(other, 7))
    trial = sample_log.sign(other, payload, by=sample_log.signer("after-sales"), at=(0, 1))
    for policy in (stage.POLICY, None):
        report = stage.verify(stage.bundle_of([log[0], trial], sizes={0: (2,)}), policy=policy)
        assert report.verdict is LogVerdict.INVALID
        assert "inputs of the cluster trial" in str(report.faults[0])


def test_policies_are_those_of_their_digest_and_are_evaluated_again() -> None:
    """The shop's own bundle, on a decision that it judged; then on a record that says something else."""
    files, faults = read_folder(shipped_bundle("shop"))
    assert not faults
    digest = digest_of(files)
    log = evaluated_log(digest)
    made = stage.maker(log, policy=stage.POLICY)
    assert made.digests == {digest}
    data = stage.bundle_of(log, sizes={0: (1,)}, policies={digest: files})
    report = stage.verify(data)
    assert (report.verdict, report.rejudged) == (LogVerdict.VALID, 0), "nobody was there to evaluate"
    report = stage.verify(data, rejudging=Rejudging)
    assert (report.verdict, report.rejudged) == (LogVerdict.VALID, 1)
    otherwise = stage.bundle_of(
        evaluated_log(digest, policies=("somebody.else",)), sizes={0: (1,)}, policies={digest: files}
    )
    report = stage.verify(otherwise, rejudging=Rejudging)
    assert report.verdict is LogVerdict.INVALID
    assert "but the record says" in str(report.faults[0])
    changed = stage.mended(
        lambda found: found.update(
            {f"policies/{digest}/shipping.cedar": b"permit(principal, action, resource);"}
        ),
        data,
    )
    stage.refused(changed, "they are not that bundle")


def evaluated_log(digest: str, *, policies: tuple[str, ...] | None = None) -> list[LogEntry]:
    """One record, with what the shop's engine really said; or as if other policies had."""
    result, record, _ = asyncio.run(ended(replace(decider(), cluster_id=sample_log.CLUSTER)))
    assert record.policy is not None
    assert record.policy.digest == digest
    payload = result.draft.finish(sample_log.ChainHead())
    if policies is not None:
        said = parse(payload)
        last = record.proposals[-1].model_copy(update={"policies": policies})
        record = record.model_copy(update={"proposals": (*record.proposals[:-1], last)})
        payload = build(record, said.subject[0].name, said.subject[0].digest.sha256)
    return [sample_log.sign(record, payload, by=sample_log.signer(record.agent), at=(0, 0))]


def test_a_log_that_was_rewritten_makes_no_bundle() -> None:
    made = stage.maker(sample_log.log(10, outcomes=[Outcome.DENIED]), policy=stage.POLICY)
    with pytest.raises(ProofInvalid, match="the log was rewritten"):
        made.checkpoint(stage.signed_head(stage.LOG, 0, 5))


def test_a_checkpoint_beyond_what_was_read_is_passed_over() -> None:
    made = stage.maker(stage.LOG[:4], policy=stage.POLICY)
    made.checkpoint(stage.signed_head(stage.LOG, 0, 5))
    assert made.made({})[1] == 0


def test_what_a_maker_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PolicyFileInvalid):
        stage.maker(stage.LOG, policy=b"quorum")
    with pytest.raises(BundleInvalid, match="without a witness policy"):
        stage.maker(stage.LOG).checkpoint(stage.signed_head(stage.LOG, 0, 5))
    moved = sample_log.LogEntry("other", 0, 9, 0, stage.LOG[0].record)
    with pytest.raises(BundleInvalid, match="of the topic 'other'"):
        stage.maker([stage.LOG[0], moved])
    monkeypatch.setattr(bundle, "MAX_RECORDS", 3)
    with pytest.raises(BundleInvalid, match="more than 3 records"):
        stage.maker(stage.LOG)


def test_the_report_as_json() -> None:
    told = stage.verify(stage.GOOD).to_json()
    assert (told["verdict"], told["records"], told["proved"], told["findings"]) == ("VALID", 10, 10, [])
    assert json.loads(json.dumps(told)) == told
    broken = stage.verify(b"PK").to_json()
    assert broken["faults"] == [
        {"place": "the whole log", "reason": str(stage.verify(b"PK").faults[0].reason)}
    ]


def test_faults_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_verifier, "MAX_FAULTS", 3)
    report = stage.verify(stage.GOOD, trust=Trust(()))
    assert (report.findings[0].count, len(report.faults)) == (10, 3)


def test_another_dsse_accepts_a_record_of_the_bundle() -> None:
    """Securesystemslib reads the envelope from its file and verifies it with the key."""
    name = next(name for name in stage.FILES if name.endswith(".dsse.json"))
    envelope = Envelope.from_dict(json.loads(stage.FILES[name]))
    (keyid,) = envelope.signatures
    public = {"public": did_key.decode(keyid).hex()}
    key = SSlibKey(keyid=keyid, keytype="ed25519", scheme="ed25519", keyval=public)
    assert envelope.verify([key], threshold=1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], threshold=1)


SIGSTORE = Path(sys.prefix) / "node" / "node_modules" / "@sigstore" / "core"
SIGSTORE_VERIFIES = """
const { crypto, dsse } = require(process.argv[1]);
const { readFileSync } = require('fs');
const envelope = JSON.parse(readFileSync(process.argv[2]));
const key = crypto.createPublicKey(readFileSync(process.argv[3], 'utf8'));
const signed = dsse.preAuthEncoding(envelope.payloadType, Buffer.from(envelope.payload, 'base64'));
const signature = Buffer.from(envelope.signatures[0].sig, 'base64');
process.exit(crypto.verify(signed, key, signature) ? 0 : 3);
"""


@pytest.mark.skipif(
    not SIGSTORE.is_dir(), reason="@sigstore/core is not installed: `make sigstore`, which needs node and npm"
)
def test_sigstore_accepts_a_record_of_the_bundle(tmp_path: Path) -> None:
    """Sigstore's DSSE, in JavaScript, verifies the envelope with the key, both as they stand in the bundle."""
    folder = unpacked(tmp_path)
    (file,) = folder.glob("decisions/0-0-*.dsse.json")
    keyid = json.loads(file.read_bytes())["signatures"][0]["keyid"]
    key = folder / "keys" / f"{keyid.removeprefix('did:key:')}.pem"
    command = ["node", "-e", SIGSTORE_VERIFIES, str(SIGSTORE), str(file), str(key)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    file.write_bytes(file.read_bytes().replace(b"vnd.in-toto", b"vnd.in-toti"))
    assert subprocess.run(command, capture_output=True, check=False, timeout=180).returncode == 3


def unpacked(folder: Path) -> Path:
    for name, data in stage.FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def recipe() -> list[str]:
    """The three blocks that are run; the one above them names files of whoever verifies."""
    return re.findall(r"```sh\n(.*?)```", stage.FILES[bundle.RECIPE].decode(), re.DOTALL)


def run_recipe(
    folder: Path, record: str | None = None, *, shell: str = "sh"
) -> subprocess.CompletedProcess[str]:
    script = "\n".join(recipe())
    if record is not None:
        script = re.sub(r"^record=.*$", f"record={record}", script, flags=re.MULTILINE)
    return subprocess.run(
        [shell, "-eu", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=180
    )


NO_TOOLS = [tool for tool in ("openssl", "sha256sum") if shutil.which(tool) is None]
with_tools = pytest.mark.skipif(bool(NO_TOOLS), reason="the recipe of VERIFY.md needs openssl and sha256sum")


@with_tools
def test_the_recipe_of_the_bundle_as_it_stands(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    assert len(recipe()) == 3
    done = run_recipe(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2, "the record's, and the checkpoint's"
    assert f"Leaf 0 of 3 is in the tree of {stage.origin_of(0)}\n" in done.stdout
    assert (folder / "payload.json").read_bytes() == stage.LOG[0].record.payload


@with_tools
def test_the_recipe_for_each_record(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    for name in sorted(stage.FILES):
        if name.endswith(".dsse.json"):
            done = run_recipe(folder, name.removesuffix(".dsse.json"))
            assert done.returncode == 0, (name, done.stderr)
            partition, index, _ = name.removeprefix("decisions/").split("-", 2)
            assert f"Leaf {index} of " in done.stdout
            assert f"the tree of {stage.origin_of(int(partition))}\n" in done.stdout


@with_tools
@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("*.dsse.json", lambda data: data.replace(b'"sig":"', b'"sig":"AAAA', 1)),
        ("*.dsse.json", lambda data: data.replace(b'"payload":"', b'"payload":"AAAA', 1)),
        ("*.tlog-proof", lambda data: data.replace(b"index 0", b"index 1", 1)),
        ("*.tlog-proof", lambda data: data.replace(b"\n3\n", b"\n4\n", 1)),
        ("*.tlog-proof", lambda data: b"\n".join([*data.split(b"\n")[:2], *data.split(b"\n")[3:]])),
        ("*.tlog-proof", lambda data: data.replace(b"audit.example.com", b"audit.example.net", 1)),
    ],
    ids=["signature", "payload", "index", "size", "a hash less", "origin"],
)
def test_the_recipe_finds_what_was_changed(
    tmp_path: Path, what: str, change: Callable[[bytes], bytes]
) -> None:
    folder = unpacked(tmp_path)
    (file,) = folder.glob(f"decisions/0-0-{what}")
    file.write_bytes(change(file.read_bytes()))
    assert run_recipe(folder).returncode != 0


@with_tools
@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("number", ["x[$(touch taken)0]", "00", "1 0", ""])
def test_a_number_of_a_proof_is_no_command(tmp_path: Path, shell: str, number: str) -> None:
    """Some shells evaluate what stands in a variable in arithmetic."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    folder = unpacked(tmp_path)
    (file,) = folder.glob("decisions/0-0-*.tlog-proof")
    good = file.read_bytes()
    for old, new in ((b"index 0\n", f"index {number}\n"), (b"\n3\n", f"\n{number}\n")):
        file.write_bytes(good.replace(old, new.encode(), 1))
        done = run_recipe(folder, shell=shell)
        assert done.returncode != 0
        assert "No numbers" in done.stderr
        assert not (folder / "taken").exists()


@with_tools
def test_the_recipe_does_not_take_a_foreign_key(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    first, second = sorted(folder.glob("keys/*.pem"))
    swapped = first.read_bytes(), second.read_bytes()
    second.write_bytes(swapped[0])
    first.write_bytes(swapped[1])
    assert run_recipe(folder).returncode != 0
