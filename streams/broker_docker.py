"""The local broker as containers of a Docker engine, through the `docker` command.

Rules upheld here: the image is pinned by its tag and is Apache Kafka's own; ports are published on the
loopback address only; data live in the same folder as with Java, mounted into the container. Not here: the
services that `docker compose up` starts for people (docker-compose.yml).

Source: Apache Kafka docker/examples/README.md (names of the settings' environment variables, CLUSTER_ID).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data
from jurat.streams.broker_config import HEAP_MIB, ClusterPlan, common_settings
from jurat.streams.broker_jars import kafka_version
from jurat.streams.broker_state import HOST, EngineName, Node, Progress, RunningBroker

_ANSWER_S = 10.0  # an engine that does not tell its version in this time is not one to rely on
_COMMAND_S = 60.0  # starting, stopping and inspecting containers
_PULL_S = 900.0  # some 400 MB over a slow line
_DATA_IN_CONTAINER = "/var/lib/kafka/data"
_INTERNAL_PORT = 19092
_CONTROLLER_PORT = 19093
_IN_NAMES = {".": "_", "_": "__", "-": "___"}


def image() -> str:
    """The image, of the same release as the jars of the Java engine."""
    return f"apache/kafka:{kafka_version()}"


def engine_answers(environ: Mapping[str, str]) -> bool:
    """Tell whether there is a Docker engine: the command alone is not enough."""
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0 and bool(answer.stdout.strip())


def container_name(cluster_id: str, node_id: int) -> str:
    """The container's name, which is also its host name inside the network."""
    safe = "".join(character for character in cluster_id.lower() if character.isalnum())
    return f"jurat-kafka-{safe[:12]}-{node_id}"


def container_environment(plan: ClusterPlan, node: Node) -> dict[str, str]:
    """The environment by which the image is told its settings."""
    names = {other.node_id: container_name(plan.cluster_id, other.node_id) for other in plan.nodes}
    own_name = names[node.node_id]
    settings = {
        **common_settings(node, nodes=len(plan.nodes)),
        "controller.quorum.voters": ",".join(f"{i}@{name}:{_CONTROLLER_PORT}" for i, name in names.items()),
        # Inside the container every interface is the container's own; the host's side is bound to loopback.
        "listeners": f"PLAINTEXT://:{node.port},INTERNAL://:{_INTERNAL_PORT},CONTROLLER://:{_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port},INTERNAL://{own_name}:{_INTERNAL_PORT}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "log.dirs": _DATA_IN_CONTAINER,
        **plan.extra,
    }
    return {
        "CLUSTER_ID": plan.cluster_id,
        "KAFKA_HEAP_OPTS": f"-Xmx{HEAP_MIB[len(plan.nodes)]}m",
        **{variable_name(name): value for name, value in settings.items()},
    }


def variable_name(setting: str) -> str:
    """The environment variable of a server setting, as the image reads it."""
    return "KAFKA_" + "".join(_IN_NAMES.get(character, character) for character in setting).upper()


class DockerEngine:
    """Runs each node as a container.

    Args:
        environ: the environment of the `docker` command (DOCKER_HOST and the like).
    """

    name: EngineName = "docker"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    @property
    def kafka_version(self) -> str:
        """The release in the image's tag."""
        return kafka_version()

    def prepare(self, plan: ClusterPlan, *, progress: Progress) -> None:
        """Have the image, the network and the folders."""
        if self._run("image", "inspect", image(), check=False).returncode != 0:
            progress.say(f"pulling {image()}, once")
            self._run("pull", "--quiet", image(), within_s=_PULL_S)
        network = _network(plan.cluster_id)
        if self._run("network", "inspect", network, check=False).returncode != 0:
            self._run("network", "create", network)
        for node in plan.nodes:
            # The image runs as a user of its own, which must be able to write here; the folder above is ours.
            broker_data.kafka_dir(plan.data_dir, node.node_id).chmod(0o777)

    def launch(self, plan: ClusterPlan, node: Node) -> Node:
        """Start the node's container, in place of one of that name that was left behind."""
        name = container_name(plan.cluster_id, node.node_id)
        self._run("rm", "--force", name, check=False)
        variables = [f"--env={key}={value}" for key, value in container_environment(plan, node).items()]
        data = broker_data.kafka_dir(plan.data_dir, node.node_id).resolve()
        self._run(
            "run",
            "--detach",
            f"--name={name}",
            f"--hostname={name}",
            f"--network={_network(plan.cluster_id)}",
            f"--publish={HOST}:{node.port}:{node.port}",
            f"--volume={data}:{_DATA_IN_CONTAINER}",
            *variables,
            image(),
        )
        return Node(node.node_id, node.port, node.controller_port, name)

    def relaunch(self, broker: RunningBroker, node: Node) -> Node:  # noqa: ARG002 - of the seam
        """Start the node's container again."""
        self._run("start", node.handle)
        return node

    def is_alive(self, node: Node) -> bool:
        """Tell whether the container runs."""
        answer = self._run("inspect", "--format", "{{.State.Running}}", node.handle, check=False)
        return answer.returncode == 0 and answer.stdout.strip() == "true"

    def stop(self, nodes: Sequence[Node], *, within_s: float) -> tuple[Node, ...]:
        """Stop all containers; the engine itself sends SIGKILL when the time is over."""
        handles = [node.handle for node in nodes]
        self._run("stop", f"--time={int(within_s)}", *handles, within_s=within_s * len(nodes) + _COMMAND_S)
        return ()

    def kill(self, node: Node) -> None:
        """Kill the container."""
        self._run("kill", node.handle, check=False)

    def clean_up(self, broker: RunningBroker) -> None:
        """Remove the containers and their network."""
        self._run("rm", "--force", *(node.handle for node in broker.nodes), check=False)
        self._run("network", "rm", _network(broker.cluster_id), check=False)

    def follow(self, broker: RunningBroker, node: Node, *, lines: int) -> Iterator[str]:  # noqa: ARG002
        """Read on in the container's output."""
        command = ["docker", "logs", "--follow", f"--tail={lines}", node.handle]
        with subprocess.Popen(
            command, env=dict(self._environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield from (line.rstrip("\n") for line in process.stdout or ())
            finally:
                process.terminate()

    def last_words(self, plan: ClusterPlan, node: Node, *, lines: int) -> list[str]:
        """The end of the container's output."""
        name = container_name(plan.cluster_id, node.node_id)
        answer = self._run("logs", f"--tail={lines}", name, check=False)
        return (answer.stdout + answer.stderr).splitlines()[-lines:]

    def _run(
        self, *arguments: str, check: bool = True, within_s: float = _COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        try:
            answer = subprocess.run(
                ["docker", *arguments],
                env=dict(self._environ),
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise BrokerError(
                f"`docker {arguments[0]}` failed: {error}; another way is --engine java"
            ) from error
        if check and answer.returncode != 0:
            words = (answer.stderr or answer.stdout).strip()
            if "port is already allocated" in words or "address already in use" in words:
                words += "; choose another port with --port N"
            raise BrokerError(
                f"`docker {arguments[0]}` failed with exit code {answer.returncode}: {words}; another way is"
                " --engine java"
            )
        return answer


def _network(cluster_id: str) -> str:
    return container_name(cluster_id, 0).removesuffix("-0")
