"""Apache Kafka, one node that is both broker and controller."""

import asyncio
import subprocess
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from . import jars
from .process import Server, free_ports

_CLUSTER_ID = "ZW5yaWNoZXItdGVzdHMtMQ"  # any 22 characters of base64
_TOPIC_ALREADY_EXISTS = 36

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node holds everything, and few internal partitions make it start sooner.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Tests must not wait for members that never come.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A killed broker that comes back is refused until the session of its former life is over (9 s by default).
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""


class Kafka(Server):
    """A broker at `bootstrap`; topics exist only once `create_topics` made them.

    Args:
        folder: Where its configuration, its data and its log go.
        quick: Start quickly; False runs at full speed once warm, for benchmarks.
        seconds: How long it may take to start.
    """

    name = "kafka"

    def __init__(self, folder: Path, *, quick: bool = True, seconds: float = 60) -> None:
        super().__init__(folder, seconds=seconds)
        self._options = ["-Xmx512m", *([jars.QUICK_START] if quick else [])]
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._java = jars.java()
        self._classpath = f"{jars.resolve() / 'kafka' / 'lib'}/*"
        self._properties = folder / "server.properties"
        text = _PROPERTIES.format(broker=self.port, controller=controller, data=folder / "data")
        self._properties.write_text(text)
        self._format()

    def command(self) -> list[str]:
        """Return the command that runs the broker."""
        logging = f"-Dlog4j2.configurationFile={jars.SOURCES / 'log4j2.properties'}"
        return [
            self._java,
            *self._options,
            logging,
            "-cp",
            self._classpath,
            "kafka.Kafka",
            str(self._properties),
        ]

    def is_ready(self) -> bool:
        """Tell whether the broker says that it has started and leads the partitions that it holds."""
        # The port opens earlier, while clients are still refused.
        return "Kafka Server started" in self.logged()

    def create_topics(
        self, topics: Mapping[str, int], config: Mapping[str, str] | None = None
    ) -> None:
        """Create topics and wait until they can be written to; topics that exist stay as they are.

        Works inside a running event loop too (and blocks it).

        Args:
            topics: The number of partitions by name.
            config: Topic settings, such as `{"retention.ms": "1000"}`.
        """
        _run(_create_topics(self.bootstrap, topics, config or {}))

    def delete_topics(self, *names: str) -> None:
        """Delete topics."""
        _run(_delete_topics(self.bootstrap, names))

    def _format(self) -> None:
        command = [self._java, jars.QUICK_START, "-XX:+UseSerialGC", "-cp", self._classpath]
        command += [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _CLUSTER_ID,
            "-c",
            str(self._properties),
        ]
        with self.log.open("ab") as log:
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)


def _run(work: Coroutine[None, None, None]) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _create_topics(
    bootstrap: str, topics: Mapping[str, int], config: Mapping[str, str]
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = [
            NewTopic(name, count, 1, topic_configs=dict(config)) for name, count in topics.items()
        ]
        answer = await admin.create_topics(wanted)
        for name, code, *message in answer.topic_errors:
            if code not in (0, _TOPIC_ALREADY_EXISTS):
                raise RuntimeError(f"Kafka did not create {name}: error {code} {message}")
        while not await _have_leaders(admin, list(topics)):
            await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def _have_leaders(admin: AIOKafkaAdminClient, topics: list[str]) -> bool:
    described = await admin.describe_topics(topics)
    return all(
        topic["error_code"] == 0
        and all(partition["leader"] >= 0 for partition in topic["partitions"])
        for topic in described
    )


async def _delete_topics(bootstrap: str, names: tuple[str, ...]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()
