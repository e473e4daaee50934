"""`jurat demo`: the whole way once, on a real Kafka, and a check that can fail.

A shop publishes orders, payments and disputes; three agents decide; every decision is shown with the policies that
decided it; the audit log is replayed, verified, and tampered with in copies.

The exit code is 0 only if every published input has its record, the honest log is VALID, and every tampering was
found where it was done. Verifying and telling are done by `jurat audit` itself, with the arguments that are printed.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console

from jurat import settings
from jurat.audit import dsse, export
from jurat.audit.key_store import TRUST_FILE, load_signer
from jurat.audit.log import LogEntry, Place
from jurat.cli import audit
from jurat.cli.demo_board import Board, Decided, LineBoard, LiveBoard
from jurat.cli.demo_live import Script, play, prepare
from jurat.cli.demo_stage import AGENT_NAMES, Stage, stage_of_our_own
from jurat.cli.demo_tampering import Copy, Log
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import StreamError

LEAST_ORDERS: Final = 40
"""With fewer, some agent may have nothing to decide."""

MOST_ORDERS: Final = 10_000
"""A demo is watched, and its events are held in memory; `jurat simulate` has no such bound."""

EXIT_INTERRUPTED: Final = 130
ROOT_SHOWN: Final = 16
"""Hex digits of a root that are shown."""

Json = dict[str, Any]


@click.command("demo")
@click.option(
    "--orders",
    type=click.IntRange(LEAST_ORDERS, MOST_ORDERS),
    default=300,
    show_default=True,
    help="How many orders are placed; each makes about five events.",
)
@click.option("--seed", type=int, default=3, show_default=True, help="Another seed is another shop.")
@click.option("--keep", is_flag=True, help="Leave Kafka, topics, keys and exports, to look around.")
@click.pass_context
def command(ctx: click.Context, *, orders: int, seed: int, keep: bool) -> None:
    """See the whole way once: events, decisions, records, verification, tampering.

    Uses the Kafka of JURAT_BOOTSTRAP_SERVERS or the local one that is up, else starts one for as long as it takes.
    It works in a namespace and with keys of its own and takes everything away at the end.

    Exit code: 0 all held, 1 something did not.
    """
    began_s = time.monotonic()
    try:
        with stage_of_our_own(_tell, keep=keep) as stage:
            faults = _run(stage, Script(seed=seed, orders=orders))
            if keep:
                _tell_what_is_kept(stage)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\njurat: interrupted; what was started is stopped", err=True)
        ctx.exit(EXIT_INTERRUPTED)
    _tell(f"it took {time.monotonic() - began_s:.1f} s" + ("" if keep else "; nothing of it is left behind"))
    if faults:
        for fault in faults:
            click.secho(f"FAILED: {fault}", fg="red")
        ctx.exit(1)
    _tell_what_to_try()


def _run(stage: Stage, script: Script) -> list[str]:
    """Everything between Kafka's start and its end.

    Returns:
        What did not hold, in words; empty when everything did.
    """
    _tell(f"namespace {stage.connection.namespace}, fresh keys for {len(AGENT_NAMES)} agents")
    _head("The agents start")
    ready_s = time.monotonic()
    asyncio.run(prepare(stage, script))
    _tell(f"{', '.join(AGENT_NAMES)} and the context stream: ready in {time.monotonic() - ready_s:.1f} s")
    _head(f"The shop is open: {sum(script.published.values())} events come in")
    board: Board = LiveBoard(Console(highlight=False)) if sys.stdout.isatty() else LineBoard()
    with board:
        shown = asyncio.run(play(stage, script, board))
    stage.children.stop()
    _head("The log is replayed and verified")
    audit_folder = _AuditFolder(stage)
    report = audit_folder.export()
    faults = _check_honest(report, script, shown)
    _head("One decision, as the log tells it")
    faults += audit_folder.show(_worth_telling(shown))
    _head("Copies of the log are tampered with, each by someone who mends sums, offsets and forms")
    copies = audit_folder.tampered()
    missed = [
        fault
        for number, copy in enumerate(copies, start=1)
        if (fault := audit_folder.try_to_deceive(number, copy, report)) is not None
    ]
    _head("In short")
    counts = ", ".join(f"{board.tally.of(verdict)} {verdict}" for verdict in Verdict)
    knew = sum(decided.knew_the_customer for decided in shown)
    _tell(
        f"{sum(script.inputs.values())} inputs, {report['records']} signed records, {len(shown)} decisions"
        f" ({counts}); {knew} of them read a customer's profile"
    )
    caught = len(copies) - len(missed)
    _tell(f"the honest log is {report['verdict']}; {caught} of {len(copies)} tamperings were caught")
    return [*faults, *missed]


class _AuditFolder:
    """The exported log and its tampered copies, handed to `jurat audit`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log = stage.folder / "log.jsonl"
        self._decisions = stage.folder / "decisions.jsonl"
        self._trust = stage.keys / TRUST_FILE

    def export(self) -> Json:
        """Replay the topic to a file and verify it; print what came out.

        Returns:
            The report.
        """
        connection = self._stage.connection
        where = ("--bootstrap-servers", connection.bootstrap_servers, "--namespace", connection.namespace)
        files = ("--output", str(self._log), "--decisions", str(self._decisions))
        _tell(f"$ jurat audit replay --output {self._log.name} --decisions {self._decisions.name}")
        code, _output = _jurat_audit("replay", *files, *where)
        if code != 0:
            raise StreamError(f"the audit topic could not be replayed: exit code {code}")
        _tell(
            f"$ jurat audit verify {self._log.name} --decisions {self._decisions.name} --trust {TRUST_FILE}"
        )
        report = self._verify(self._log, "--decisions", str(self._decisions))
        _tell_verdict(report, f"{report['records']} records, {report['decisions']} decision events")
        for head in report["treeHeads"]:
            partition, size, root = head.split(":")
            _tell(f"         tree head of partition {partition}: {size} records, root {root[:ROOT_SHOWN]}...")
        return report

    def show(self, decided: Decided) -> list[str]:
        """Print the story of a decision.

        Returns:
            What did not hold.
        """
        _tell(f"$ jurat audit show {decided.decision.id}")
        source = ("--input", str(self._log), "--trust", str(self._trust))
        code, text = _jurat_audit("show", decided.decision.id, *source)
        for line in text.splitlines():
            _tell(line)
        return (
            [] if code == 0 else [f"the record of {decided.decision.id}, which was shown, was not verified"]
        )

    def tampered(self) -> tuple[Copy, ...]:
        """The copies."""
        registry = settings.schema_registry()
        try:
            lines = self._log.read_bytes().splitlines()
            entries: list[LogEntry] = [export.parse_entry(line, n) for n, line in enumerate(lines, start=1)]
            log = Log(entries, self._decisions.read_bytes().splitlines(), ids=registry)
            number, payload = log.unsigned_rewrite()
            signer = load_signer(self._stage.keys, log.agent_of(number))
            signed = asyncio.run(dsse.sign(payload, signer, chain=entries[number].record.chain))
            return (
                log.with_a_verdict_changed(),
                log.with_a_record_deleted(),
                log.with_two_swapped(),
                log.with_a_decision_changed(),
                log.with_the_end_cut_off(),
                log.with_a_rewrite(number, signed),
            )
        finally:
            if registry is not None:
                registry.close()

    def try_to_deceive(self, number: int, copy: Copy, honest: Json) -> str | None:
        """Have a copy verified; print what came out.

        Returns:
            What is wrong with the verifier's answer, None when it found the right place.
        """
        file = self._stage.folder / "tampered.jsonl"
        file.write_bytes(b"".join(export.print_entry(entry) + b"\n" for entry in copy.entries))
        options = []
        if copy.only_by_heads:
            for head in honest["treeHeads"]:
                options += ["--tree-head", head]
        else:
            lines = self._stage.folder / "tampered-decisions.jsonl"
            lines.write_bytes(b"".join(line + b"\n" for line in copy.decisions))
            options += ["--decisions", str(lines)]
        report = self._verify(file, *options)
        with_heads = "; checked against the tree heads above" if copy.only_by_heads else ""
        _tell(f"{number}. {copy.what}{with_heads}")
        fault = report["firstFault"] or {}
        named = Place(fault.get("topic"), fault.get("partition"), fault.get("offset"))
        _tell_verdict(report, f"{named}: {fault['reason']}" if fault else "nothing was found")
        return copy.missed(report["verdict"], named)

    def _verify(self, file: Path, *options: str) -> Json:
        _code, text = _jurat_audit("verify", str(file), "--trust", str(self._trust), "--json", *options)
        report: Json = orjson.loads(text)
        return report


