"""`jurat audit bundle`: some decisions in a zip file that an auditor checks with no network and no Kafka.

Rules upheld here: what is no record is said and is no leaf; what no trusted key signed, and what stands in the log once
more, is said and is a leaf alone, so that whoever may write to the topic spoils no bundle; half a file never stands
under the name that was asked for. Nothing else is verified when a bundle is made, but that the log has the roots of its
checkpoints.

Not here: what a bundle holds (`jurat.audit.bundle_making`), whether it holds (`jurat.audit.bundle_verifier`).
"""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import orjson

from jurat.audit import bundle, bundle_verifier, dsse
from jurat.audit.bundle_making import BundleMaker
from jurat.audit.bundle_report import BundleReport
from jurat.audit.bundle_zip import MAX_FILE_BYTES
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.keys import Trust
from jurat.audit.log import Fault, LogEntry, Place
from jurat.audit.selection import Selection
from jurat.audit.tlog_policy import MAX_POLICY_BYTES
from jurat.cli.audit_selection import selection_options
from jurat.cli.audit_witnessed import read_policy
from jurat.cli.bundles import bundle_folder
from jurat.cli.disclosed import Hidden, disclosures_option, unveiler
from jurat.cli.files import read_whole, writing
from jurat.cli.log_entries import LOG_FILE, Connect, begun, checkpoints_of, log_entries
from jurat.cli.options import connect_options, moment_of
from jurat.cli.trust_option import Trusted, trust_options
from jurat.policies.folder import digest_of, shipped_bundle, shipped_bundles
from jurat.schemas.errors import AuditError, ChainBroken, ConfigurationError, TopicMissing
from jurat.schemas.shown import printable

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection

ZIP_START: Final = b"PK\x03\x04"
"""What tells a bundle from an export file: no line of an export begins so."""

SHOWN_FAULTS: Final = 20
"""Faults that are printed; `--json` has more."""

_PLAIN_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command(name="bundle", short_help="Write a zip file for an auditor.")
@connect_options
@click.option("--output", type=_PLAIN_FILE, required=True, help="Write the zip file here.")
@selection_options
@click.option("--input", "source", type=LOG_FILE, help="Read an export file instead of Kafka.")
@trust_options
@click.option(
    "--witness-policy", type=_PLAIN_FILE, help="Logs and witnesses; without it there are no proofs."
)
@click.option(
    "--history", "checkpoints", type=_PLAIN_FILE, help="Checkpoints from this file instead of Kafka."
)
@click.option(
    "--policies",
    "folders",
    multiple=True,
    metavar="BUNDLE",
    help="Also look for policies here: a bundle, or a folder of bundles; repeatable.",
)
@disclosures_option
@click.option(
    "--with-disclosures",
    is_flag=True,
    help="Include what veiled records hide, where it is at hand: it is personal.",
)
def command(
    connect: Connect,
    output: Path,
    wanted: Selection,
    source: Path | None,
    *,
    trusted: Trusted,
    witness_policy: Path | None,
    checkpoints: Path | None,
    folders: tuple[str, ...],
    disclosures: Path | None,
    with_disclosures: bool,
) -> None:
    """Write decisions, their proofs and their policies to a zip file for an auditor.

    `jurat audit verify FILE.zip --trust ... --witness-policy ...` verifies it with no Kafka; VERIFY.md in it tells
    how to check one record with openssl alone. With --input, nothing is read from Kafka: checkpoints come from
    --history.
    """
    if checkpoints is not None and witness_policy is None:
        raise click.UsageError("got --history without --witness-policy, which says whose checkpoints count")
    if source is not None and witness_policy is not None and checkpoints is None:
        raise click.UsageError(
            "got --input and --witness-policy without --history, expected the checkpoints in a file, too:"
            " jurat notary history --output FILE"
        )
    _check_free(output)
    policy = None
    if witness_policy is not None:
        read_policy(witness_policy)
        policy = read_whole(witness_policy, at_most=MAX_POLICY_BYTES)

    async def take() -> tuple[BundleMaker, Trust, tuple[bytes, ...], int]:
        async with begun(log_entries(source, connect)) as entries:
            read = await trusted.beside(source, connect)
            keys = trusted.under(read)
            maker = BundleMaker(keys, policy, statements=None if read is None else (read[0], read[2]))
            async with unveiler(source, connect, given=disclosures, trust=keys) as lifts:
                taking = _Taking(maker, wanted, lifts, trust=keys, with_disclosures=with_disclosures)
                await taking.read(entries)
                taking.hidden.tell()
        if maker.has_policy:
            async with aclosing(checkpoints_of(checkpoints, connect)) as notes:
                async for one in notes:
                    maker.checkpoint(one)
        return maker, keys, lifts.erasures, taking.unread + taking.hidden.withheld

    maker, keys, erasures, unread = asyncio.run(take())
    policies, missing = asyncio.run(
        _policies(maker.digests, folders, None if source is not None else connect(), keys)
    )
    data, proved = maker.made(policies, erasures=erasures)
    with writing(output) as file:
        file.write(data)
    for digest in missing:
        click.echo(
            f"jurat: the policies {digest} are not included: found nowhere; --policies names more", err=True
        )
    click.echo(f"{output}: {maker.records} records, {proved} of them under a witnessed checkpoint")
    click.echo(f"sha256 {sha256(data).hexdigest()}")
    if unread:
        raise AuditError(
            f"{unread} entries of the log are not in the bundle, and may belong into it; what is wrong with each is"
            " said above"
        )


