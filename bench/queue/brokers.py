"""The two brokers, started and watched the same way: one process each, its processor seconds and its memory.

Apache Kafka is compat/kafka_oracle.py's: the published jars, one KRaft node, 1 GB of heap, the collector and its
settings that Kafka's own scripts give. Pluvio is the release build with nothing set but its ports and folder.
"""

import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "compat"))
import harness  # noqa: E402
import kafka_oracle  # noqa: E402

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KAFKA_JAVA = ["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"]
CREATE_TOPICS, DELETE_TOPICS = 19, 20


def cpu_seconds(pid):
    """Processor seconds of a process since its start, system calls included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def memory_mb(pid):
    """Resident memory in MiB: all of it, and the part that is not backed by files."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss, anonymous = (int(re.search(rf"{name}:\s+(\d+) kB", status).group(1)) for name in ("VmRSS", "RssAnon"))
    return {"rss_mb": round(rss / 1024, 1), "anonymous_mb": round(anonymous / 1024, 1)}


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def ask(address, key, version, body, seconds=300):
    """One request of Kafka's protocol over a connection of its own; the answer's body."""
    host, port = address.split(":")
    request = struct.pack(">hhi", key, version, 7) + string("bench") + body
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        return answer.read(struct.unpack(">i", answer.read(4))[0])[4:]


class Broker:
    """What both have in common. `self.server` starts and stops as harness.Pluvio does."""

    def __init__(self, name, folder, server, fsync_config):
        self.name, self.folder, self.server, self.fsync_config = name, folder, server, fsync_config

    @property
    def address(self):
        return self.server.kafka

    @property
    def pid(self):
        return self.server.process.pid

    def start(self):
        """Starts it; the seconds until it serves."""
        return self.server.start()

    def stop(self):
        """Ends it and removes what it stored."""
        if self.server.process:
            self.server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def memory_mb(self):
        return memory_mb(self.pid)

    def create_topic(self, topic, partitions, fsync=False):
        """Makes a topic; with `fsync`, what acks=all acknowledges is on the disk."""
        config = self.fsync_config if fsync else {}
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihi", partitions, 1, 0)
        body += struct.pack(">i", len(config)) + b"".join(string(k) + string(v) for k, v in config.items())
        answer = ask(self.address, CREATE_TOPICS, 2, body + struct.pack(">ib", 300_000, 0))
        # After the throttle time: one topic, its name, its error code.
        (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))
        if error:
            raise RuntimeError(f"{self.name} refused to make {topic}: error {error}")

    def delete_topic(self, topic):
        ask(self.address, DELETE_TOPICS, 1, struct.pack(">i", 1) + string(topic) + struct.pack(">i", 60_000))


def kafka(folder):
    """Apache Kafka. It syncs on request only: flush.messages=1 is its way to have acks=all mean on the disk. Removed
    topics leave the disk soon, as they do with Pluvio, so that one run's files do not slow the next."""
    server = kafka_oracle.Kafka(folder, properties={"log.segment.delete.delay.ms": 1000}, java_options=KAFKA_JAVA)
    return Broker("kafka", folder, server, {"flush.messages": "1"})


class Door:
    """The Kafka door alone: crates/doors/examples/broker.rs, quick to build while its path is tuned."""

    def __init__(self, folder, binary):
        self.folder, self.binary, self.process = pathlib.Path(folder), binary, None
        self.kafka = f"127.0.0.1:{harness.free_ports(1)[0]}"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self.process = subprocess.Popen([self.binary, "--dir", self.folder / "data", "--listen", self.kafka],
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        return time.monotonic() - started

    def kill(self):
        self.process.kill()
        self.process.wait()


def pluvio(folder, binary, pipeline=None):
    """Pluvio: acks=all is on the disk without being told."""
    if pathlib.Path(binary).name == "broker":
        return Broker("pluvio", folder, Door(folder, binary), {})
    os.environ["PLUVIO_BIN"] = str(binary)
    return Broker("pluvio", folder, harness.Pluvio(folder, pipeline=pipeline), {})
