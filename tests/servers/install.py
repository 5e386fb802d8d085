"""Install what the servers need and is missing: a JDK, Maven and Alertmanager by apt-get, the jars by Maven."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import alertmanager, jars, valkey

# One of these is in every Debian and Ubuntu of the last years; the older one comes first, since the servers target it.
_JDKS = ("openjdk-17-jdk-headless", "openjdk-21-jdk-headless")


def install() -> int:
    """Install what is missing and resolve the jars; return a process exit code."""
    missing = missing_packages()
    if missing and not (_can_install() and _apt_install(missing)):
        print(
            f"missing: {', '.join(missing)}. On Debian or Ubuntu, this installs them:",
            file=sys.stderr,
        )
        print(f"  sudo apt-get update && sudo {_apt_command(missing)}", file=sys.stderr)
        return 1
    try:
        print(f"java: {jars.java()}")
        print(f"jars: {jars.resolve()}")
        print(f"valkey: {valkey.program()}")
        print(f"alertmanager: {alertmanager.program()}")
    except jars.ServerMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not on this machine.

    The compiler and Maven count only until the jars are resolved.
    """
    missing = []
    if not _has_java():
        missing.append(_JDKS[0])
    if shutil.which("mvn") is None and not jars.are_resolved():
        missing.append("maven")
    if shutil.which("prometheus-alertmanager") is None and shutil.which("alertmanager") is None:
        missing.append("prometheus-alertmanager")
    return missing


def _has_java() -> bool:
    try:
        jars.java()
        if not jars.are_resolved():
            jars.tool("javac")
    except jars.ServerMissingError:
        return False
    return True


def _can_install() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("apt-get") is not None
        and Path("/etc/debian_version").exists()
    )


def _apt_command(packages: list[str]) -> str:
    return f"apt-get install -y -q --no-install-recommends {' '.join(packages)}"


def _apt_install(packages: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Lists that cannot be updated may still do; the installation tells.
    subprocess.run(["apt-get", "update", "-q"], env=environment, check=False)
    chosen = [_offered_jdk() if package == _JDKS[0] else package for package in packages]
    return (
        subprocess.run(_apt_command(chosen).split(), env=environment, check=False).returncode == 0
    )


def _offered_jdk() -> str:
    for package in _JDKS:
        if (
            subprocess.run(
                ["apt-cache", "show", package], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return package
    return "default-jdk-headless"