def _check_free(output: Path) -> None:
    """Refuse to put a bundle in the place of what is none: another file was meant. Devices are written to."""
    if output.is_file() and output.stat().st_size and not _is_ours(output):
        raise ConfigurationError(
            f"the file {output} is there already and is no bundle, expected another name: it is left as it is"
        )


def _is_ours(file: Path) -> bool:
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(file) as read:
        return {bundle.MANIFEST, bundle.RECIPE} <= set(read.namelist())
    return False


class _Taking:
    """Reads the log.

    Attributes:
        hidden: records that hide whether they are asked for.
        unread: how many entries are no records, or none that can be shown.
    """

    def __init__(
        self,
        maker: BundleMaker,
        wanted: Selection,
        lifts: Unveiler,
        *,
        trust: Trust,
        with_disclosures: bool,
    ) -> None:
        self._maker = maker
        self._wanted = wanted
        self._lifts = lifts
        self._trust = trust
        self._with_disclosures = with_disclosures
        self._taken: set[bytes] = set()
        self.hidden = Hidden()
        self.unread = 0

    async def read(self, entries: AsyncIterator[LogEntry | Fault]) -> None:
        async for entry in entries:
            if isinstance(entry, Fault):
                self._leave_out(entry.place, f"no record, and no leaf: {entry.reason}")
            else:
                self._take(entry)

    def _take(self, entry: LogEntry) -> None:
        try:
            veiled = parse_any(entry.record.payload)
            statement = self._lifts.lift(veiled)
        except AuditError as error:
            self._leave_out(entry.place, f"no record: {error}")
            self._maker.leaf(entry, None)
            return
        if statement.is_veiled and self._wanted.subject is not None:
            self.hidden.add(statement, self._lifts)
            self._maker.leaf(entry, None)
            return
        record = statement.predicate
        if not self._wanted(record):
            self._maker.leaf(entry, None)
            return
        try:
            self._check(entry)
        except AuditError as error:
            self._leave_out(entry.place, str(error))
            self._maker.leaf(entry, None)
            return
        at_hand = self._lifts.disclosed if self._with_disclosures and veiled.is_veiled else None
        disclosed = None if at_hand is None else at_hand.of(record.decision_id)
        self._maker.leaf(entry, record, disclosures=disclosed)

    def _check(self, entry: LogEntry) -> None:
        dsse.verify(entry.record, self._trust)
        payload = sha256(entry.record.payload).digest()
        if payload in self._taken:
            raise ChainBroken("got a record that stands in the log before, byte by byte")
        self._taken.add(payload)

    def _leave_out(self, place: Place, why: str) -> None:
        click.echo(printable(f"jurat: left out: {place}: {why}"), err=True)
        self.unread += 1