def _jurat_audit(*words: str) -> tuple[int, str]:
    """Run `jurat audit WORDS...` in this process: exit code and standard output."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = audit.command.main(list(words), prog_name="jurat audit", standalone_mode=False)
    return int(code or 0), output.getvalue()


def _check_honest(report: Json, script: Script, shown: list[Decided]) -> list[str]:
    faults = []
    if report["verdict"] != "VALID":
        faults.append(f"the log as it was written is {report['verdict']}: {report['firstFault']}")
    if report["agents"] != {name: count for name, count in script.inputs.items() if count}:
        faults.append(
            f"got records {report['agents']}, expected one for each published input: {script.inputs}"
        )
    if report["decisions"] != len(shown):
        faults.append(
            f"got {report['decisions']} decision events in the log, expected the {len(shown)} that were shown"
        )
    return faults


def _worth_telling(shown: list[Decided]) -> Decided:
    """The first decision of the most telling kind: on a known customer, reconsidered, not allowed."""

    def interest(decided: Decided) -> tuple[bool, ...]:
        return (
            decided.knew_the_customer,
            decided.was_reconsidered,
            decided.decision.verdict is not Verdict.ALLOW,
        )

    if not shown:
        raise StreamError("no decision was made at all: simulate more orders")
    return max(shown, key=interest)


def _tell(line: str) -> None:
    click.echo(f"  {line}".rstrip())


def _head(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _tell_verdict(report: Json, text: str) -> None:
    colour = {"VALID": "green", "INVALID": "red"}.get(report["verdict"], "yellow")
    _tell(f"{click.style(report['verdict'], fg=colour, bold=True)}  {text}")


def _tell_what_is_kept(stage: Stage) -> None:
    connection = stage.connection
    _head("Kept, to look around")
    _tell(f"export JURAT_BOOTSTRAP_SERVERS={connection.bootstrap_servers}")
    _tell(f"export JURAT_NAMESPACE={connection.namespace} JURAT_KEYS_DIR={stage.keys}")
    if stage.broker is not None:
        _tell(f"to stop that Kafka: JURAT_STATE_DIR={stage.broker.data_dir} {_program()} broker down")
    _tell(
        f"the log, the decisions and what the agents said are in {stage.folder}: remove it when you are done"
    )


def _tell_what_to_try() -> None:
    program = _program()
    _head("What to try next")
    for line in (
        f"{program} broker up && {program} topics apply   # a Kafka that stays",
        f"{program} worker payment-retrier   # an agent; Ctrl-C stops it",
        f"{program} simulate --orders 300   # a shop, from another terminal",
        f"{program} subscribe decisions.payment-retrier --from-beginning",
        f"{program} audit verify --with-decisions   # the log of all that",
    ):
        _tell(line)


def _program() -> str:
    """What to type for `jurat`: its name where it is on PATH, else where it stands."""
    if shutil.which("jurat"):
        return "jurat"
    own = Path(sys.argv[0])
    if own.name != "jurat":
        return "jurat"
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)
