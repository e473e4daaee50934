"""The local broker's decisions, with an engine that runs nothing; and the command line."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli import broker as cli
from jurat.schemas.errors import BrokerError
from jurat.streams import broker_docker, broker_probe, broker_service, broker_state, local_broker
from jurat.streams.broker_config import ClusterPlan
from jurat.streams.broker_state import EngineName, Node, Progress, RunningBroker


class PaperEngine:
    """Runs nodes on paper: a node lives from its launch to its end."""

    name: EngineName = "java"
    kafka_version = "4.3.1"

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.launched = 0
        self.log = ["[now] INFO Log4jController MBean", "[now] INFO started"]
        self.fails_at: int | None = None

    def prepare(self, plan: ClusterPlan, *, progress: Progress) -> None:
        progress.say("preparing")

    def launch(self, plan: ClusterPlan, node: Node) -> Node:
        if node.node_id == self.fails_at:
            raise BrokerError(f"no node {node.node_id} today")
        self.launched += 1
        handle = f"{self.launched}:0"
        self.alive.add(handle)
        return Node(node.node_id, node.port, node.controller_port, handle)

    def relaunch(self, broker: RunningBroker, node: Node) -> Node:
        return self.launch(ClusterPlan.of(broker), node)

    def is_alive(self, node: Node) -> bool:
        return node.handle in self.alive

    def stop(self, nodes: Sequence[Node], *, within_s: float) -> tuple[Node, ...]:
        self.alive -= {node.handle for node in nodes}
        return ()

    def kill(self, node: Node) -> None:
        self.alive.discard(node.handle)

    def clean_up(self, broker: RunningBroker) -> None:
        pass

    def last_words(self, plan: ClusterPlan, node: Node, *, lines: int) -> list[str]:
        return self.log[-lines:]

    def follow(self, broker: RunningBroker, node: Node, *, lines: int) -> Iterator[str]:
        return iter(self.log)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PaperEngine:
    paper = PaperEngine()
    monkeypatch.setattr(local_broker, "_choose", lambda _choice, _environ: paper)
    monkeypatch.setattr(local_broker, "_engine", lambda _name, _environ: paper)
    monkeypatch.setattr(broker_probe, "live_brokers", lambda _host, _port, within_s: frozenset({1, 2, 3}))
    monkeypatch.setattr(broker_probe, "answers", lambda _host, _port, within_s: True)
    monkeypatch.setenv("JURAT_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("JURAT_BOOTSTRAP_SERVERS", raising=False)
    return paper


def test_up_starts_once_and_is_found(engine: PaperEngine) -> None:
    first = local_broker.up(port=0)
    assert first.started
    assert local_broker.find_running() == first.broker
    second = local_broker.up()
    assert (second.started, second.broker) == (False, first.broker)
    assert engine.launched == 1


@pytest.mark.parametrize(
    ("wish", "said"),
    [({"nodes": 3}, "1 node"), ({"port": 1}, "not 1"), ({"data_dir": Path("/elsewhere")}, "not /elsewhere")],
)
def test_up_refuses_another_broker_than_the_one_that_runs(
    engine: PaperEngine, wish: dict[str, object], said: str
) -> None:
    local_broker.up(port=0)
    with pytest.raises(BrokerError, match=rf"is up already at .*{said}.*jurat broker down"):
        local_broker.up(**wish)  # type: ignore[arg-type]


def test_up_starts_the_node_that_died_among_three(engine: PaperEngine) -> None:
    before = local_broker.up(nodes=3, port=0).broker
    engine.kill(before.node(2))
    result = local_broker.up()
    assert result.started
    assert [node.handle for node in result.broker.nodes] == ["1:0", "4:0", "3:0"]
    assert result.broker.bootstrap_servers == before.bootstrap_servers
    assert local_broker.find_running() == result.broker


@pytest.mark.parametrize("nodes", [1, 3])
def test_up_waits_for_a_node_that_is_ending_and_starts_it_again(
    engine: PaperEngine, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    before = local_broker.up(nodes=nodes, port=0).broker
    dying, asked = before.node(1), []

    def answers(_host: str, port: int, *, within_s: float) -> bool:
        """Its last thread ends after it was asked three times."""
        if port != dying.port or engine.launched > nodes:
            return True
        asked.append(port)
        if len(asked) == 3:
            engine.kill(dying)
        return False

    monkeypatch.setattr(broker_probe, "answers", answers)
    monkeypatch.setattr(broker_service, "_POLL_S", 0)
    result = local_broker.up()
    assert result.started
    assert result.broker.node(1).handle == f"{nodes + 1}:0"
    assert result.broker.bootstrap_servers == before.bootstrap_servers
    assert engine.launched == nodes + 1


def test_up_does_not_wait_for_ever_for_a_node_that_neither_answers_nor_ends(
    engine: PaperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_broker.up(port=0)
    monkeypatch.setattr(broker_probe, "answers", lambda _host, _port, within_s: False)
    monkeypatch.setattr(broker_probe, "live_brokers", lambda _host, _port, within_s: frozenset())
    monkeypatch.setattr(local_broker, "ENDING_S", 0)
    monkeypatch.setattr(local_broker, "READY_WITHIN_S", 0)
    with pytest.raises(BrokerError, match="runs but did not serve within 0 s"):
        local_broker.up()


def test_down_stops_and_forgets(engine: PaperEngine) -> None:
    local_broker.up(nodes=3, port=0)
    assert local_broker.down().was_alive
    assert engine.alive == set()
    assert local_broker.find_running() is None
    with pytest.raises(BrokerError, match="nothing to stop"):
        local_broker.down()


def test_down_of_a_broker_that_died_says_so(engine: PaperEngine) -> None:
    local_broker.up(port=0)
    engine.alive.clear()
    assert not local_broker.down().was_alive


def test_the_same_folder_keeps_its_cluster(engine: PaperEngine) -> None:
    first = local_broker.up(port=0).broker
    local_broker.down()
    assert local_broker.up(port=0).broker.cluster_id == first.cluster_id


def test_a_folder_in_use_is_refused(engine: PaperEngine, tmp_path: Path) -> None:
    running = local_broker.start(data_dir=tmp_path / "data")
    with pytest.raises(BrokerError, match=f"in use by a broker that runs at {running.bootstrap_servers}"):
        local_broker.start(data_dir=tmp_path / "data")
    local_broker.stop(running)
    local_broker.start(data_dir=tmp_path / "data")


def test_a_start_that_fails_half_way_leaves_nothing_running(engine: PaperEngine, tmp_path: Path) -> None:
    engine.fails_at = 3
    with pytest.raises(BrokerError, match="no node 3"):
        local_broker.start(data_dir=tmp_path / "data", nodes=3)
    assert engine.launched == 2
    assert engine.alive == set()


def test_two_nodes_are_refused(engine: PaperEngine, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="1 or 3 nodes, not 2"):
        local_broker.start(data_dir=tmp_path / "data", nodes=2)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("[t] ERROR java.io.IOException: No space left on device", "the disk is full"),
        ("[t] ERROR java.net.BindException: Address already in use", "a port was taken"),
        ("[t] ERROR Failed to acquire lock on file .lock", "another broker is using"),
        ("java.lang.OutOfMemoryError: Java heap space", "too little memory"),
        ("[t] ERROR something new", "see its words"),
    ],
)
def test_a_death_at_the_start_is_explained(
    engine: PaperEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, cause: str
) -> None:
    engine.log = ["[t] ERROR of an earlier start", "Log4jController MBean", "[t] INFO fine", line, "\tat x.y"]
    monkeypatch.setattr(engine, "is_alive", lambda _node: False)
    with pytest.raises(BrokerError, match=cause) as caught:
        local_broker.start(data_dir=tmp_path / "data")
    assert line in str(caught.value)
    assert "earlier start" not in str(caught.value)


def test_a_broker_that_never_serves_is_ended(
    engine: PaperEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(broker_probe, "live_brokers", lambda _host, _port, within_s: frozenset())
    with pytest.raises(BrokerError, match="did not serve within 0 s"):
        local_broker.start(data_dir=tmp_path / "data", ready_within_s=0)
    assert engine.alive == set()


def test_three_nodes_are_awaited_until_each_knows_all(
    engine: PaperEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = iter([{1}, {1, 2}, {1, 2, 3}] + [{1, 2, 3}] * 9)
    asked = []

    def live(_host: str, port: int, *, within_s: float) -> frozenset[int]:
        asked.append(port)
        return frozenset(next(answers))

    monkeypatch.setattr(broker_probe, "live_brokers", live)
    monkeypatch.setattr(broker_service, "_POLL_S", 0)
    local_broker.start(data_dir=tmp_path / "data", nodes=3)
    assert len(asked) == 6, "a round in which two nodes lacked a broker, and one in which none did"


def test_a_node_that_is_not_there_is_named(engine: PaperEngine, tmp_path: Path) -> None:
    broker = local_broker.start(data_dir=tmp_path / "data", nodes=3)
    with pytest.raises(BrokerError, match="no node 4 in the local broker; its nodes: 1, 2, 3"):
        local_broker.kill_node(broker, 4)


def test_docker_is_asked_for_only_when_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_docker, "engine_answers", lambda _environ: False)
    assert local_broker._choose("auto", {}).name == "java"
    with pytest.raises(BrokerError, match="no Docker engine answers"):
        local_broker._choose("docker", {})
    monkeypatch.setattr(broker_docker, "engine_answers", lambda _environ: True)
    assert local_broker._choose("auto", {}).name == "docker"
    assert local_broker._choose("java", {}).name == "java"


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("given", ["localhost", "127.0.0.1:", ":9092", "127.0.0.1:http", "a:1,b"])
def test_an_address_must_be_host_and_port(given: str) -> None:
    with pytest.raises(BrokerError, match=r"not host:port|no Kafka listens"):
        local_broker.use_given(given)


def test_a_dead_address_is_an_error() -> None:
    with pytest.raises(BrokerError, match=r"no Kafka listens at 127\.0\.0\.1:1,"):
        local_broker.use_given("127.0.0.1:1")


def test_cli_up_with_an_address_starts_nothing(engine: PaperEngine, listener: str) -> None:
    environment = {"JURAT_BOOTSTRAP_SERVERS": f"127.0.0.1:1,{listener}"}
    result = CliRunner().invoke(cli.command, ["up"], env=environment, catch_exceptions=False)
    assert result.exit_code == 0
    assert "nothing was started" in result.output
    assert engine.launched == 0


def test_cli_tells_what_runs(engine: PaperEngine) -> None:
    runner = CliRunner()
    assert runner.invoke(cli.command, ["status"]).exit_code == 1
    up = runner.invoke(cli.command, ["up", "--port", "0"], catch_exceptions=False)
    broker = local_broker.find_running()
    assert broker is not None
    assert broker.bootstrap_servers in up.stdout
    assert broker.bootstrap_servers in runner.invoke(cli.command, ["status"], catch_exceptions=False).stdout
    assert (
        runner.invoke(cli.command, ["logs", "-n", "1"], catch_exceptions=False).stdout
        == "[now] INFO started\n"
    )
    assert len(runner.invoke(cli.command, ["logs", "-f"], catch_exceptions=False).stdout.splitlines()) == 2
    assert "its data stay" in runner.invoke(cli.command, ["down"], catch_exceptions=False).stdout


def test_cli_status_of_a_dead_broker_is_a_failure(engine: PaperEngine) -> None:
    local_broker.up(port=0)
    engine.alive.clear()
    result = CliRunner().invoke(cli.command, ["status"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "is not running" in result.stdout


def test_cli_logs_without_a_broker(engine: PaperEngine) -> None:
    with pytest.raises(BrokerError, match="no log to show"):
        CliRunner().invoke(cli.command, ["logs"], catch_exceptions=False)


def test_state_survives_a_round_trip_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    nodes = (Node(1, 9092, 20001, "17:1.25"), Node(2, 9093, 20002, "18:1.5"))
    broker = RunningBroker("java", "4.3.1", "id", tmp_path / "data", nodes)
    assert broker_state.read(tmp_path) is None
    broker_state.write(broker, tmp_path)
    assert broker_state.read(tmp_path) == broker
    assert [path.name for path in tmp_path.iterdir()] == ["broker.json"], "no temporary file stays"
    assert broker.bootstrap_servers == "127.0.0.1:9092,127.0.0.1:9093"

    path = tmp_path / "broker.json"
    whole = path.read_text()
    for bad in (
        "",
        "{}",
        "[]",
        whole.replace('"format": 1', '"format": 2'),
        whole.replace('"java"', '"k8s"'),
    ):
        path.write_text(bad)
        with pytest.raises(BrokerError, match=r"broker\.json cannot be read"):
            broker_state.read(tmp_path)
    broker_state.clear(tmp_path)
    broker_state.clear(tmp_path)
    assert broker_state.read(tmp_path) is None


def test_folders_come_from_the_environment(tmp_path: Path) -> None:
    environ = {"JURAT_STATE_DIR": str(tmp_path / "s"), "JURAT_CACHE_DIR": str(tmp_path / "c")}
    assert broker_state.state_dir(environ) == tmp_path / "s"
    assert broker_state.cache_dir(environ) == tmp_path / "c"
    assert broker_state.default_data_dir(environ, nodes=3) == tmp_path / "s" / "kafka-3"
    assert broker_state.state_dir({}).name == "jurat"


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BrokerError, match=r"cannot write in .*file/x.*JURAT_STATE_DIR"),
        broker_state.locked(tmp_path / "file" / "x"),
    ):
        pass
