"""The container files hold what their comments promise; nothing here needs a container engine."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from enricher import admin, monitor
from enricher.address import Address
from enricher.health import Health

from .test_runtime import Run

ROOT = Path(__file__).parent.parent
ONE_SHOTS = {"topics"}


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
LASTING = sorted(SERVICES.keys() - ONE_SHOTS)


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parsed = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name.upper(), " ".join(rest)) for name, *rest in parsed]


def final_stage() -> list[tuple[str, str]]:
    whole = instructions()
    last = max(number for number, (name, _) in enumerate(whole) if name == "FROM")
    return whole[last:]


def is_pinned(image: str) -> bool:
    """Tell whether an image names a version of at least major and minor."""
    return re.search(r":v?\d+\.\d+[^:/]*$", image) is not None


def test_what_the_pipeline_needs_is_there() -> None:
    assert SERVICES.keys() == {
        "kafka", "topics", "elasticsearch", "kibana", "redis", "alertmanager", "mailpit", "enricher", "fraud-detection",
    }  # fmt: skip


@pytest.mark.parametrize("name", LASTING)
def test_every_service_that_stays_up_has_a_health_check(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]

    assert test[0] in {"CMD", "CMD-SHELL"}
    assert len(test) > 1


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_dependency_is_waited_for_until_it_is_healthy(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOTS else "service_healthy"
        assert how["condition"] == expected, needed


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_the_loopback_address_only(name: str) -> None:
    """Nothing here asks for a password."""
    assert SERVICES[name].get("network_mode") != "host"
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    assert is_pinned(SERVICES[name]["image"])


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("apache/kafka:4.1.0", True),
        ("prom/alertmanager:v0.28.1", True),
        ("apache/kafka", False),
        ("apache/kafka:latest", False),
        ("python:3-slim", False),
        ("host:5000.1/kafka", False),
    ],
)
def test_a_tag_without_a_version_does_not_count_as_pinned(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned


def test_volumes_in_use_are_declared_and_no_other() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith(".")}

    assert named == compose()["volumes"].keys()


def test_mounted_files_are_read_only_and_name_no_machine() -> None:
    """A path from the repository's root exists wherever the repository is."""
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            if "/" in mount.split(":")[0]:
                assert re.fullmatch(r"\./[^:]+:[^:]+:ro", mount), mount


def test_the_alertmanager_has_the_receiver_it_routes_to() -> None:
    config = yaml.safe_load((ROOT / "deploy/alertmanager.yml").read_text(encoding="utf-8"))

    assert config["route"]["receiver"] in [receiver["name"] for receiver in config["receivers"]]


def test_the_topics_are_created_and_dead_letters_are_compacted() -> None:
    script = " ".join(SERVICES["topics"]["command"])

    for topic in ("payment-logs", "order-logs", "user-logs", "fraud-logs"):
        assert topic in script
    for topic in ("fraud-alerts-high", "fraud-alerts-medium"):
        assert topic in script
    for topic in ("dead-letters", "fraud-dead-letters"):
        assert re.search(rf"create {topic}\b.*cleanup\.policy=compact", script)
    assert SERVICES["topics"]["image"] == SERVICES["kafka"]["image"]


def test_enricher_reaches_the_other_services_by_their_names() -> None:
    service = SERVICES["enricher"]
    environment: dict[str, str] = service["environment"]

    assert service["command"] == ["run", "pipelines/payments.yaml"]
    assert environment["ELASTICSEARCH_REPLICAS"] == "0"
    addresses = ("KAFKA_BROKERS", "ELASTICSEARCH_URL", "REDIS_URL", "ALERTMANAGER_URL", "SMTP_URL")
    for address in addresses:
        host = environment[address].rpartition("//")[2].partition(":")[0]
        assert host in service["depends_on"], address


async def test_the_health_check_is_whether_records_can_flow() -> None:
    """The image's and compose's are one command; it succeeds once the run is ready, not before."""
    (_, image), *_ = [one for one in final_stage() if one[0] == "HEALTHCHECK"]
    command = json.loads(image.partition("CMD ")[2])
    assert SERVICES["enricher"]["healthcheck"]["test"] == ["CMD", *command]
    assert SERVICES["enricher"]["environment"]["ENRICHER_ADMIN"].endswith(":9600")
    run = Run()
    async with admin.serving(
        Address("127.0.0.1", 0), monitor.pages(Health(run.runtime, run.stopping))
    ) as address:
        script = command[-1].replace(admin.DEFAULT, str(address))
        for is_ready in (False, True):
            run.runtime.opened = is_ready
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, stderr=subprocess.DEVNULL
            )
            assert await process.wait() == (0 if is_ready else 1)


def test_elasticsearch_and_kibana_are_of_one_version() -> None:
    assert (
        SERVICES["elasticsearch"]["image"].split(":")[1]
        == SERVICES["kibana"]["image"].split(":")[1]
    )


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    name, user = final_stage()[-1]

    assert name == "USER"
    assert all(part.isdigit() and int(part) > 0 for part in user.split(":")), user


def test_the_image_is_stopped_and_started_as_the_program_wants() -> None:
    last = dict(final_stage())

    assert last["ENTRYPOINT"] == '["enricher"]'
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["WORKDIR"] == "/app"


def test_base_images_are_pinned() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]

    assert len(bases) > 1
    assert all(map(is_pinned, bases)), bases


def test_the_image_holds_only_what_the_locks_name() -> None:
    """Each installation is either checked by its hashes or takes what an earlier one has built."""
    commands = " && ".join(rest for name, rest in instructions() if name == "RUN")
    installations = re.findall(r"pip install[^&]*", commands)

    assert any("--require-hashes -r requirements.lock" in command for command in installations)
    for command in installations:
        assert "--no-deps" in command, command
        assert "--require-hashes" in command or "--no-index" in command, command
    assert "PIP_NO_CACHE_DIR=1" in dict(instructions()[: -len(final_stage())])["ENV"]


def test_what_the_image_copies_is_let_through_to_the_build() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }

    assert "*" in rules
    assert {f"!{source}" for source in copied} == {rule for rule in rules if rule.startswith("!")}
