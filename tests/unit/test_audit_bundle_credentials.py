"""A bundle whose keys have credentials: the root comes from outside, the trust log is in the bundle."""

from __future__ import annotations

from jurat.audit import bundle, bundle_zip
from jurat.audit.bundle_making import BundleMaker
from jurat.audit.keys import Trust, parse_trust
from jurat.audit.record import build
from jurat.audit.verifier_report import LogVerdict
from tests import bundle_stage as stage
from tests import trust_stage as identity
from tests.golden.audit import sample_log

NONE = Trust(())
WAITED = 1 + stage.QUORUM_TIME
"""From the time of the stage to the moment at which the quorum over one leaf was complete."""


def made(settled: identity.Settled, *, seen_at: int | None, lines: int | None = None) -> bytes:
    """A bundle with the organisation's one record, which the quorum saw then; with so many lines of its trust log."""
    record = settled.record()
    payload = build(record, *sample_log.subject_of(record, 0))
    entry = sample_log.sign(record, payload, by=identity.key("session 1"), at=(0, 0))
    log = settled.org
    maker = BundleMaker(log.log.trust(), stage.POLICY, statements=(log.pin, log.lines[:lines]))
    maker.leaf(entry, record)
    if seen_at is not None:
        maker.checkpoint(stage.signed_head([entry], 0, 1, time=seen_at - WAITED))
    return maker.made({})[0]


def worth(data: bytes, settled: identity.Settled) -> tuple[LogVerdict, str]:
    report = stage.verify(data, trust=NONE, root=settled.org.pin)
    return report.verdict, str(report.findings[0].first) if report.findings else ""


def test_the_session_is_good_while_its_credential_holds() -> None:
    settled = identity.settled()
    data = made(settled, seen_at=identity.t(minutes=5))
    assert worth(data, settled) == (LogVerdict.VALID, "")
    files = bundle_zip.unpack(data)
    assert files[bundle.TRUST_LOG] == b"".join(line + b"\n" for line in settled.org.lines)
    assert parse_trust(files[bundle.TRUST]) == NONE, "a trust file would pin the session's key without end"


def test_when_witnesses_saw_it_decides_and_not_what_it_says() -> None:
    settled = identity.settled()
    verdict, reason = worth(made(settled, seen_at=identity.t(hours=21)), settled)
    assert verdict is LogVerdict.INVALID
    assert "had expired when the record was witnessed" in reason
    verdict, reason = worth(made(settled, seen_at=None), settled)
    assert verdict is LogVerdict.UNPROVEN


def test_a_stolen_key_is_suspect_and_then_invalid() -> None:
    settled = identity.settled()
    before = made(settled, seen_at=identity.t(minutes=5))
    theft = settled.org.revocation(identity.AGENT, compromised_since=identity.at(hours=1))
    settled.org.add(identity.signed(theft, identity.ISSUER))
    assert worth(made(settled, seen_at=identity.t(minutes=5)), settled)[0] is LogVerdict.VALID
    assert worth(made(settled, seen_at=identity.t(hours=1.5)), settled)[0] is LogVerdict.SUSPECT
    assert worth(made(settled, seen_at=identity.t(hours=3)), settled)[0] is LogVerdict.INVALID
    assert worth(before, settled)[0] is LogVerdict.VALID, "a bundle from before does not know of it"


def test_the_root_comes_from_outside() -> None:
    settled = identity.settled()
    data = made(settled, seen_at=identity.t(minutes=5))
    report = stage.verify(data, trust=NONE)
    assert report.verdict is LogVerdict.INVALID
    assert "unknown key" in str(report.faults[0])
    other = identity.signed(
        identity.root(identity.TrustHead(sha256="0" * 64, size=0), org="other"), "alice", "bob"
    )
    report = stage.verify(data, trust=NONE, root=other)
    assert report.verdict is LogVerdict.INVALID
    assert stage.verify(data, trust=settled.org.log.trust()).verdict is LogVerdict.VALID, (
        "a log of one's own does, too"
    )


def test_a_trust_log_that_is_cut_or_missing() -> None:
    settled = identity.settled()
    for lines in (0, 1, 2, 3):
        verdict, reason = worth(made(settled, seen_at=identity.t(minutes=5), lines=lines), settled)
        assert verdict is LogVerdict.INVALID, reason
    data = stage.mended(
        lambda files: files.pop(bundle.TRUST_LOG) and None, made(settled, seen_at=identity.t(minutes=5))
    )
    assert worth(data, settled)[0] is LogVerdict.INVALID


def test_a_trust_log_with_a_statement_that_nobody_signed() -> None:
    settled = identity.settled()

    def swap(files: stage.Files) -> None:
        lines = files[bundle.TRUST_LOG].splitlines(keepends=True)
        files[bundle.TRUST_LOG] = b"".join([*lines[:-1], lines[-2]])

    verdict, reason = worth(stage.mended(swap, made(settled, seen_at=identity.t(minutes=5))), settled)
    assert verdict is LogVerdict.INVALID
    assert reason
