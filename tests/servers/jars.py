"""The jars of Kafka and Elasticsearch: resolved once by Maven, then kept in a cache outside the repository."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent
INSTALL = "python -m tests.servers install"

# Raise it when the layout of the cache folder changes in a way that the hashed files don't show.
_LAYOUT = "1"
_HASHED = ("pom.xml", "EsNode.java", "StandIns.java")
_OLDEST_JAVA = 17

# Leaves out the second compiler: a server then starts in half the CPU time, and is the slower one only after some
# ten thousand documents.
QUICK_START = "-XX:TieredStopAtLevel=1"

_DESCRIPTOR = """\
description=part of the servers that the tests run on
version=8.19.0
name={name}
classname={classname}
java.version=17
elasticsearch.version=8.19.0
has.native.controller=false
"""


class ServerMissingError(Exception):
    """A server cannot run on this machine; the text says why and what to do."""


def java() -> str:
    """Return the path of a Java that is new enough, or raise ServerMissingError."""
    found = _program("java")
    if found is None:
        raise ServerMissingError(f"there is no Java; install it with: {INSTALL}")
    version = subprocess.run(
        [found, "-version"], capture_output=True, text=True, check=False
    ).stderr
    match = re.search(r'version "(\d+)', version)
    if match is None or int(match[1]) < _OLDEST_JAVA:
        raise ServerMissingError(
            f"Java {_OLDEST_JAVA} or newer is needed, {found} is older; run: {INSTALL}"
        )
    return found


def resolve() -> Path:
    """Return the folder with the jars, after building it if this is the first time.

    It holds `kafka/lib/*.jar`, `elasticsearch/lib/*.jar` and `elasticsearch/modules/*/`.
    """
    folder = _folder()
    if are_resolved():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / "servers.lock"):
        if not are_resolved():  # another run may have built it while this one waited
            _build_into(folder)
    return folder


def are_resolved() -> bool:
    """Tell whether the jars are there, so that a Java is all that the servers need."""
    return _folder().is_dir()


def _folder() -> Path:
    configured = os.environ.get("ENRICHER_CACHE")
    cache = Path(configured).absolute() if configured else Path.home() / ".cache" / "enricher"
    return cache / f"servers-{_fingerprint()}"


def _fingerprint() -> str:
    digest = hashlib.sha256(_LAYOUT.encode())
    for name in _HASHED:
        digest.update((SOURCES / name).read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_into(folder: Path) -> None:
    """Build in a temporary folder and rename it, so that an interrupted build leaves nothing half-done."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as temporary:
        work = Path(temporary) / "servers"
        _copy_dependencies("kafka", work / "kafka" / "lib")
        home = work / "elasticsearch"
        _copy_dependencies("elasticsearch", home / "lib")
        _make_netty_module(home)
        _compile("StandIns.java", home, home / "modules" / "stand-ins" / "stand-ins.jar")
        _describe(home / "modules" / "stand-ins", "enricher.tests.StandIns")
        _compile("EsNode.java", home, home / "lib" / "es-node.jar")
        work.rename(folder)


def _copy_dependencies(profile: str, target: Path) -> None:
    command = [tool("mvn"), "-q", "-B", "-f", str(SOURCES / "pom.xml"), "-P", profile]
    _run([*command, "dependency:copy-dependencies", f"-DoutputDirectory={target}"])


def _make_netty_module(home: Path) -> None:
    """Move the HTTP transport out of the class path: Elasticsearch loads it as a module, with a loader of its own."""
    module = home / "modules" / "transport-netty4"
    module.mkdir(parents=True)
    for pattern in ("netty-*.jar", "transport-netty4-*.jar"):
        for jar in (home / "lib").glob(pattern):
            jar.rename(module / jar.name)
    _describe(module, "org.elasticsearch.transport.netty4.Netty4Plugin")


def _describe(module: Path, classname: str) -> None:
    text = _DESCRIPTOR.format(name=module.name, classname=classname)
    (module / "plugin-descriptor.properties").write_text(text)


def _compile(source: str, home: Path, jar: Path) -> None:
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as classes:
        options = ["--release", str(_OLDEST_JAVA), "-cp", f"{home / 'lib'}/*", "-d", classes]
        _run([tool("javac"), *options, str(SOURCES / source)])
        _run([tool("jar"), "--create", "--file", str(jar), "-C", classes, "."])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise ServerMissingError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")


def tool(name: str) -> str:
    """Return the path of a program of the JDK or Maven, or raise ServerMissingError."""
    found = _program(name)
    if found is None:
        raise ServerMissingError(
            f"the servers' jars are not there yet and need {name}; run: {INSTALL}"
        )
    return found


def _program(name: str) -> str | None:
    home = os.environ.get("JAVA_HOME")
    inside = shutil.which(name, path=str(Path(home) / "bin")) if home else None
    return inside or shutil.which(name)
