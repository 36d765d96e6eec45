"""A real Apache Kafka in KRaft mode: SCRAM for the services, a plain listener for the operator on loopback."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from deploy.local import processes
from deploy.local.processes import StackError

JAVA_VERSION = 17
FORMATTED = "kafka.formatted"
POM = Path(__file__).parent / "kafka" / "pom.xml"


def jars(cache: Path) -> str:
    """The class path: KAFKA_HOME's, else the jars that Maven fetched."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        return f"{home}/libs/*"
    libs = cache / "kafka" / "libs"
    libs.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(libs.parent / "fetch.lock"):
        if not list(libs.glob("kafka_2.13-*.jar")):
            _fetch(libs)
    return f"{libs}/*"


def _fetch(libs: Path) -> None:
    need("mvn", "maven")
    fetched = libs.with_name("libs-fetched")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
    # Its colour codes come on both ways, even where all is well.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise StackError("Maven could not fetch Apache Kafka. Check its network settings, or set KAFKA_HOME.")
    shutil.rmtree(libs, ignore_errors=True)
    fetched.rename(libs)


def need(program: str, package: str) -> None:
    """Installed by apt as root, where it is missing. Raises StackError."""
    if shutil.which(program):
        return
    with FileLock(Path(tempfile.gettempdir()) / "stillwater-apt.lock"):  # apt refuses who comes second
        _install(program, package)
    if not shutil.which(program):
        raise StackError(f"{program} is missing. Install it (Debian: apt install {package}) and try again.")


def _install(program: str, package: str) -> None:
    if not shutil.which(program) and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-q", package], check=False)


def need_java() -> None:
    """Raises StackError when there is none, or one that is too old for Kafka 4."""
    need("java", "openjdk-17-jre-headless")
    said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found[1]) < JAVA_VERSION:
        raise StackError(
            f"Java {JAVA_VERSION} or later is needed; `java` on the PATH is {found[1] if found else 'of no known version'}. "
            f"Install it (Debian: apt install openjdk-{JAVA_VERSION}-jre-headless) and put it first on the PATH."
        )


def start(home: Path, cache: Path, ports: Mapping[str, int], passwords: Mapping[str, str]) -> None:
    """Format on the first start, then run; returns when both listeners answer: they open one after the other."""
    need_java()
    classpath, properties = jars(cache), home / "kafka.properties"
    properties.write_text(_properties(home / "data" / "kafka", ports))
    if not _is_formatted(home):
        shutil.rmtree(home / "data" / "kafka", ignore_errors=True)
        _format(classpath, properties, passwords)
        (home / "data" / FORMATTED).touch()
    flags = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN"]
    processes.start(home, "kafka", ["java", *flags, "-cp", classpath, "kafka.Kafka", str(properties)])
    for listener in ("operator", "services"):
        processes.wait_for_port(ports[listener], home, "kafka", 40)


def _is_formatted(home: Path) -> bool:
    """A storage whose formatting was cut short has the file that Kafka looks for, and no users."""
    return (home / "data" / FORMATTED).exists() or (home / "data" / "kafka" / "__cluster_metadata-0").exists()


def _format(classpath: str, properties: Path, passwords: Mapping[str, str]) -> None:
    command = [
        "java",
        "-cp",
        classpath,
        "kafka.tools.StorageTool",
        "format",
        "-t",
        "c3RpbGx3YXRlci1sb2NhbA",
        "-c",
        str(properties),
    ]
    for user, password in passwords.items():
        command += ["--add-scram", f"SCRAM-SHA-256=[name={user},password={password}]"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise StackError(f"Kafka's storage could not be formatted: {done.stderr.strip()[-300:]}")


def _properties(data: Path, ports: Mapping[str, int]) -> str:
    operator, services = f"OPERATOR://127.0.0.1:{ports['operator']}", f"SERVICES://127.0.0.1:{ports['services']}"
    advertised = f"SERVICES://127.0.0.1:{ports.get('services-advertised', ports['services'])}"
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{ports["controller"]}
listeners={operator},{services},CONTROLLER://127.0.0.1:{ports["controller"]}
advertised.listeners={operator},{advertised}
listener.security.protocol.map=OPERATOR:PLAINTEXT,SERVICES:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=OPERATOR
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.services.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.dirs={data}
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=5000
"""
