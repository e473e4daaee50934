"""The parts of the local broker that touch this machine: folders, ports, sockets, processes; and its settings."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import struct
import sys
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas.errors import BrokerError
from jurat.streams import broker_data, broker_probe, broker_process
from jurat.streams.broker_config import ClusterPlan, host_settings, log4j2, new_cluster_id, properties
from jurat.streams.broker_state import Node


def plan_of(count: int, **extra: str) -> ClusterPlan:
    nodes = tuple(Node(number, 9091 + number, 20000 + number, "") for number in range(1, count + 1))
    return ClusterPlan(cluster_id="id", data_dir=Path("/data"), nodes=nodes, extra=extra)


@pytest.mark.parametrize(("count", "min_insync"), [(1, "1"), (3, "2")])
def test_settings_fit_the_number_of_nodes(count: int, min_insync: str) -> None:
    plan = plan_of(count)
    for node in plan.nodes:
        settings = host_settings(plan, node, log_dir=Path("/data/d"))
        assert settings["node.id"] == str(node.node_id)
        assert settings["advertised.listeners"] == f"PLAINTEXT://127.0.0.1:{node.port}"
        assert f"CONTROLLER://127.0.0.1:{node.controller_port}" in settings["listeners"]
        assert len(settings["controller.quorum.voters"].split(",")) == count
        for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            assert settings[f"{name}.replication.factor"] == str(count)
        assert settings["min.insync.replicas"] == settings["transaction.state.log.min.isr"] == min_insync
        assert settings["auto.create.topics.enable"] == "false"
        assert not any("0.0.0.0" in value for value in settings.values())


def test_the_callers_settings_win() -> None:
    plan = ClusterPlan("id", Path("/d"), plan_of(1).nodes, extra={"auto.create.topics.enable": "true"})
    assert host_settings(plan, plan.nodes[0], log_dir=Path("/d"))["auto.create.topics.enable"] == "true"


def test_properties_escape_what_java_would_read_otherwise() -> None:
    assert properties({"log.dirs": "C:\\data", "a": "b"}) == "log.dirs=C:\\\\data\na=b\n"


def test_log4j_file_is_xml_with_that_path() -> None:
    root = ET.fromstring(log4j2(Path('/da"ta/<$x>&/server.log')))
    appender = root.find("./Appenders/RollingFile")
    assert appender is not None
    assert appender.get("fileName") == '/da"ta/<$$x>&/server.log', "log4j reads $$ as a plain dollar"


@given(st.uuids())
def test_cluster_ids_are_as_kafka_makes_them(unique: uuid.UUID) -> None:
    cluster_id = new_cluster_id(unique)
    assert not cluster_id.startswith("-")
    assert len(base64.urlsafe_b64decode(cluster_id + "==")) == 16


def test_a_folder_keeps_its_cluster_id(tmp_path: Path) -> None:
    cluster_id = broker_data.open_data_dir(tmp_path / "data", nodes=1)
    assert broker_data.open_data_dir(tmp_path / "data", nodes=1) == cluster_id
    assert broker_data.open_data_dir(tmp_path / "other", nodes=1) != cluster_id


def test_a_folder_of_three_nodes_is_not_opened_with_one(tmp_path: Path) -> None:
    broker_data.open_data_dir(tmp_path, nodes=3)
    with pytest.raises(BrokerError, match=r"broker with 3 node.*--nodes 3"):
        broker_data.open_data_dir(tmp_path, nodes=1)


def test_a_strangers_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BrokerError, match=r"holds something else \(for one, thesis\.txt\)"):
        broker_data.open_data_dir(tmp_path, nodes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_clusters_data_are_refused(tmp_path: Path) -> None:
    cluster_id = broker_data.open_data_dir(tmp_path, nodes=1)
    meta = broker_data.kafka_dir(tmp_path, 1) / "meta.properties"
    meta.write_text(f"#\n#Thu Jan 01\nversion=1\ncluster.id={cluster_id}\nnode.id=1\n")
    assert broker_data.open_data_dir(tmp_path, nodes=1) == cluster_id
    meta.write_text("version=1\ncluster.id=somebody-elses\n")
    with pytest.raises(BrokerError, match=f"got somebody-elses, expected {cluster_id}"):
        broker_data.open_data_dir(tmp_path, nodes=1)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"cluster_id": "x"}', '{"cluster_id": "x", "nodes": "many"}']
)
def test_a_broken_cluster_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(BrokerError, match=r"cluster\.json does not name a cluster"):
        broker_data.open_data_dir(tmp_path, nodes=1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"cannot write in the broker's data folder .*file/data.*--data"):
        broker_data.open_data_dir(tmp_path / "file" / "data", nodes=1)


def test_a_full_disk_is_told_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=7 * 1024 * 1024))
    with pytest.raises(BrokerError, match="7 MiB free, 256 MiB needed"):
        broker_data.open_data_dir(tmp_path / "data", nodes=1)


def test_a_port_in_use_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"port {port} of 127\.0\.0\.1 is in use.*--port 0"):
            broker_data.plan_nodes(nodes=1, port=port)


def test_free_ports_are_distinct() -> None:
    nodes = broker_data.plan_nodes(nodes=3, port=0)
    ports = {node.port for node in nodes} | {node.controller_port for node in nodes}
    assert len(ports) == 6


def test_tail_and_follow_read_a_growing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_data, "_FOLLOW_PAUSE_S", 0)
    path = tmp_path / "log"
    assert broker_data.tail(path, lines=3) == []
    path.write_text("1\n2\n3\n")
    assert broker_data.tail(path, lines=2) == ["2", "3"]
    lines = broker_data.follow(path, lines=1)
    assert next(lines) == "3"
    with path.open("a") as file:
        file.write("4\n5")
    assert next(lines) == "4"
    path.write_text("new\n")
    assert next(lines) == "new", "a file that was rolled is read from its beginning, half a line is dropped"


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that reads one request a connection and sends what `answer` makes of it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(answer(connection.recv(4096)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def metadata(*ids: int) -> bytes:
    body = struct.pack(">ii", 1, len(ids))
    for broker_id in ids:
        body += struct.pack(">ih", broker_id, 9) + b"127.0.0.1" + struct.pack(">ih", 9092, -1)
    body += struct.pack(">ii", 1, 0)
    return struct.pack(">i", len(body)) + body


def test_probe_reads_the_live_brokers() -> None:
    with answering(lambda _request: metadata(1, 3)) as port:
        assert broker_probe.live_brokers("127.0.0.1", port, within_s=60) == {1, 3}


def test_probe_sends_what_the_protocol_says() -> None:
    requests: list[bytes] = []

    def keep(request: bytes) -> bytes:
        requests.append(request)
        return struct.pack(">iihi", 10, 1, 0, 0)

    with answering(keep) as port:
        assert broker_probe.answers("127.0.0.1", port, within_s=60)
    assert requests == [struct.pack(">ihhih", 21, 18, 0, 1, 11) + b"jurat-probe"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\x08\0\0\0\1",
        struct.pack(">iiiih", 14, 1, 9, 1, 9),
        b"\0" * 4,
    ],
)
def test_probe_takes_nonsense_for_no(answer: bytes) -> None:
    with answering(lambda _request: answer) as port:
        assert broker_probe.live_brokers("127.0.0.1", port, within_s=1) == frozenset()


def test_probe_takes_silence_for_no() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not broker_probe.answers("127.0.0.1", port, within_s=0.05)
        assert broker_probe.connects("127.0.0.1", port, within_s=1)
    assert not broker_probe.connects("127.0.0.1", port, within_s=1)


def spawn(tmp_path: Path, script: str) -> str:
    command = [sys.executable, "-c", script]
    return broker_process.spawn(command, environ=os.environ, output=tmp_path / "output")


def test_a_process_is_known_again_and_ended(tmp_path: Path) -> None:
    handle = spawn(tmp_path, "import time; print('here', flush=True); time.sleep(60)")
    assert broker_process.is_alive(handle)
    assert os.getsid(broker_process.pid_of(handle)) == broker_process.pid_of(handle), "survives its parent"
    assert broker_process.uptime_s(handle, now_s=time.time()) < 60
    assert broker_process.terminate([handle], within_s=60) == ()
    assert not broker_process.is_alive(handle)
    assert broker_process.terminate([handle], within_s=60) == ()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    handle = spawn(tmp_path, script)
    deadline = time.monotonic() + 60
    while not (tmp_path / "output").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert broker_process.terminate([handle], within_s=0.1) == (handle,)
    assert not broker_process.is_alive(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="the number of the system call is Linux's")
def test_a_process_lives_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    script = (
        "import ctypes, platform, socket, threading, time\n"
        "held = socket.create_server(('127.0.0.1', 0))\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print(held.getsockname()[1], flush=True)\n"
        "ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)  # the first thread alone ends\n"
    )
    handle = spawn(tmp_path, script)
    process = psutil.Process(broker_process.pid_of(handle))
    try:
        await_true(lambda: process.status() == psutil.STATUS_ZOMBIE)
        port = int((tmp_path / "output").read_text())
        assert not broker_data._is_free(port)
        assert broker_process.is_alive(handle)
    finally:
        broker_process.kill(handle)
    assert broker_data._is_free(port)
    assert not broker_process.is_alive(handle)


def await_true(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_pid_that_was_given_to_another_is_not_touched() -> None:
    handle = f"{os.getpid()}:1.00"
    assert not broker_process.is_alive(handle)
    broker_process.kill(handle)
    assert broker_process.terminate([handle], within_s=0) == ()