async def _policies(
    digests: Iterable[str], folders: Iterable[str], live: Connection | None, trust: Trust
) -> tuple[dict[str, Mapping[str, bytes]], list[str]]:
    """The policy bundles of these digests, and which of them are nowhere."""
    from jurat.streams.rejudging import bundles_in, bundles_published  # noqa: PLC0415 - as above

    known = bundles_in(shipped_bundle(name) for name in shipped_bundles())
    for name in folders:
        with suppress(ConfigurationError):  # one that is known already
            known |= bundles_in([bundle_folder(name)])
    if live is not None and not known.keys() >= set(digests):
        with suppress(TopicMissing):
            known |= await bundles_published(live, trust)
    found = {digest: known[digest] for digest in digests if digest in known}
    return found, sorted(set(digests) - found.keys())


def is_bundle(file: Path) -> bool:
    """Tell whether a file is a zip file, so that it is no export.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read.
    """
    if str(file) == "-":
        return False
    if not file.exists():
        raise ConfigurationError(f"the file {file} cannot be read: there is none")
    if not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(len(ZIP_START)) == ZIP_START
    except OSError as error:
        raise ConfigurationError(f"the file {file} cannot be read: {error}") from error


def verified_bundle(file: Path, trusted: Trusted, witness_policy: Path | None) -> BundleReport:
    """What a bundle is worth.

    Raises:
        ConfigurationError: a file cannot be read, or the zip file is something else.
        PolicyFileInvalid: the witness policy is not of its form.
    """
    from jurat.streams.rejudging import Rejudging  # noqa: PLC0415 - as above

    policy = None if witness_policy is None else read_policy(witness_policy)
    trust, root = trusted.of_bundle()
    data = read_whole(file, at_most=MAX_FILE_BYTES)
    if not any(
        name.encode() in data for name in (bundle.MANIFEST, bundle.RECIPE)
    ):  # a bundle that broke has one
        raise ConfigurationError(
            f"{file} is a zip file, but not a bundle, expected one of `jurat audit bundle`"
        )
    return bundle_verifier.verify(data, trust, policy, digest_of=digest_of, rejudging=Rejudging, root=root)


def print_bundle_report(report: BundleReport, *, as_json: bool) -> None:
    """Print what a bundle is worth, for people or as JSON."""
    if as_json:
        click.echo(orjson.dumps(report.to_json(), option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(f"{report.verdict.value}: a bundle of {report.records} records")
    click.echo(f"  in the log, under a witnessed checkpoint: {report.proved}")
    click.echo(f"  their policies say the same again: {report.rejudged}")
    if report.withheld:
        click.echo(f"  veiled and NOT DISCLOSED: {report.withheld}; what is in them was not checked")
    if report.erased:
        click.echo(f"  veiled and erased, as a signed statement says: {report.erased}")
    for found in report.findings:
        click.echo(f"  {found.verdict.value} ({found.count}): {printable(str(found.first))}")
    for fault in report.faults[1:SHOWN_FAULTS]:
        click.echo(f"    also: {printable(str(fault))}")
    for head in report.heads:
        at = "no witness asked for" if head.time is None else f"witnessed at {moment_of(head.time)}"
        click.echo(f"  latest checkpoint: {head.partition}:{head.size}:{head.root.hex()}, {at}")
    if not report.is_recipe:
        click.echo("  VERIFY.md in it is not what this release writes: read it before you run any of it")
    click.echo("  A bundle does not show whether anything was left out of it: that takes the whole log.")
