"""docker-compose.yml, checked without a Docker engine: its schema, and the rules by which its parts fit."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema  # type: ignore[import-untyped]

from jurat.streams.broker_config import HEAP_MIB, common_settings
from jurat.streams.broker_docker import image, variable_name
from jurat.streams.broker_state import Node

ROOT = Path(__file__).parents[2]
SERVICES = ("kafka", "prometheus", "schema-registry")

# name@digest or name:tag, the tag with at least one dot: "latest", "4" and "main" move under one's feet.
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)*(@sha256:[0-9a-f]{64})?$")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    # The schema names its draft by an address that jsonschema does not list, so the draft is named here.
    jsonschema.Draft7Validator(schema).validate(json.loads(json.dumps(compose)))


def test_the_services_are_the_documented_ones(compose: dict[str, Any]) -> None:
    assert sorted(compose["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_pinned_watched_and_private(compose: dict[str, Any], service: str) -> None:
    declared = compose["services"][service]
    assert PINNED.match(declared["image"]), declared["image"]
    assert declared["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(declared["healthcheck"])
    assert declared["hostname"] == service
    for port in declared["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port), f"{port}: published elsewhere than on loopback"


def test_ports_do_not_meet(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_exists(compose: dict[str, Any], service: str) -> None:
    for mount in compose["services"][service].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert mount.endswith(":ro")
        else:
            assert source in compose["volumes"]


@pytest.mark.parametrize("service", SERVICES)
def test_who_is_waited_for_exists_and_is_healthy(compose: dict[str, Any], service: str) -> None:
    for other, wish in compose["services"][service].get("depends_on", {}).items():
        assert "healthcheck" in compose["services"][other]
        assert wish == {"condition": "service_healthy"}


def test_kafka_is_the_release_and_has_the_settings_of_the_local_broker(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    assert kafka["image"] == image()
    assert kafka["environment"]["KAFKA_HEAP_OPTS"] == f"-Xmx{HEAP_MIB[1]}m"
    expected = common_settings(Node(1, 9092, 19093, ""), nodes=1)
    for name, value in expected.items():
        assert kafka["environment"][variable_name(name)] == value, name


def test_kafkas_listeners_agree_with_each_other_and_with_the_ports(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    environment = kafka["environment"]

    def parsed(value: str) -> dict[str, tuple[str, str]]:
        pairs = (entry.split("://") for entry in value.split(","))
        return {name: (address.rpartition(":")[0], address.rpartition(":")[2]) for name, address in pairs}

    listeners = parsed(environment["KAFKA_LISTENERS"])
    advertised = parsed(environment["KAFKA_ADVERTISED_LISTENERS"])
    protocols = dict(
        entry.split(":") for entry in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert set(protocols) == set(listeners)
    assert set(advertised) == set(listeners) - {environment["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    for name, (host, port) in advertised.items():
        assert port == listeners[name][1]
        assert host == ("127.0.0.1" if name == "PLAINTEXT" else kafka["hostname"])
    assert [f"127.0.0.1:{advertised['PLAINTEXT'][1]}:{listeners['PLAINTEXT'][1]}"] == kafka["ports"]
    assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka:{listeners['CONTROLLER'][1]}"
    assert f"kafka:{advertised['INTERNAL'][1]}" in kafka["healthcheck"]["test"]
    assert [f"kafka-data:{environment['KAFKA_LOG_DIRS']}"] == kafka["volumes"]
    assert len(base64.urlsafe_b64decode(environment["CLUSTER_ID"] + "==")) == 16


def test_the_registry_reads_from_this_kafka_and_is_watched_on_its_port(compose: dict[str, Any]) -> None:
    registry = compose["services"]["schema-registry"]
    environment = registry["environment"]
    internal = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split("INTERNAL://")[
        1
    ]
    assert environment["KARAPACE_BOOTSTRAP_URI"] == internal
    port = environment["KARAPACE_PORT"]
    assert registry["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f":{port}/" in registry["healthcheck"]["test"][-1]
    compile(registry["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_prometheus_reads_services_that_exist(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    assert set(config) == {"global", "scrape_configs"}
    prometheus = compose["services"]["prometheus"]
    inside = next(mount.split(":")[1] for mount in prometheus["volumes"] if "prometheus.yml" in mount)
    assert f"--config.file={inside}" in prometheus["command"]
    jobs = [job["job_name"] for job in config["scrape_configs"]]
    assert len(jobs) == len(set(jobs))
    for job in config["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            host, port = target.split(":")
            service = "prometheus" if host == "127.0.0.1" else host
            assert compose["services"][service]["ports"] == [f"127.0.0.1:{port}:{port}"]
