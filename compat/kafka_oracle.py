"""A real Apache Kafka, as the oracle: fetched from Maven Central, one KRaft node, and the tools that come with it.

`Kafka(folder)` is started, stopped and killed as harness.Pluvio is, so that a test can be run against either.
`Tools().run("kafka-topics", …)` runs Kafka's own programs by their main class, `start_tool` one in its own process.

By hand:
    python kafka_oracle.py serve --port 9092 [--folder DIR] [NAME=VALUE …]    # runs until Ctrl-C
    python kafka_oracle.py kafka-topics --bootstrap-server 127.0.0.1:9092 --list
"""

import argparse
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from harness import Server, free_ports

POM = pathlib.Path(__file__).resolve().parent / "apache_kafka" / "pom.xml"
TOOLS_SOURCE = POM.with_name("Tools.java")
VERSION = re.search(r"<kafka.version>(.*)</kafka.version>", POM.read_text()).group(1)

MAIN_CLASSES = {
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-client-compatibility": "org.apache.kafka.tools.ClientCompatibilityTest",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-log-compaction": "org.apache.kafka.tools.LogCompactionTester",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
    "kafka-server-start": "kafka.Kafka",
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactional-message-copier": "org.apache.kafka.tools.TransactionalMessageCopier",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}

# A tool lives for a second or two: quick to start matters, speed in the long run does not.
SHORT_LIVED = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

# bin/NAME.sh, for suites that expect an unpacked Apache Kafka at $KAFKA_PATH.
SCRIPT = """#!/bin/sh
exec java {options} -cp "$(dirname "$0")/../libs/*:$CLASSPATH" {main_class} "$@"
"""


def cache():
    return pathlib.Path(os.environ.get("PLUVIO_CACHE", pathlib.Path.home() / ".cache/pluvio"))


def fetched(folder, how, recipe=""):
    """`folder`, made by `how(new_folder)` if it is not there, or if another recipe made it; two at once wait for each other."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_by = folder / "recipe.txt"
        if not folder.exists() or (recipe and not (made_by.exists() and made_by.read_text() == recipe)):
            new = folder.with_name(folder.name + ".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            how(new)
            (new / "recipe.txt").write_text(recipe)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    return folder


def run_or_say(command, **options):
    """Runs a command of an installation; its output is in the error if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4_000:]}")


def fetch_jars(folder):
    shutil.copy(POM, folder / "pom.xml")
    run_or_say(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}"],
               cwd=folder, timeout=900)
    (folder / "bin").mkdir()
    for name, main_class in {**MAIN_CLASSES, "kafka-run-class": ""}.items():
        script = folder / "bin" / f"{name}.sh"
        script.write_text(SCRIPT.format(options=" ".join(SHORT_LIVED), main_class=main_class))
        script.chmod(0o755)


def home():
    """The folder with `libs/` and `bin/*.sh`, fetched once per version."""
    return fetched(cache() / f"kafka-{VERSION}", fetch_jars, POM.read_text() + SCRIPT + repr((MAIN_CLASSES, SHORT_LIVED)))


def java(main_class, *arguments, options=()):
    """The command that runs a main class with everything of Apache Kafka on its class path."""
    return ["java", *options, "-cp", f"{home()}/libs/*", main_class, *map(str, arguments)]


def tool_command(name, *arguments):
    return java(MAIN_CLASSES[name], *arguments, options=[*SHORT_LIVED, "-Xmx256m"])


class Tools:
    """Kafka's programs, one after the other in one Java process (apache_kafka/Tools.java): most starts are saved."""

    def __init__(self):
        self.process = None

    def start(self):
        command = java(str(TOOLS_SOURCE), options=[*SHORT_LIVED, "-Xmx512m"])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, name, *arguments, input="", timeout=120, check=True):
        """Runs one program to its end. With `check`, its failure is an error that shows what it said."""
        if self.process is None:
            self.start()
        arguments = [str(each) for each in arguments]
        late = threading.Timer(timeout, self.process.kill)
        late.start()
        try:
            self.process.stdin.write(json.dumps({"main": MAIN_CLASSES[name], "args": arguments, "input": input}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            late.cancel()
        said = f"{name} {' '.join(arguments)}"
        if not answer:
            self.stop()
            raise AssertionError(f"{said} had no end within {timeout} s, or took its Java process down")
        done = json.loads(answer)
        if check and done["code"] != 0:
            raise AssertionError(f"{said} ended with {done['code']}:\n{done['err']}{done['out']}")
        return subprocess.CompletedProcess([name, *arguments], done["code"], done["out"], done["err"])


def start_tool(name, *arguments, **options):
    """Starts a program in a process of its own, for what runs beside something else. Its output is text in pipes."""
    return subprocess.Popen(tool_command(name, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def brokers_in_metadata(port):
    """How many brokers a Metadata request is told of: 0 until a KRaft broker serves."""
    body = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.makefile("rb").read(12)
    return struct.unpack(">iii", answer)[2] if len(answer) == 12 else 0


class Kafka(Server):
    """One Apache Kafka node, broker and controller in one process. Its ports stay the same through restarts."""

    name = "kafka"
    stop_signal = signal.SIGTERM
    stop_seconds = 60.0

    def __init__(self, folder, properties=None, heap="1g", java_options=(), port=None, users=None):
        """`properties` are added to server.properties, or replace what is there.

        With `users` ({name: password}) there is a second listener, `.sasl`, where they log in with PLAIN or SCRAM.
        """
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log_path = self.folder / "kafka.log"
        self.kafka_port, self.controller_port, self.sasl_port = free_ports(3)
        self.kafka_port = port or self.kafka_port
        self.heap, self.java_options = heap, list(java_options)
        self.users = users or {}
        self.properties = {**self.defaults(), **(self.sasl_properties() if users else {}), **(properties or {})}
        self.process = None

    def defaults(self):
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.kafka_port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.kafka_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data,
            "num.partitions": 4,
            "auto.create.topics.enable": "true",
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.backoff.ms": 1_000,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }

    def sasl_properties(self):
        plain = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        defaults = self.defaults()
        return {
            "listeners": f"{defaults['listeners']},SASL_PLAINTEXT://127.0.0.1:{self.sasl_port}",
            "advertised.listeners": f"{defaults['advertised.listeners']},SASL_PLAINTEXT://127.0.0.1:{self.sasl_port}",
            "listener.security.protocol.map": f"{defaults['listener.security.protocol.map']},SASL_PLAINTEXT:SASL_PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config":
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {plain};",
            **{f"listener.name.sasl_plaintext.{scram}.sasl.jaas.config":
               "org.apache.kafka.common.security.scram.ScramLoginModule required;"
               for scram in ("scram-sha-256", "scram-sha-512")},
        }

    @property
    def kafka(self):
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def sasl(self):
        return f"127.0.0.1:{self.sasl_port}"

    def write_properties(self):
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in self.properties.items()))
        return file

    def format(self, *arguments):
        """Prepares the storage, once; more arguments go to the storage tool."""
        for name, password in self.users.items():
            for scram in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                arguments += ("--add-scram", f"{scram}=[name={name},password={password}]")
        run_or_say(tool_command("kafka-storage", "format", "--config", self.write_properties(), "--ignore-formatted",
                                "--cluster-id", "cGx1dmlvLW9yYWNsZS0wMQ", *arguments))

    def command(self):
        return java(MAIN_CLASSES["kafka-server-start"], self.write_properties(),
                    options=[f"-Xmx{self.heap}", f"-Xms{self.heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                             "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true", *self.java_options])

    def start(self, wait=True, seconds=120.0):
        """Starts the process; with `wait`, returns when it serves: the seconds that took."""
        if not self.data.exists():
            self.format()
        started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready(seconds)
        return time.monotonic() - started

    def wait_ready(self, seconds=120.0):
        deadline = time.monotonic() + seconds
        while not self.healthy():
            if self.process.poll() is not None:
                raise AssertionError(f"Kafka ended with {self.process.returncode} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"Kafka was not ready within {seconds} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def healthy(self):
        try:
            return brokers_in_metadata(self.kafka_port) > 0
        except OSError:
            return False


def main():
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in MAIN_CLASSES:
        command = tool_command(name, *arguments)
        os.execvp(command[0], command)
    if name != "serve":
        sys.exit(f"{__doc__}\nTools: {', '.join(MAIN_CLASSES)}")
    parser = argparse.ArgumentParser(prog="kafka_oracle.py serve")
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder")
    parser.add_argument("--heap", default="1g")
    parser.add_argument("properties", nargs="*", metavar="NAME=VALUE")
    given = parser.parse_args(arguments)
    # Ended politely, it must not leave the node behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kafka-") as temporary:
        broker = Kafka(given.folder or temporary, dict(each.split("=", 1) for each in given.properties), given.heap,
                       port=given.port)
        try:
            print(f"ready in {broker.start():.1f} s on {broker.kafka}, log in {broker.log_path}", flush=True)
            broker.process.wait()
        except KeyboardInterrupt:
            broker.stop()
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
